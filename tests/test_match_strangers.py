"""What a side does when others, written by hand, say in words what real ones hardly ever come to say."""

from __future__ import annotations

import pytest
from strangers_rig import TICK, Strangers, playing

from p2pclient.envhost.values import encode
from p2pclient.match.desync import LONGEST, PATIENCE
from p2pclient.match.match import MOST_UNVERIFIED
from p2pclient.match.plan import Phase, ViewReady
from p2pclient.protocol.control import Checksums, EpisodeOver, Leave, LostInputs, PeersLost, StatePart
from p2pclient.recorder.desync import report_of
from p2pclient.recorder.records import DesyncEvidence, DesyncReported, FramesWithdrawn

A, B, C = b"a" * 8, b"b" * 8, b"c" * 8
TWO = {"state": b"two", "ended": False}


def report(strangers: Strangers) -> DesyncReported:
    (found,) = [r for r in strangers.records if isinstance(r, DesyncEvidence)]
    return report_of(found)


def reason(strangers: Strangers) -> str | None:
    return strangers.match.ended.reason if strangers.match.ended is not None else None


def tell_states(strangers: Strangers, frame: int) -> None:
    strangers.say(1, StatePart(0, frame, 0, 1, b""))
    strangers.say(2, StatePart(0, frame, 0, 1, encode(TWO)))
    strangers.tick()


def differ_behind_us(strangers: Strangers, frame: int) -> None:
    """Both others tell of a frame that we have not recorded, with different checksums."""
    strangers.say(1, Checksums(0, frame, [A]))
    strangers.say(2, Checksums(0, frame, [B]))
    strangers.tick(2)
    assert strangers.match.phase is Phase.DIVERGED


# -- desyncs -------------------------------------------------------------------------------------------------------


def test_who_has_simulated_nothing_that_differs_has_no_state_and_compares_at_once() -> None:
    strangers = playing(2, window=0, on_desync="resimulate")
    differ_behind_us(strangers, 20)
    assert [m for m in strangers.told if isinstance(m, StatePart)] == [StatePart(0, 20, 0, 1, b"")]
    assert strangers.told_checksums(1) == []
    tell_states(strangers, 20)
    assert strangers.told_checksums(1) == [Checksums(0, 20, [], 1)]
    for peer in strangers.others:
        strangers.say(peer, Checksums(0, 20, [C], 1))
    strangers.tick()
    assert strangers.match.phase is Phase.PLAYING
    found = report(strangers)
    assert (found.frame, found.peer, found.ours, found.theirs, found.verdict) == (20, 2, None, TWO, "agreed")
    assert not any(isinstance(r, FramesWithdrawn) for r in strangers.records)
    strangers.play(10)
    assert [f.frame for f in strangers.frames] == list(range(30))


def test_what_was_only_predicted_is_simulated_again_and_nothing_is_withdrawn() -> None:
    strangers = playing(2, on_desync="resimulate", render=True)
    strangers.tick(3)
    episode = strangers.match.episode
    assert episode is not None
    current = episode.session.current_frame
    assert current > 22
    steps, views = strangers.host.steps, len(strangers.events)
    differ_behind_us(strangers, 20)
    tell_states(strangers, 20)
    assert strangers.host.steps == steps + current - 20
    shown = [e.view["frame"] for e in strangers.events[views:] if isinstance(e, ViewReady)]
    assert shown == [current]
    assert strangers.told_checksums(1) == [Checksums(0, 20, [], 1)]
    assert not any(isinstance(r, FramesWithdrawn) for r in strangers.records)
    assert strangers.match.counters.withdrawn_frames == 0


def diverge_behind_the_verified(strangers: Strangers) -> int:
    """Record three frames more, of which the others have another checksum; returns the first."""
    strangers.play(3)
    strangers.tick()
    first = strangers.frames[-3].frame
    for peer in strangers.others:
        strangers.say(peer, Checksums(0, first, [A]))
    strangers.tick()
    assert strangers.match.phase is Phase.DIVERGED
    return first


def test_a_list_tells_all_that_was_recorded_since_the_last_verified_frame() -> None:
    strangers = playing(2)
    first = diverge_behind_the_verified(strangers)
    assert strangers.told_checksums(0) == [Checksums(0, first, [f.checksum for f in strangers.frames[-3:]], 0)]


