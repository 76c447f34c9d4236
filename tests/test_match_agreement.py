"""Agreement on lost peers: round by round, against hostile reports, and by simulation of whole meshes."""

from __future__ import annotations

from random import Random

import pytest
from agreement_world import (
    ACCUSED_AFTER,
    DROP_AFTER,
    PATIENCE,
    TICK,
    DisorderedWorld,
    TimedWorld,
    over_the_wire,
    true_input,
    true_inputs,
)

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.agreement import MAX_KNOWN, QUIET, Agreed, Agreement, Contradiction, Partition, Undecided
from p2pclient.protocol.control import MAX_CONTROL_BYTES, Envelope, LostInputs, PeersLost, encode_control


class Mesh:
    """Agreements of a few peers with lanes that deliver when asked; inputs are the true ones from frame 5 on."""

    def __init__(self, *seats: int, patience: float = PATIENCE) -> None:
        self.now = 100.0
        self.seats = {peer: tuple(range(count)) for peer, count in enumerate(seats)}
        self.of = {
            peer: Agreement(peer, self.seats, is_valid=lambda _, value: len(value) == 3, patience=patience)
            for peer in self.seats
        }
        self.down: set[tuple[int, int]] = set()

    def lose(self, by: int, peer: int, *, last: int = 9) -> None:
        self.of[by].lose(peer, 5, true_inputs(peer, 5, last), now=self.now)

    def crash(self, peer: int, **last: int) -> None:
        """Nobody hears it any more; ``_0=12``: peer 0 has its inputs up to frame 12."""
        self.down |= {(peer, other) for other in self.of} | {(other, peer) for other in self.of}
        for by, frame in last.items():
            self.lose(int(by[1:]), peer, last=frame)

    def cut(self, one: int, other: int) -> None:
        self.down |= {(one, other), (other, one)}

    def exchange(self, *, order: tuple[int, ...] = ()) -> int:
        """Deliver until nobody has anything to say; return the messages that arrived."""
        count = 0
        while True:
            sent = [(by, *m) for by in order or self.of for m in self.of[by].take_messages()]
            if not sent:
                return count
            for by, to, message in sent:
                if (by, to) not in self.down:
                    count += 1
                    self.of[to].receive(by, over_the_wire(message), now=self.now)

    def wait(self, seconds: float, *peers: int) -> None:
        """Let time pass; these peers then do what is due."""
        self.now += seconds
        for by in peers or self.of:
            for peer in sorted(self.of[by].peers_to_lose(now=self.now)):
                self.lose(by, peer)

    def settle(self, *peers: int) -> None:
        for _ in self.of:
            self.exchange()
            self.wait(QUIET, *peers)

    def agreed(self, peer: int) -> Agreed:
        verdict = self.of[peer].verdict
        assert isinstance(verdict, Agreed), verdict
        return verdict

    def undecided(self, peer: int) -> frozenset[int]:
        verdict = self.of[peer].verdict
        assert isinstance(verdict, Undecided), verdict
        return verdict.waiting_for


def report(*lost: int, last: int = 9, episode: int = 0) -> PeersLost:
    return PeersLost(episode, list(lost), [LostInputs(peer, 5, true_inputs(peer, 5, last)) for peer in lost])


# -- rounds ---------------------------------------------------------------------------------------------------------


def test_before_anybody_is_lost_all_go_on_together() -> None:
    mesh = Mesh(1, 1, 1)
    assert mesh.agreed(0) == Agreed(frozenset(), {}, {})
    assert mesh.of[0].living == {0, 1, 2}
    assert mesh.of[0].peers_to_lose(now=1e9) == frozenset()
    assert mesh.exchange() == 0


def test_the_last_frame_is_the_newest_input_that_anybody_holds() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.crash(3, _0=7, _1=12, _2=9)
    mesh.exchange()
    for peer, missing in ((0, range(8, 13)), (1, ()), (2, range(10, 13))):
        agreed = mesh.agreed(peer)
        assert agreed.lost == {3}
        assert agreed.cuts == {3: 12}
        assert agreed.inputs == {3: {frame: true_input(3, frame) for frame in missing}}


def test_a_peer_of_which_nothing_arrived_is_cut_before_the_first_frame() -> None:
    mesh = Mesh(1, 1, 1)
    for by in (0, 1):
        mesh.of[by].lose(2, 0, [], now=0.0)
    mesh.exchange()
    assert mesh.agreed(0).cuts == mesh.agreed(1).cuts == {2: NULL_FRAME}


def test_nothing_counts_before_all_living_have_said_the_same_lost_set() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.lose(0, 3)
    assert mesh.undecided(0) == {1, 2}
    mesh.lose(1, 3)
    mesh.exchange()
    assert mesh.undecided(0) == mesh.undecided(1) == {2}
    mesh.lose(2, 3)
    mesh.exchange()
    assert mesh.agreed(0) == mesh.agreed(1) == mesh.agreed(2)


