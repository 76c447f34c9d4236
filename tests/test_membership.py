"""Who may join a room: personal links, links for one use, and those who have taken part already."""

from __future__ import annotations

import random
from typing import Any

import pytest
from room_rig import confirm, match_of, only, sent
from test_room_restart import EPOCH, Disk, begin, token_of

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Finished, Join, Leave, MatchResult, MatchSettings, Waiting, Watch, Welcome
from p2pclient.common.stages import Stage
from signaling.actions import Remove
from signaling.effects import Effect, Kept
from signaling.identity import REFUSALS, JoinPolicy, check_link, make_link
from signaling.keeping import STARTS, KeptRoom
from signaling.room import Room
from signaling.room_state import Rules
from signaling.store.interface import LinkUse, Participant, Record

SECRET = bytes(range(32))
NEEDED, LOCKED = JoinPolicy(links_only=True), JoinPolicy(lock_finished=True)


def link(label: str = "P-01", *, secret: bytes = SECRET, seed: int = 1, **options: Any) -> str:
    return make_link(secret, label, entropy=random.Random(seed), **options)


class LinkDisk(Disk):
    """What was kept, uses of links among it."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[str, str] = {}

    def _put(self, record: Record) -> None:
        if isinstance(record, LinkUse):
            assert self.uses.setdefault(record.link_id, record.participant_id) == record.participant_id
        super()._put(record)

    def open(self, *, now: float = 0.0, policy: JoinPolicy | None = None, secret: bytes | None = SECRET) -> Room:
        room = Room(
            MatchSettings(env="cogrid:Test"),
            entropy=random.Random(1),
            secrets=random.Random(len(self.counts) + self.counts.get(STARTS, 0)),
            rules=Rules(join=policy or JoinPolicy()),
            study="study",
            epoch=EPOCH,
            link_secret=secret,
        )
        kept = KeptRoom(
            study=self.study,
            participants=tuple(self.participants.values()),
            matches=tuple(self.matches.values()),
            starts=self.counts.get(STARTS, 0),
            used_links=dict(self.uses),
        )
        self.keep(room.restore(kept, now=now))
        return room

    def come(self, room: Room, connection: str, *, now: float = 0.0, address: str = "", **join: Any) -> list[Effect]:
        room.arrive(connection, now=now, address=address)
        return self.keep(room.join(connection, Join(**join), now=now))


def refused(disk: LinkDisk, room: Room, connection: str, *, now: float = 0.0, **join: Any) -> str:
    """Return the code with which somebody is refused; it must have got no place."""
    with pytest.raises(SignalingError) as caught:
        disk.come(room, connection, now=now, **join)
    assert str(caught.value) == REFUSALS[caught.value.code]
    assert room.participant_of(connection) is None
    assert room.stage_of(connection) is Stage.IDLE
    return caught.value.code


def notes(room: Room, *, now: float = 0.0) -> list[str]:
    return [each.text for each in room.row(now=now, epoch=EPOCH + now).events if each.kind == "refused"]


def test_label_and_attributes_are_those_of_the_link() -> None:
    disk = LinkDisk()
    room = disk.open(policy=NEEDED)
    text = link("P-01", attributes={"group": "A", "left": True})
    effects = disk.come(room, "a", label="Mallory", attributes={"group": "B", "x": "y"}, link=text)
    assert only(effects, "a", Welcome).client_id == "a"
    kept = disk.participants["a"]
    assert (kept.label, kept.attributes) == ("P-01", {"group": "A", "left": "true"})
    assert text not in repr(disk.participants)
    assert notes(room) == []


@pytest.mark.parametrize(
    ("text", "code", "who"),
    [
        (link(expires=EPOCH + 100), "link-expired", "P-01"),
        (link(secret=bytes(32)), "link-invalid", "Somebody"),
        (link()[:-1] + "-", "link-invalid", "Somebody"),
        ("", "link-invalid", "Somebody"),
        ("2" + link()[1:], "link-version", "Somebody"),
        (None, "link-needed", "Somebody"),
    ],
)
def test_whoever_has_no_good_link_is_told_why_and_so_is_the_researcher(text: str | None, code: str, who: str) -> None:
    disk = LinkDisk()
    room = disk.open(policy=NEEDED)
    assert refused(disk, room, "a", now=100.0, address="10.0.0.7", label="P-01", link=text) == code
    assert notes(room, now=100.0) == [f"{who} at 10.0.0.7 was not let in ({code}): {REFUSALS[code]}"]
    assert disk.participants == {}


def test_a_link_is_good_to_its_last_moment() -> None:
    disk = LinkDisk()
    room = disk.open(policy=NEEDED)
    disk.come(room, "a", now=99.0, link=link(expires=EPOCH + 100))
    assert room.waiting == ("a",)


def test_server_without_a_secret_takes_no_link() -> None:
    disk = LinkDisk()
    assert refused(disk, disk.open(secret=None), "a", link=link()) == "link-invalid"


def test_where_links_are_optional_others_come_under_a_name_of_their_own() -> None:
    disk = LinkDisk()
    room = disk.open()
    disk.come(room, "a", label="  Anna  Müller ")
    disk.come(room, "b")
    assert (disk.participants["a"].label, disk.participants["b"].label) == ("Anna Müller", "")
    assert refused(disk, room, "c", label="../x") == "label-characters"


def test_a_name_has_one_live_client_however_it_is_written() -> None:
    disk = LinkDisk()
    room = disk.open()
    disk.come(room, "a", link=link("P-01"))
    with pytest.raises(SignalingError) as caught:
        disk.come(room, "b", label="p-01")
    assert caught.value.code == "label-in-use"
    with pytest.raises(SignalingError) as caught:
        disk.come(room, "c", link=link("P-01"))
    assert caught.value.code == "label-in-use"


def test_watching_first_is_no_way_around_the_link() -> None:
    disk = LinkDisk()
    room = disk.open(policy=NEEDED)
    play(disk, room)
    room.arrive("s", now=1.0)
    disk.keep(room.watch("s", Watch(), now=1.0))
    assert room.stage_of("s") is Stage.WATCHING
    disk.keep(room.leave("s", Leave(), now=2.0))
    with pytest.raises(SignalingError) as caught:
        room.join("s", Join(), now=2.0)
    assert caught.value.code == "link-needed"
    assert "s" not in room.waiting


# -- links for one use ------------------------------------------------------------------------------------------------


def test_use_of_a_link_is_kept_with_the_participant_before_anybody_is_told() -> None:
    disk = LinkDisk()
    room = disk.open()
    text = link(single_use=True)
    effects = disk.come(room, "a", now=5.0, link=text)
    first = [each for each in effects if isinstance(each, Kept)]
    assert [type(each.record) for each in first] == [Participant, LinkUse]
    assert effects[: len(first)] == first, "all of it goes into one batch, before what is said"
    claims = check_link(SECRET, text, now=0)
    assert disk.uses == {claims.link_id: "a"}
    assert next(each.record.at for each in first if isinstance(each.record, LinkUse)) == EPOCH + 5


def test_a_used_link_is_refused_to_others_for_good() -> None:
    disk = LinkDisk()
    room, text = disk.open(), link(single_use=True)
    disk.come(room, "a", link=text)
    assert refused(disk, room, "b", link=text, address="10.0.0.8") == "link-used"
    room.depart("a", "left", now=1.0)
    assert refused(disk, room, "c", now=2.0, link=text) == "link-used"
    again = disk.open(now=3.0)
    assert refused(disk, again, "d", now=3.0, link=text) == "link-used"
    assert refused(disk, again, "e", now=3.0, link=text, token="x" * 43) == "link-used"
    assert notes(again, now=3.0)[0].startswith("P-01 was not let in (link-used)")


def test_use_of_a_link_counts_even_if_nothing_else_is_known_of_who_used_it() -> None:
    disk, text = LinkDisk(), link(single_use=True)
    disk.come(disk.open(), "a", link=text)
    disk.participants.clear()
    again = disk.open(now=3.0)
    assert refused(disk, again, "b", now=3.0, link=text) == "link-used"
    assert refused(disk, again, "c", now=3.0, link=text, token="x" * 43) == "link-used"


def test_the_same_participant_comes_back_with_its_token_and_that_is_no_second_use() -> None:
    disk = LinkDisk()
    room, text = disk.open(policy=NEEDED), link(single_use=True, expires=EPOCH + 50)
    token = token_of(disk.come(room, "a", link=text), "a")
    uses = dict(disk.uses)
    room.depart("a", "silent", now=1.0)
    back = disk.come(room, "b", now=100.0, link=text, token=token)  # away, within its lease as nobody has ticked
    assert only(back, "b", Welcome).client_id == "a"
    disk.come(room, "b2", now=101.0, token=token)  # the link is not needed again, and has expired
    assert room.participant_of("b2") == "a"
    again = disk.open(now=200.0, policy=NEEDED)
    back = disk.come(again, "c", now=200.0, link=text, token=token)
    assert only(back, "c", Welcome).client_id == "a"
    assert disk.uses == uses


def test_who_was_forgotten_meanwhile_comes_back_with_link_and_token() -> None:
    disk = LinkDisk()
    room, text = disk.open(policy=NEEDED), link(single_use=True)
    token = token_of(disk.come(room, "a", link=text), "a")
    room.depart("a", "silent", now=1.0)
    disk.keep(room.tick(1000.0))
    assert room.stage_of("a") is None
    newer = token_of(disk.come(room, "b", now=1000.0, link=text, token=token), "b")
    assert room.participant_of("b") == "b"
    disk.keep(room.depart("b", "left", now=1001.0))
    assert refused(disk, room, "c", now=1002.0, link=text) == "link-used"
    again = disk.open(now=2000.0, policy=NEEDED)
    assert refused(disk, again, "d", now=2000.0, link=text, token=token) == "link-used", "an older token is nobody's"
    disk.come(again, "e", now=2000.0, link=text, token=newer)
    assert again.participant_of("e") == "e"


# -- those who have taken part ----------------------------------------------------------------------------------------


def finish(disk: LinkDisk, room: Room, client: str, match: str, *, reason: str = "complete", now: float = 1.0) -> None:
    disk.keep(room.finish(client, Finished(match_id=match, result=MatchResult(reason=reason)), now=now))


def play(disk: LinkDisk, room: Room) -> str:
    """Let P-01, at "a", and P-02, at "b", begin a match."""
    effects = disk.come(room, "a", link=link("P-01"))
    effects += disk.come(room, "b", link=link("P-02"))
    return match_of(disk.keep(confirm(room, effects, "a", "b")), "a")


def test_who_has_finished_is_not_let_in_again_by_whatever_way() -> None:
    disk = LinkDisk()
    room = disk.open(policy=LOCKED)
    match = play(disk, room)
    finish(disk, room, "a", match)
    finish(disk, room, "b", match, reason="partner-left")
    with pytest.raises(SignalingError) as caught:
        room.join("a", Join(link=link("P-01")), now=2.0)  # over the same connection
    assert (caught.value.code, str(caught.value)) == ("already-finished", REFUSALS["already-finished"])
    assert only(disk.keep(room.join("b", Join(link=link("P-02")), now=2.0)), "b", Waiting), "it was not to the end"
    disk.keep(room.depart("a", "left", now=2.0))
    assert refused(disk, room, "c", now=3.0, link=link("P-01", seed=7)) == "already-finished"
    assert refused(disk, room, "d", now=3.0, label="p-01", bot=True) == "already-finished"
    again = disk.open(now=9.0, policy=LOCKED)
    assert refused(disk, again, "e", now=9.0, label="P-01") == "already-finished"
    assert notes(again, now=9.0)
    disk.come(disk.open(now=10.0), "f", now=10.0, label="P-01")  # a server that locks nobody out


def test_used_link_of_who_has_finished_is_answered_with_thanks() -> None:
    disk = LinkDisk()
    room, once = disk.open(policy=LOCKED), link("P-01", single_use=True)
    effects = disk.come(room, "a", link=once)
    effects += disk.come(room, "b", link=link("P-02"))
    finish(disk, room, "a", match_of(disk.keep(confirm(room, effects, "a", "b")), "a"))
    assert refused(disk, room, "c", now=2.0, link=once) == "already-finished"


def test_result_of_who_has_finished_is_still_taken() -> None:
    disk = LinkDisk()
    room = disk.open(policy=LOCKED)
    match = play(disk, room)
    finish(disk, room, "a", match)
    told = disk.keep(room.join("a", Join(link=link("P-01"), match_id=match, ready=False), now=2.0))
    assert [type(each) for each in sent(told, "a")] == [Welcome]
    assert room.waiting == ()


def test_bots_under_a_name_of_their_own_are_not_locked_out() -> None:
    disk = LinkDisk()
    room = disk.open(policy=LOCKED)
    match, *_ = begin(disk, room, "a", "b")  # without names
    finish(disk, room, "a", match)
    disk.come(room, "c", now=2.0, label="greedy", bot=True)
    disk.keep(room.depart("c", "left", now=2.0))
    disk.come(room, "d", now=3.0, label="greedy", bot=True)


def test_who_was_removed_after_it_had_finished_may_come_again_also_after_a_restart() -> None:
    disk = LinkDisk()
    room = disk.open()
    match = play(disk, room)
    finish(disk, room, "a", match)
    disk.keep(room.act(Remove(participant="a"), by="ana", now=2.0)[1])
    assert disk.participants["a"].locked
    disk.keep(room.depart("a", "left", now=2.0))
    disk.come(disk.open(now=9.0), "c", now=9.0, link=link("P-01"))


def test_who_finished_under_one_name_locks_nobody_out_under_others() -> None:
    disk = LinkDisk()
    room = disk.open(policy=LOCKED)
    effects = disk.come(room, "a", label="x")
    effects += disk.come(room, "b", label="y")
    finish(disk, room, "a", match_of(disk.keep(confirm(room, effects, "a", "b")), "a"))
    for label in ("P-01", "P-02", "z"):
        disk.keep(room.join("a", Join(label=label), now=2.0))
    disk.come(room, "c", now=3.0, link=link("P-01"))
    assert refused(disk, room, "d", now=3.0, label="x") == "already-finished"


def test_who_has_no_link_does_not_take_the_place_of_who_has_one() -> None:
    disk = LinkDisk()
    room = disk.open()
    token = token_of(disk.come(room, "a", link=link("P-01")), "a")
    disk.keep(room.depart("a", "disconnected", now=1.0))
    room.arrive("b", now=2.0)
    with pytest.raises(SignalingError) as caught:
        room.join("b", Join(label="p-01"), now=2.0)
    assert caught.value.code == "label-in-use"
    disk.come(room, "c", now=3.0, link=link("P-01"), token=token)
    assert room.participant_of("c") == "a"
    disk.keep(room.depart("c", "disconnected", now=4.0))
    disk.come(room, "d", now=5.0, link=link("P-01"))  # on another computer: the link is proof enough
    assert room.waiting == ("d",)


# -- what a researcher sees -------------------------------------------------------------------------------------------


def test_strangers_cannot_fill_the_log() -> None:
    disk = LinkDisk()
    room = disk.open(policy=NEEDED)
    for number in range(50):
        assert refused(disk, room, f"a{number}", now=number / 10, label=f"L{number}", link="x") == "link-invalid"
    assert len(notes(room, now=5.0)) == 1
    refused(disk, room, "b", now=65.0, link="x")
    refused(disk, room, "c", now=65.0, address="10.0.0.1", link="x")
    assert len(notes(room, now=65.0)) == 3