def test_frames_simulated_again_are_withdrawn_and_told_anew() -> None:
    strangers = playing(2, on_desync="resimulate")
    first = diverge_behind_the_verified(strangers)
    before = [f.checksum for f in strangers.frames]
    tell_states(strangers, first)
    assert [r for r in strangers.records if isinstance(r, FramesWithdrawn)] == [FramesWithdrawn(0, first)]
    assert strangers.match.counters.withdrawn_frames == 3
    assert [f.checksum for f in strangers.frames[-3:]] == before[-3:]
    assert strangers.told_checksums(1) == [Checksums(0, first, before[-3:], 1)]
    assert strangers.match.phase is Phase.DIVERGED
    for peer in strangers.others:
        strangers.say(peer, Checksums(0, first, before[-3:], 1))
    strangers.tick()
    assert strangers.match.phase is Phase.PLAYING
    assert report(strangers).verdict == "agreed"
    # A second one has rounds of its own, and what was told in the first counts no more.
    again = diverge_after(strangers, round_number=2)
    assert strangers.told_checksums(2)[0].first_frame <= again
    assert strangers.match.counters.desyncs == 1


@pytest.mark.parametrize(("ahead", "phase"), [(0, Phase.PLAYING), (1, Phase.DIVERGED)])
def test_a_withdrawn_value_that_was_under_way_is_ignored_and_no_other(ahead: int, phase: Phase) -> None:
    strangers = playing(2, on_desync="resimulate")
    first = diverge_behind_the_verified(strangers)  # of which the others told nothing beyond the first frame
    tell_states(strangers, first)
    for peer in strangers.others:
        strangers.say(peer, Checksums(0, first, [f.checksum for f in strangers.frames[-3:]], 1))
    strangers.tick()
    assert strangers.match.phase is Phase.PLAYING
    strangers.send(1, chain=(first + ahead, B))
    strangers.tick()
    assert strangers.match.phase is phase


def diverge_after(strangers: Strangers, *, round_number: int) -> int:
    strangers.play(2)
    frame = strangers.frames[-1].frame
    strangers.say(1, Checksums(0, frame, [A], 0))
    strangers.tick()
    assert strangers.match.phase is Phase.PLAYING
    strangers.say(1, Checksums(0, frame, [A], round_number))
    strangers.tick()
    assert strangers.match.phase is Phase.DIVERGED
    return frame


def test_inputs_that_are_here_ahead_of_their_frame_are_not_settled_by_a_resimulation() -> None:
    strangers = playing(2, input_delay=4, on_desync="resimulate")
    for peer in strangers.others:
        strangers.send(peer, inputs=(b"\x00\x01",) * 8)
    strangers.frame += 8
    strangers.tick()
    assert strangers.match.episode is not None
    session = strangers.match.episode.session
    assert session.confirmed_frame > session.current_frame
    newest = strangers.frames[-1].frame
    for peer in strangers.others:
        strangers.say(peer, Checksums(0, newest, [A]))
    strangers.tick(2)
    tell_states(strangers, newest)
    assert len(strangers.told_checksums(1)) == 1
    assert strangers.match.episode.recorded == session.current_frame - 1


def test_while_states_differ_what_was_agreed_on_stands_still() -> None:
    strangers = playing(2, on_desync="resimulate")
    first = diverge_behind_the_verified(strangers)
    assert strangers.agree() == first + 2  # values that were under way
    assert strangers.match.episode is not None
    assert strangers.match.episode.chain.verified_frame == first - 1
    tell_states(strangers, first)
    assert [m.first_frame for m in strangers.told_checksums(1)] == [first]


def test_lists_that_differ_after_the_resimulation_end_the_match() -> None:
    strangers = playing(2, on_desync="resimulate")
    first = diverge_behind_the_verified(strangers)
    tell_states(strangers, first)
    strangers.say(1, strangers.told_checksums(1)[0])
    strangers.tick()
    assert reason(strangers) is None
    strangers.say(2, Checksums(0, first, [A], 1))
    strangers.tick()
    assert reason(strangers) == "desync"
    assert report(strangers).verdict == "differed"


def test_lists_without_a_difference_end_the_match_as_undecided() -> None:
    strangers = playing(2)
    for peer in strangers.others:
        strangers.say(peer, Checksums(0, 20, []))
    strangers.tick(2)
    assert reason(strangers) == "desync"
    found = report(strangers)
    assert (found.frame, found.peer, found.verdict, found.theirs) == (20, 1, "interrupted", None)