def test_nothing_counts_before_all_living_have_the_same_inputs() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.lose(0, 2, last=7)
    mesh.lose(1, 2, last=9)
    to_0 = mesh.of[1].take_messages()
    mesh.of[1].receive(0, mesh.of[0].take_messages()[1][1], now=0.0)
    assert mesh.undecided(1) == {0}
    assert [message for to, message in to_0 if to == 0] == [report(2, last=9)]
    mesh.of[0].receive(1, to_0[1][1], now=0.0)
    assert mesh.agreed(0).cuts == {2: 9}
    assert mesh.undecided(1) == {0}  # it only knows what 0 had before
    mesh.exchange()
    assert mesh.agreed(1).cuts == {2: 9}


def test_every_peer_says_a_thing_once() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.crash(3, _0=9, _1=9, _2=9)
    assert [to for to, _ in mesh.of[0].take_messages()] == [3, 1, 2]
    assert mesh.of[0].take_messages() == []
    assert mesh.exchange() == 4
    mesh.of[0].receive(1, report(3), now=mesh.now)
    assert mesh.of[0].take_messages() == []


def test_what_a_lost_peer_still_says_changes_nothing() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.crash(3, _0=9, _1=9, _2=9)
    mesh.exchange()
    before = mesh.agreed(0)
    mesh.of[0].receive(3, report(1, 2), now=mesh.now)
    assert mesh.agreed(0) == before
    assert mesh.of[0].living == {0, 1, 2}
    assert mesh.of[0].drops == {"given-up": 1}


def test_nobody_joins_an_accusation_by_hearsay() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.lose(0, 2)
    mesh.exchange()
    assert mesh.of[1].lost == frozenset()
    assert mesh.of[1].accused == {2}
    assert mesh.undecided(1) == {0}
    mesh.lose(1, 2)
    assert mesh.of[1].accused == frozenset()


def test_an_accusation_by_a_peer_that_is_lost_itself_is_forgotten() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.lose(3, 2)
    mesh.exchange()
    assert mesh.of[0].accused == {2}
    mesh.crash(3, _0=9, _1=9, _2=9)
    assert mesh.of[0].accused == frozenset()
    mesh.exchange()
    assert {mesh.agreed(peer).lost for peer in (0, 1, 2)} == {frozenset({3})}


def test_ranges_that_begin_at_different_frames_fit_together() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.of[0].lose(2, 0, true_inputs(2, 0, 3), now=0.0)
    mesh.of[1].lose(2, 4, true_inputs(2, 4, 8), now=0.0)
    mesh.exchange()
    assert mesh.agreed(0).inputs == {2: {frame: true_input(2, frame) for frame in range(4, 9)}}
    assert mesh.agreed(1) == Agreed(frozenset({2}), {2: 8}, {2: {}})


# -- more than one loss ---------------------------------------------------------------------------------------------


def test_two_staggered_drops_make_two_rounds() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.crash(4, _0=7, _1=8, _2=9, _3=6)
    mesh.exchange()
    assert {mesh.agreed(peer).cuts[4] for peer in range(4)} == {9}
    mesh.crash(3, _0=20, _1=22, _2=21)
    assert mesh.undecided(0) == {1, 2}
    mesh.exchange()
    for peer in range(3):
        assert mesh.agreed(peer).lost == {3, 4}
        assert mesh.agreed(peer).cuts == {3: 22, 4: 9}


def test_a_drop_during_a_round_enlarges_it() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.crash(4, _0=7, _1=8, _2=9)
    mesh.exchange()
    assert mesh.undecided(0) == {3}
    mesh.crash(3, _0=11, _1=12, _2=10)
    mesh.exchange()
    for peer in range(3):
        assert mesh.agreed(peer).cuts == {3: 12, 4: 9}


def test_an_input_reported_by_a_peer_that_is_lost_in_mid_round_counts_for_all() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.crash(4, _0=7, _1=7, _2=7, _3=15)
    for to, message in mesh.of[3].take_messages():
        if to == 1:  # it dies after this one
            mesh.of[1].receive(3, message, now=mesh.now)
    mesh.crash(3, _0=10, _1=10, _2=10)
    mesh.exchange()
    assert {mesh.agreed(peer).cuts[4] for peer in range(3)} == {15}
    assert mesh.agreed(0).inputs[4] == {frame: true_input(4, frame) for frame in range(8, 16)}


def test_an_input_reported_before_the_loss_is_noticed_here_counts_when_it_is() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.of[0].receive(1, report(2, last=12), now=0.0)
    mesh.lose(0, 2, last=9)
    assert mesh.agreed(0).cuts == {2: 12}
    assert list(mesh.agreed(0).inputs[2]) == [10, 11, 12]


def test_a_late_report_of_a_peer_that_was_given_up_adds_no_input() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.crash(4, _0=7, _1=7, _2=7, _3=15)
    late = [message for to, message in mesh.of[3].take_messages() if to == 0]
    mesh.crash(3, _0=10, _1=10, _2=10)
    mesh.of[0].receive(3, late[0], now=mesh.now)
    mesh.exchange()
    assert {mesh.agreed(peer).cuts[4] for peer in range(3)} == {7}
    assert mesh.of[0].drops == {"given-up": 1}


def test_a_committed_last_frame_stands_in_the_next_round_and_is_said_without_inputs() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.crash(4, _0=7, _1=8, _2=9, _3=6)
    mesh.exchange()
    mesh.crash(3, _0=20, _1=20, _2=20)
    sent = dict(mesh.of[0].take_messages())
    assert sent[1].inputs == [LostInputs(3, 5, true_inputs(3, 5, 20)), LostInputs(4, 10, [])]
    mesh.of[1].receive(0, sent[1], now=mesh.now)
    mesh.of[2].receive(0, sent[2], now=mesh.now)
    # Somebody brings up another frame after all: nobody agrees with it, and it is not taken.
    mesh.of[0].receive(1, report(3, 4, last=11), now=mesh.now)
    mesh.of[0].receive(2, PeersLost(0, [3, 4], [LostInputs(3, 21, []), LostInputs(4, 10, [])]), now=mesh.now)
    assert mesh.undecided(0) == {1}
    assert mesh.of[0].take_messages() == []


def test_a_peer_that_commits_alone_and_dies_leaves_the_same_last_frames_behind() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.crash(4, _0=7, _1=15, _2=8, _3=9)
    reports = {by: mesh.of[by].take_messages() for by in (0, 1, 2, 3)}
    for by in (1, 2, 3):  # all tell 0 what they have; only 0 has heard of frame 15
        mesh.of[0].receive(by, dict(reports[by])[0], now=mesh.now)
    assert mesh.undecided(0) == {2, 3}  # a commit here could be lost with 0 and 1
    for by in (2, 3):
        mesh.of[by].receive(1, dict(reports[1])[by], now=mesh.now)
        mesh.of[0].receive(by, dict(mesh.of[by].take_messages())[0], now=mesh.now)
    assert mesh.agreed(0).cuts == {4: 15}
    for by in (2, 3):
        mesh.of[by].receive(0, dict(reports[0])[by], now=mesh.now)
    mesh.crash(0, _1=9, _2=9, _3=9)
    mesh.exchange()
    assert {mesh.agreed(peer).cuts[4] for peer in (1, 2, 3)} == {15}


# -- who may go on --------------------------------------------------------------------------------------------------


def test_halves_of_a_match_both_stop() -> None:
    mesh = Mesh(1, 1, 1, 1)
    for one, other in ((0, 2), (0, 3), (1, 2), (1, 3)):
        mesh.cut(one, other)
        mesh.lose(one, other)
        mesh.lose(other, one)
    mesh.exchange()
    assert mesh.of[0].verdict == mesh.of[1].verdict == Partition(frozenset({0, 1}))
    assert mesh.of[2].verdict == mesh.of[3].verdict == Partition(frozenset({2, 3}))


def test_a_grant_turns_a_partition() -> None:
    mesh = Mesh(1, 1, 1, 1)
    for lost in (2, 3):
        mesh.crash(lost, _0=7 + lost, _1=8)
    assert mesh.of[0].verdict == Partition(frozenset({0, 1}))
    mesh.of[0].grant([0, 1])
    assert mesh.undecided(0) == {1}
    mesh.exchange()
    assert mesh.agreed(0).cuts == {2: 9, 3: 10}
    assert isinstance(mesh.of[1].verdict, Partition)
    mesh.of[1].grant([0, 1])
    assert mesh.agreed(1).cuts == {2: 9, 3: 10}


def test_a_grant_holds_for_all_of_its_peers_together_and_with_others() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.of[0].grant([0, 1])
    for lost in (1, 2):
        mesh.lose(0, lost)
    assert mesh.of[0].verdict == Partition(frozenset({0, 3}))
    mesh.of[0].grant([0])
    assert mesh.undecided(0) == {3}
    mesh.of[1].grant([0, 1, 2])
    for lost in (2, 3):
        mesh.lose(1, lost)
    assert mesh.of[1].verdict == Partition(frozenset({0, 1}))


def test_seats_count_and_not_peers() -> None:
    mesh = Mesh(1, 1, 3)
    mesh.cut(0, 2)
    mesh.cut(1, 2)
    for peer in (0, 1):
        mesh.lose(peer, 2)
        mesh.lose(2, peer)
    mesh.exchange()
    assert isinstance(mesh.of[0].verdict, Partition)
    assert mesh.agreed(2).cuts == {0: 9, 1: 9}