@pytest.mark.parametrize("number", [1 << 30, 2, 3])
def test_a_list_of_another_round_is_no_desync(number: int) -> None:
    strangers = playing(2)
    strangers.say(1, Checksums(0, 5, [A], number))
    strangers.tick()
    assert strangers.match.phase is Phase.PLAYING


def test_a_list_or_state_of_another_episode_is_nothing_to_us() -> None:
    strangers = playing(2)
    strangers.say(1, Checksums(1, 5, [A]))
    strangers.say(1, StatePart(1, 5, 0, 1, b"x"))
    strangers.tick()
    assert strangers.match.phase is Phase.PLAYING


def test_a_state_that_nobody_asked_for_is_forgotten() -> None:
    strangers = playing(2)
    strangers.say(2, StatePart(0, 20, 0, 1, encode({"state": b"of nothing"})))
    strangers.play(1)
    differ_behind_us(strangers, 40)
    tell_states(strangers, 40)
    assert reason(strangers) == "desync"
    assert report(strangers).theirs == TWO


def test_a_state_of_another_frame_is_not_shown_as_that_of_the_named_one() -> None:
    strangers = playing(2)
    differ_behind_us(strangers, 40)
    strangers.say(1, StatePart(0, 40, 0, 1, b""))
    strangers.say(2, StatePart(0, 39, 0, 1, encode(TWO)))
    strangers.tick()
    assert reason(strangers) == "desync"
    found = report(strangers)
    assert (found.frame, found.peer, found.theirs) == (40, 2, None)


def test_who_confirms_nothing_is_given_up_and_the_others_go_on() -> None:
    strangers = playing(2, on_drop="go-on")
    while 2 in strangers.match.peers:
        strangers.play(1)
        newest = strangers.frames[-1].frame
        strangers.send(1, chain=(newest, strangers.chain_at(newest)))
        assert newest < 1_000
    assert strangers.match.episode is not None
    recorded = strangers.match.episode.recorded  # noticed in the tick after, in which play goes on
    assert recorded == 19 + MOST_UNVERIFIED + 2
    assert [(note["peer"], note["reason"]) for note in strangers.notes("lost")] == [(2, "partner-gone")]
    assert strangers.match.phase is Phase.PLAYING
    strangers.say(1, PeersLost(0, [2], [LostInputs(2, recorded, [b"\x00\x01"])]))
    strangers.play(50)
    assert [note["peer"] for note in strangers.notes("dropped")] == [2]
    newest = strangers.agree()
    assert strangers.match.episode.verified == newest > recorded + 40


@pytest.mark.parametrize("count", [250, 256])
def test_a_flood_of_reports_by_one_peer_costs_the_others_one_report_in_a_tick(count: int) -> None:
    strangers = playing(3, on_drop="go-on")
    strangers.play(2)
    strangers.say(3, Leave("left"))
    strangers.tick()
    told = len(strangers.told_to[2])
    for number in range(2, count + 2):
        strangers.say(1, PeersLost(0, [3], [LostInputs(3, 20 + number, [b"\x00\x01"])]))
    strangers.tick()
    assert len(strangers.told_to[2]) - told == 1
    assert strangers.match.peers[2].endpoint.open_control < 10
    strangers.tick(5)
    assert len(strangers.told_to[2]) - told == 1
    assert reason(strangers) is None
    assert 2 in strangers.match.peers


def test_who_does_not_read_its_reports_gets_no_more_and_the_others_do() -> None:
    strangers = playing(3, on_drop="go-on")
    strangers.play(2)
    strangers.say(3, Leave("left"))
    strangers.tick()
    for number in range(2, 120):  # one report in each tick, and nothing that we say is acknowledged
        strangers.say(1, PeersLost(0, [3], [LostInputs(3, 20 + number, [b"\x00\x01"])]))
        strangers.acknowledge(2)
        strangers.tick()
    assert strangers.match.peers[1].endpoint.open_control <= 34
    assert len([m for m in strangers.told_to[2] if isinstance(m, PeersLost)]) > 100