def test_of_two_peers_neither_goes_on_alone() -> None:
    mesh = Mesh(1, 1)
    mesh.lose(0, 1)
    assert mesh.of[0].verdict == Partition(frozenset({0}))


# -- broken links ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
@pytest.mark.parametrize("first", [0, 3])
def test_third_parties_settle_a_broken_link_alike_whomever_they_hear_first(order: tuple[int, ...], first: int) -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.cut(0, 3)
    mesh.lose(first, 3 - first)
    mesh.exchange(order=order)
    mesh.lose(3 - first, first)
    mesh.exchange(order=order)
    mesh.wait(QUIET - 0.1)
    assert mesh.undecided(1) == {0, 3}
    mesh.wait(0.2, 1)
    assert mesh.of[1].lost == {3}
    mesh.settle()
    for peer in (0, 1, 2):
        assert mesh.agreed(peer).lost == {3}
    assert mesh.of[3].verdict == Partition(frozenset({3}))


def test_the_side_with_more_seats_is_kept_though_its_ids_are_higher() -> None:
    mesh = Mesh(1, 1, 2)
    mesh.cut(0, 2)
    mesh.lose(0, 2)
    mesh.lose(2, 0)
    mesh.settle()
    assert mesh.agreed(1).lost == mesh.agreed(2).lost == {0}
    assert mesh.of[0].verdict == Partition(frozenset({0}))


def test_of_two_sides_that_may_go_on_the_one_with_more_seats_is_kept() -> None:
    mesh = Mesh(1, 1, 1, 2)
    mesh.cut(0, 3)
    mesh.lose(0, 3)
    mesh.lose(3, 0)
    mesh.settle()
    assert {mesh.agreed(peer).lost for peer in (1, 2, 3)} == {frozenset({0})}


def test_a_side_with_a_grant_is_kept_before_one_with_as_many_seats() -> None:
    mesh = Mesh(1, 1, 1, 1, 1, 1)
    for peer in (3, 4, 5):
        mesh.crash(peer, _0=9, _1=9, _2=9)
    mesh.cut(0, 2)
    mesh.lose(0, 2)
    mesh.lose(2, 0)
    for peer in (1, 2):
        mesh.of[peer].grant([1, 2])
    mesh.settle()
    assert mesh.agreed(1).lost == mesh.agreed(2).lost == {0, 3, 4, 5}


def test_a_peer_that_only_one_other_hears_goes_though_it_was_heard_first() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    for peer in (2, 3, 4):
        mesh.cut(0, peer)
        mesh.lose(0, peer)
    mesh.exchange()
    for peer in (2, 3, 4):
        mesh.lose(peer, 0)
        mesh.exchange()
        mesh.wait(0.5)
    mesh.settle()
    for peer in (1, 2, 3, 4):
        assert mesh.agreed(peer).lost == {0}
    assert mesh.of[0].verdict == Partition(frozenset({0}))


def test_different_choices_of_third_parties_still_end_with_one_side_at_most() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.cut(0, 4)
    mesh.lose(0, 4)
    mesh.lose(4, 0)
    mesh.lose(1, 0)
    mesh.lose(2, 4)
    mesh.settle()
    sides = {mesh.agreed(p).lost for p in mesh.of if isinstance(mesh.of[p].verdict, Agreed)}
    assert len(sides) == 1
    assert all(isinstance(a.verdict, Agreed | Partition) for a in mesh.of.values())


def test_an_accusation_without_an_answer_waits_until_patience_ends() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.down |= {(2, 0), (0, 2)}
    mesh.lose(2, 0)
    mesh.exchange()
    mesh.wait(PATIENCE - 0.1)
    assert mesh.of[1].lost == mesh.of[3].lost == frozenset()
    mesh.wait(0.2)
    assert mesh.of[1].lost == mesh.of[3].lost == {2}


def test_who_learns_that_it_was_given_up_gives_up_in_turn_at_once() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.lose(1, 0)
    mesh.lose(2, 0)
    mesh.exchange()
    assert mesh.of[0].peers_to_lose(now=mesh.now) == {1, 2}
    mesh.wait(0.0)
    assert mesh.of[0].verdict == Partition(frozenset({0}))
    assert mesh.agreed(1).lost == {0}


def test_a_peer_that_is_given_up_is_told_once_and_without_inputs() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.lose(0, 3)
    assert mesh.of[0].take_messages() == [(3, PeersLost(0, [3], [])), (1, report(3)), (2, report(3))]
    mesh.lose(0, 2)
    assert mesh.of[0].take_messages() == [(2, PeersLost(0, [2, 3], [])), (1, report(2, 3))]


def test_who_never_answers_is_given_up_after_twice_the_patience() -> None:
    mesh = Mesh(1, 1, 1, 1)
    for by in (0, 1):
        mesh.lose(by, 3)
    mesh.down |= {(2, 0), (2, 1)}
    mesh.exchange()
    mesh.wait(2 * PATIENCE - 0.1, 0, 1)
    assert mesh.undecided(0) == {2}
    for to, by in ((0, 1), (1, 0)):  # nothing new in that
        mesh.of[to].receive(by, report(3), now=mesh.now)
    mesh.wait(0.2, 0, 1)
    assert mesh.of[0].lost == mesh.of[1].lost == {2, 3}
    assert mesh.of[0].verdict == Partition(frozenset({0, 1}))


# -- hostile reports ------------------------------------------------------------------------------------------------


def test_two_inputs_for_one_frame_end_it_and_name_who_differs_from_whom() -> None:
    mesh = Mesh(1, 1, 1, 1, 1)
    mesh.lose(0, 4)
    for peer in (1, 2):
        mesh.of[0].receive(peer, report(4, last=11), now=0.0)
    assert mesh.undecided(0) == {3}
    other = [*true_inputs(4, 5, 10), b"\x01??"]
    mesh.of[0].receive(3, PeersLost(0, [4], [LostInputs(4, 5, other)]), now=0.0)
    assert mesh.of[0].verdict == Contradiction(4, 11, (1, 3))
    mesh.lose(0, 3)
    mesh.of[0].grant([0])
    assert mesh.of[0].verdict == Contradiction(4, 11, (1, 3))


def test_a_report_that_contradicts_what_is_frozen_here_later_is_noticed_too() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.of[0].receive(1, PeersLost(0, [2], [LostInputs(2, 5, [b"\x01??", b"\x01!!"])]), now=0.0)
    mesh.lose(0, 2)
    assert mesh.of[0].verdict == Contradiction(2, 5, (1, 0))


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("other-episode", report(2, episode=2)),
        ("bad-lost", report(2, 2)),
        ("bad-lost", report(1)),
        ("bad-lost", report(9)),
        ("bad-inputs", PeersLost(0, [2], [LostInputs(3, 0, [])])),
        ("bad-inputs", PeersLost(0, [0], [LostInputs(0, 0, [])])),
        ("bad-inputs", PeersLost(0, [2], [LostInputs(2, 0, [b"1234"])])),
        ("too-many", PeersLost(0, [2], [LostInputs(2, 0, [b"123"] * (MAX_KNOWN + 1))])),
    ],
)
def test_a_bad_report_is_refused_as_a_whole(reason: str, message: PeersLost) -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.of[0].receive(1, message, now=0.0)
    assert mesh.of[0].drops == {reason: 1}
    assert mesh.of[0].verdict == Agreed(frozenset(), {}, {})
    assert mesh.of[0].accused == frozenset()
    assert mesh.of[0].peers_to_lose(now=1e9) == frozenset()


def test_a_lost_set_that_shrinks_is_refused() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.of[0].receive(1, report(2, 3), now=0.0)
    mesh.of[0].receive(1, report(2), now=0.0)
    assert mesh.of[0].drops == {"shrinking": 1}
    assert mesh.of[0].accused == {2, 3}


def test_reports_cannot_grow_memory_without_bound() -> None:
    mesh = Mesh(1, 1, 1)
    for first in range(0, 600 * 100, 600):
        mesh.of[0].receive(1, PeersLost(0, [2], [LostInputs(2, first, true_inputs(2, first, first + 599))]), now=0.0)
    assert mesh.of[0].drops == {"too-many": 97}
    mesh.of[0].lose(2, 0, [], now=0.0)
    assert len(mesh.agreed(0).inputs[2]) == 1800


def test_inputs_after_a_gap_do_not_count_and_their_reporter_is_given_up() -> None:
    mesh = Mesh(1, 1, 1, 1)
    for by in (0, 1):
        mesh.lose(by, 3)
    mesh.exchange()
    mesh.of[0].receive(2, PeersLost(0, [3], [LostInputs(3, 50, true_inputs(3, 50, 60))]), now=mesh.now)
    assert mesh.undecided(0) == {2}
    mesh.wait(2 * PATIENCE, 0)
    assert mesh.of[0].lost == {2, 3}


def test_a_report_too_long_for_one_message_is_sent_in_several() -> None:
    everyone = {peer: (peer,) for peer in range(8)}
    sender, receiver = (Agreement(own, everyone, is_valid=lambda *_: True) for own in (0, 1))
    lost = {peer: [bytes([peer, frame % 251]) * (32 * peer) for frame in range(700)] for peer in (2, 3)}
    for peer, inputs in lost.items():
        sender.lose(peer, 0, inputs, now=0.0)
        receiver.lose(peer, 0, inputs[:1], now=0.0)
    messages = [message for to, message in sender.take_messages() if to == 1]
    assert len(messages) == 10
    for message in messages:
        assert len(encode_control(Envelope(1, 1, 0, message))) < MAX_CONTROL_BYTES // 2
        assert not isinstance(receiver.verdict, Agreed)
        receiver.receive(0, message, now=0.0)
    # What it says now in turn is all that it was told.
    told = [part for to, message in receiver.take_messages() if to == 0 for part in message.inputs]
    assert {peer: [i for part in told if part.peer == peer for i in part.inputs] for peer in (2, 3)} == lost