def test_pieces_out_of_order_are_counted_and_a_state_that_is_none_is_left_out() -> None:
    strangers = playing(2)
    first = diverge_behind_the_verified(strangers)
    strangers.say(1, StatePart(0, first, 1, 2, b"x"))
    strangers.tick()
    assert dict(strangers.match.peers[1].endpoint.drops) == {"bad-state-part": 1}
    strangers.say(1, StatePart(0, first, 0, 1, b"\xff no value"))
    strangers.tick()
    assert reason(strangers) is None  # the other one has not answered
    strangers.say(2, StatePart(0, first, 0, 1, encode(TWO)))
    strangers.tick()
    assert reason(strangers) == "desync"
    found = report(strangers)
    assert (found.peer, found.theirs, found.differences) == (1, None, ())
    assert found.ours is not None


@pytest.mark.parametrize("stage", ["play", "evidence", "resimulation"])
def test_leaving_while_the_host_still_works_is_clean_and_its_reply_is_forgotten(stage: str) -> None:
    strangers = playing(2, on_desync="resimulate")
    if stage == "play":
        strangers.holds_replies = True
        strangers.play(1)
    elif stage == "evidence":
        strangers.holds_replies = False
        strangers.play(3)
        strangers.tick()
        strangers.holds_replies = True
        first = strangers.frames[-1].frame
        for peer in strangers.others:
            strangers.say(peer, Checksums(0, first, [A]))
        strangers.tick()
    else:
        first = diverge_behind_the_verified(strangers)
        strangers.holds_replies = True
        tell_states(strangers, first)
    assert strangers.held is not None
    strangers.carry_out(strangers.match.leave(now=strangers.now))
    assert reason(strangers) == ("left" if stage == "play" else "desync")
    records = len(strangers.records)
    strangers.reply()
    assert len(strangers.records) == records
    assert strangers.match.phase is Phase.ENDED


def test_a_batch_that_was_out_when_states_were_found_to_differ_is_awaited_and_not_recorded() -> None:
    strangers = playing(2)
    strangers.play(3)
    strangers.tick()
    strangers.holds_replies = True
    strangers.play(1)
    frames = len(strangers.frames)
    for peer in strangers.others:
        strangers.say(peer, Checksums(0, 20, [A]))
    strangers.tick()
    assert strangers.match.phase is Phase.DIVERGED
    strangers.reply()
    assert len(strangers.frames) == frames
    assert strangers.held is None
    strangers.tick()
    assert strangers.held is not None  # only now the host is asked for the state


def test_words_keep_a_desync_open_but_not_for_ever() -> None:
    strangers = playing(2)
    first = diverge_behind_the_verified(strangers)
    began = strangers.now
    while reason(strangers) is None and strangers.now < began + 2 * LONGEST:
        strangers.send(1)
        strangers.send(2)
        if int((strangers.now - began) / TICK) % 45 == 0:
            strangers.say(1, Checksums(0, first, [A]))
        strangers.tick()
    assert reason(strangers) == "desync"
    assert began + LONGEST - 2 * TICK <= strangers.now <= began + LONGEST + 2 * TICK


def test_without_a_word_a_desync_ends_after_the_patience() -> None:
    strangers = playing(2)
    diverge_behind_the_verified(strangers)
    began = strangers.now
    while reason(strangers) is None and strangers.now < began + LONGEST:
        strangers.send(1)
        strangers.send(2)
        strangers.tick()
    assert began + PATIENCE - 2 * TICK <= strangers.now <= began + PATIENCE + 2 * TICK


# -- losses --------------------------------------------------------------------------------------------------------


def lost(strangers: Strangers, *inputs: LostInputs) -> PeersLost:
    return PeersLost(strangers.match.number, [3], list(inputs))


def test_two_different_inputs_of_a_lost_player_end_the_match() -> None:
    strangers = playing(3, on_drop="go-on")
    strangers.play(2)
    strangers.say(3, Leave("left"))
    strangers.tick()
    assert 3 not in strangers.match.peers
    strangers.say(1, lost(strangers, LostInputs(3, 21, [b"\x00\x02"])))
    strangers.tick()
    assert strangers.match.ended is not None
    assert strangers.match.ended.reason == "desync"
    assert "frame 21" in strangers.match.ended.text
    assert strangers.notes("contradiction") == [{"peer": 3, "frame": 21}]
    assert Leave("desync") in strangers.told