def test_many_lost_peers_fit_the_bounds_of_a_message() -> None:
    everyone = {peer: (peer,) for peer in range(8)}
    sender = Agreement(0, everyone, is_valid=lambda *_: True)
    for peer in range(1, 7):
        sender.lose(peer, 0, [b"\x01"] * 1300, now=0.0)
    messages = [over_the_wire(message) for to, message in sender.take_messages() if to == 7]
    parts = [part for message in messages for part in message.inputs]
    assert len(messages) == 3
    assert sum(len(part.inputs) for part in parts) == 6 * 1300


# -- episodes -------------------------------------------------------------------------------------------------------


def test_at_each_barrier_the_living_say_again_without_whom_they_go_on() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.crash(2, _0=9, _1=12)
    mesh.exchange()
    for episode in (1, 2):
        for peer in (0, 1):
            mesh.of[peer].begin_episode(episode, now=mesh.now)
            assert mesh.undecided(peer) == {1 - peer}
        mesh.exchange()
        for peer in (0, 1):
            assert mesh.agreed(peer) == Agreed(frozenset({2}), {2: NULL_FRAME}, {2: {}})


def test_without_a_loss_a_barrier_needs_no_message() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.of[0].begin_episode(1, now=0.0)
    assert mesh.agreed(0) == Agreed(frozenset(), {}, {})
    assert mesh.of[0].take_messages() == []


def test_a_peer_that_is_an_episode_further_agrees_with_any_last_frame() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.of[1].begin_episode(1, now=mesh.now)
    mesh.of[1].lose(2, 0, [], now=mesh.now)
    mesh.lose(0, 2, last=14)
    mesh.exchange()
    assert mesh.agreed(0).cuts == {2: 14}
    assert mesh.undecided(1) == {0}  # what 0 says of the last episode is an accusation, and no last frame of this one
    mesh.of[0].begin_episode(1, now=mesh.now)
    assert mesh.agreed(0).cuts == {2: NULL_FRAME}  # the report that came too early counts now
    mesh.exchange()
    assert mesh.agreed(1).cuts == {2: NULL_FRAME}


def test_a_report_from_the_next_episode_agrees_with_any_last_frame_only_until_that_begins() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.of[1].begin_episode(1, now=mesh.now)
    mesh.of[1].lose(2, 0, [], now=mesh.now)
    mesh.exchange()
    mesh.of[0].begin_episode(1, now=mesh.now)
    mesh.of[0].lose(2, 0, true_inputs(2, 0, 3), now=mesh.now)
    assert mesh.undecided(0) == {1}
    mesh.exchange()
    assert mesh.agreed(0).cuts == mesh.agreed(1).cuts == {2: 3}


def test_inputs_of_an_episode_do_not_count_in_the_next() -> None:
    mesh = Mesh(1, 1, 1)
    for peer in (0, 1):
        mesh.of[peer].lose(2, 0, true_inputs(2, 0, 3), now=mesh.now)
    mesh.exchange()
    for peer in (0, 1):
        mesh.of[peer].begin_episode(1, now=mesh.now)
    mesh.exchange()
    assert mesh.agreed(0).cuts == mesh.agreed(1).cuts == {2: NULL_FRAME}


def test_waiting_for_an_answer_begins_anew_at_each_barrier() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.crash(3, _0=9, _1=9, _2=9)
    mesh.exchange()
    mesh.wait(10 * PATIENCE)
    mesh.of[0].begin_episode(1, now=mesh.now)
    assert mesh.undecided(0) == {1, 2}
    assert mesh.of[0].peers_to_lose(now=mesh.now + 1.9 * PATIENCE) == frozenset()
    assert mesh.of[0].peers_to_lose(now=mesh.now + 2.1 * PATIENCE) == {1, 2}


def test_a_loss_while_one_side_is_an_episode_behind_is_an_accusation() -> None:
    mesh = Mesh(1, 1, 1, 1)
    mesh.of[1].begin_episode(1, now=mesh.now)
    mesh.lose(0, 3)
    mesh.exchange()
    assert mesh.of[1].accused == {3}


# -- misuse ---------------------------------------------------------------------------------------------------------


def test_own_unknown_and_lost_peers_cannot_be_lost() -> None:
    mesh = Mesh(1, 1, 1)
    mesh.lose(0, 2)
    for peer in (0, 2, 9):
        with pytest.raises(LocalMisuseError, match=f"peer {peer}"):
            mesh.lose(0, peer)
    for peer in (0, 9):
        with pytest.raises(LocalMisuseError, match=f"peer {peer}"):
            mesh.of[0].receive(peer, report(2), now=0.0)
    with pytest.raises(LocalMisuseError, match="episode 3 does not follow 0"):
        mesh.of[0].begin_episode(3, now=0.0)
    with pytest.raises(LocalMisuseError, match="peer 7"):
        Agreement(7, {0: (0,)}, is_valid=lambda *_: True)


# -- whole meshes in simulated time ---------------------------------------------------------------------------------

FAULT_AT = 4.0
BOUND = 60.0
"""Seconds: far less than the losses that a mesh of eight can have one after another, each with all its waiting."""


def goes_on(world: TimedWorld, *peers: int) -> None:
    """The peers decided for each other, brought the inputs together, and verify frames that begin after all cuts."""
    world.run(world.now + 2 * TICK)
    assert {p.id for p in world.up() if isinstance(p.agreement.verdict, Agreed)} == set(peers)
    for peer in peers:
        player = world.players[peer]
        assert player.agreement.living == set(peers)
        assert player.commits[-1].lost == world.players.keys() - set(peers)
    before = {peer: world.players[peer].verified for peer in peers}
    world.run(world.now + 5.0)
    for peer in peers:
        player = world.players[peer]
        assert player.verified > before[peer] + 30
        assert player.verified > max(player.cuts.values())
    world.check()


@pytest.mark.parametrize("peers", range(3, 9))
@pytest.mark.parametrize("seed", range(3))
def test_all_survivors_of_a_crash_go_on(peers: int, seed: int) -> None:
    world = TimedWorld(peers, seed=seed, loss=0.2)
    crashed = seed % peers
    world.at(FAULT_AT, lambda: world.crash(crashed))
    world.run(FAULT_AT + 1.0)
    world.run_until_decided(FAULT_AT + 1.0 + DROP_AFTER + 1.0)
    goes_on(world, *(world.players.keys() - {crashed}))
    survivors = [world.players[peer] for peer in world.players.keys() - {crashed}]
    cut = survivors[0].cuts[crashed]
    assert cut == max(player.frozen[crashed] for player in survivors)
    assert survivors[0].history[cut][crashed] == true_input(crashed, cut)
    assert survivors[0].history[cut + 1][crashed] == b"\x00"


def test_survivors_hold_different_inputs_of_the_lost_when_they_freeze_them() -> None:
    """That the simulation tries what it is there for."""
    different = 0
    for seed in range(10):
        world = TimedWorld(5, seed=seed, loss=0.3)
        world.at(FAULT_AT, lambda world=world: world.crash(2))
        world.run(FAULT_AT + 10.0)
        different += len({player.frozen[2] for player in world.up()}) > 1
    assert different >= 5


@pytest.mark.parametrize("peers", range(3, 9))
@pytest.mark.parametrize("both_ways", [True, False])
def test_one_broken_link_costs_one_peer_and_never_two_histories(peers: int, both_ways: bool) -> None:
    for seed in range(3):
        world = TimedWorld(peers, seed=seed)
        one, other = Random(seed).sample(range(peers), 2)
        world.at(FAULT_AT, lambda w=world, a=one, b=other: w.cut(a, b, both_ways=both_ways))
        world.run(FAULT_AT + DROP_AFTER)
        world.run_until_decided(BOUND)
        living = world.players.keys() - {max(one, other)}
        goes_on(world, *living)
        assert isinstance(world.players[max(one, other)].agreement.verdict, Partition)


@pytest.mark.parametrize("peers", range(4, 9))
def test_two_staggered_crashes_at_any_distance_are_agreed_on(peers: int) -> None:
    for seed, apart in enumerate((0.0, 0.05, 0.2, 3.0, 5.9, 6.0, 6.1, 6.3, 9.0)):
        world = TimedWorld(peers, seed=seed, loss=0.2)
        world.at(FAULT_AT, lambda w=world: w.crash(1))
        world.at(FAULT_AT + apart, lambda w=world: w.crash(3))
        world.run(FAULT_AT + apart + 0.5)
        if peers == 4:  # two of four have no majority, whatever was agreed before the second was lost
            world.run(FAULT_AT + apart + BOUND)
            assert {type(world.players[peer].agreement.verdict) for peer in (0, 2)} == {Partition}
            continue
        world.run_until_decided(BOUND)
        goes_on(world, *(world.players.keys() - {1, 3}))