@pytest.mark.parametrize("bad", [b"\x00\x09", b"\x00", b"\x00\x01\x00", b""], ids=["value", "short", "long", "empty"])
def test_a_report_with_what_no_player_can_press_is_refused(bad: bytes) -> None:
    strangers = playing(3, on_drop="go-on")
    strangers.say(3, Leave("left"))
    strangers.tick()
    strangers.say(1, lost(strangers, LostInputs(3, 20, [bad])))
    strangers.say(2, lost(strangers, LostInputs(3, 20, [b"\x00\x02", b"\x00\x03"])))
    strangers.tick()
    assert strangers.notes("dropped") == []
    strangers.say(1, lost(strangers, LostInputs(3, 20, [b"\x00\x02", b"\x00\x03"])))
    strangers.tick()
    assert strangers.notes("dropped") == [{"peer": 3, "seats": [3], "last_frame": 21}]
    strangers.play(4)
    assert [f.inputs[3] for f in strangers.frames[19:23]] == [b"\x00\x01", b"\x00\x02", b"\x00\x03", b"\x00\x00"]


def test_what_is_told_of_a_loss_is_what_not_all_had_verified() -> None:
    strangers = playing(3, on_drop="go-on")
    strangers.play(3)
    strangers.say(3, Leave("left"))
    strangers.tick()
    (told,) = [m for m in strangers.told if isinstance(m, PeersLost)]
    assert told == PeersLost(0, [3], [LostInputs(3, 20, [b"\x00\x01"] * 3)], left=[3])
    assert strangers.notes("lost") == [{"peer": 3, "reason": "partner-left", "inputs_until": 22}]


def test_where_a_loss_ends_the_match_reports_of_one_are_nothing_to_us() -> None:
    strangers = playing(3)
    strangers.say(1, lost(strangers))
    strangers.play(5)
    assert strangers.match.phase is Phase.PLAYING
    assert 3 in strangers.match.peers
    assert len(strangers.frames) >= 24


def test_who_is_given_up_is_told_so_once() -> None:
    strangers = playing(3, on_drop="go-on")
    strangers.say(3, Leave("left"))
    strangers.tick(5)
    assert [m for m in strangers.told_to[3] if isinstance(m, PeersLost)] == [PeersLost(0, [3], [], left=[3])]


def test_a_loss_while_states_differ_ends_the_match() -> None:
    strangers = playing(3, on_drop="go-on", on_desync="resimulate")
    diverge_behind_the_verified(strangers)
    strangers.say(3, Leave("left"))
    strangers.tick()
    assert reason(strangers) == "desync"
    assert report(strangers).verdict == "interrupted"


@pytest.mark.parametrize(("named", "phase"), [(19, Phase.DIVERGED), (29, Phase.FINISHING)])
def test_an_end_at_an_earlier_frame_is_a_desync_even_if_all_agreed_there(named: int, phase: Phase) -> None:
    strangers = playing(2, max_steps=30)
    strangers.play(10)
    strangers.tick()
    assert strangers.match.phase is Phase.EPISODE_OVER
    for peer in strangers.others:
        strangers.say(peer, EpisodeOver(0, named, strangers.chain_at(named)))
    strangers.tick()
    assert strangers.match.phase is phase


def test_who_has_finished_may_be_gone_while_another_is_waited_for() -> None:
    strangers = playing(2, max_steps=30)
    strangers.play(10)
    strangers.tick()
    over = EpisodeOver(0, 29, strangers.chain_at(29))
    strangers.say(1, over)
    strangers.say(1, Leave("finished"))
    strangers.tick()
    strangers.match.peer_gone(1)
    for _ in range(30):
        strangers.send(2)
        strangers.tick()
    assert strangers.match.phase is Phase.EPISODE_OVER
    strangers.say(2, over)
    strangers.tick()
    assert strangers.match.phase is Phase.FINISHING


# -- costs ---------------------------------------------------------------------------------------------------------


def test_where_steps_are_costly_the_window_is_narrower_and_a_full_one_stalls() -> None:
    windows = []
    for microseconds in (100, 12_000):
        strangers = Strangers(1)
        strangers.command_us = microseconds
        strangers.greet()
        strangers.begin()
        strangers.play(40)
        strangers.tick(20)
        assert strangers.match.episode is not None
        session = strangers.match.episode.session
        windows.append(session.window)
        assert session.current_frame - (session.confirmed_frame + 1) <= max(session.window, 1)
        assert strangers.match.stalled
    assert windows[0] == 8
    assert 1 <= windows[1] <= 4