@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 4), (5, 3), (3, 3, 2), (4, 1, 1, 1)])
def test_at_most_the_majority_of_a_partition_goes_on(sizes: tuple[int, ...]) -> None:
    for seed in range(3):
        world = TimedWorld(sum(sizes), seed=seed)
        names = Random(seed).sample(range(sum(sizes)), sum(sizes))
        sides = []
        for size in sizes:
            sides.append(frozenset(names[:size]))
            names = names[size:]
        world.at(FAULT_AT, lambda w=world, s=sides: w.part(*s))
        world.run(FAULT_AT + DROP_AFTER)
        world.run_until_decided(BOUND)
        majority = [side for side in sides if 2 * len(side) > sum(sizes)]
        for side in sides:
            if side not in majority:
                assert all(isinstance(world.players[peer].agreement.verdict, Partition) for peer in side)
        goes_on(world, *(majority[0] if majority else ()))


def test_a_peer_that_slept_too_long_learns_that_the_others_went_on() -> None:
    world = TimedWorld(3, seed=5)
    world.at(FAULT_AT, lambda: world.pause(1, DROP_AFTER + 4.0))
    world.run(FAULT_AT + DROP_AFTER + 3.0)
    assert all(world.players[peer].commits for peer in (0, 2))
    world.run(FAULT_AT + DROP_AFTER + 4.5)
    assert isinstance(world.players[1].agreement.verdict, Partition)
    goes_on(world, 0, 2)


def test_what_was_recorded_alone_before_a_cut_off_is_never_verified() -> None:
    """The first to commit is cut off at once: it goes on alone for a moment, and nobody verifies that."""
    alone = 0
    for seed in range(30):
        world = TimedWorld(5, seed=seed, loss=0.1, jitter=0.3)
        world.at(FAULT_AT, lambda w=world: w.crash(4))
        world.run(FAULT_AT + DROP_AFTER - 1.0)
        while not any(player.commits for player in world.up()):
            world.run(world.now + 0.02)
        first = next(player for player in world.up() if player.commits)
        for other in range(5):
            world.cut(first.id, other)
        world.run_until_decided(world.now + BOUND)
        alone += len(first.history) - 1 > first.cuts[4]
        assert first.verified <= first.cuts[4]
        others = [player for player in world.up() if player is not first]
        goes_on(world, *(player.id for player in others))
        assert {player.cuts[4] for player in others} == {first.cuts[4]}
    assert alone > 0


@pytest.mark.parametrize("seed", range(60))
def test_random_faults_never_make_two_histories_and_always_end(seed: int) -> None:
    dice = Random(seed)
    peers = dice.randint(3, 8)
    world = TimedWorld(
        peers, seed=seed, delay=dice.uniform(0, 0.3), jitter=dice.uniform(0, 0.5), loss=dice.random() / 2
    )
    for _ in range(dice.randint(1, 5)):
        at = FAULT_AT + dice.choice((0.0, DROP_AFTER)) + dice.random() * 2.0
        one, other = dice.sample(range(peers), 2)
        seconds = dice.uniform(0.0, 9.0)
        faults = {
            "crash": lambda a=one: world.crash(a),
            "cut": lambda a=one, b=other: world.cut(a, b, both_ways=bool(b % 2)),
            "pause": lambda a=one, s=seconds: world.pause(a, s),
            "hold": lambda a=one, b=other, s=seconds: world.hold(a, b, s),
            "part": lambda a=one: world.part(range(a), range(a, peers)),
        }
        world.at(at, faults[dice.choice(sorted(faults))])
    world.run(FAULT_AT + 2 * DROP_AFTER)
    world.run_until_decided(FAULT_AT + peers * 2 * PATIENCE)
    world.check()


def test_the_same_seed_gives_the_same_run() -> None:
    def trace() -> list[object]:
        world = TimedWorld(5, seed=11, loss=0.3)
        world.at(FAULT_AT, lambda: world.crash(3))
        world.run(20.0)
        return [(p.id, p.commits, p.verified, p.frozen) for p in world.players.values()] + [world.messages]

    assert trace() == trace()


# -- every order of things ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peers", range(2, 9))
def test_in_any_order_of_suspicions_crashes_and_deliveries_there_is_one_history(peers: int) -> None:
    commits = larger = rounds = 0
    for seed in range(250):
        world = DisorderedWorld(peers, Random(1000 * peers + seed))
        for _ in range(1 + seed % 3):
            world.play(30 * peers)
            world.check()
            rounds = max(rounds, world.finish())
            world.check()
        commits += len(world.commits)
        larger += len({commit.lost for commit in world.commits}) > 1
    assert commits > 40
    assert larger > 20 or peers < 5
    assert rounds <= peers * 3 * PATIENCE


def test_accused_silence_is_noticed_before_a_pair_of_accusations_is_settled() -> None:
    """Or a third party would decide between two peers before it knows that one of them is dead."""
    assert ACCUSED_AFTER < QUIET < PATIENCE
