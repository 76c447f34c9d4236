"""A room that goes on after a restart of its server, from what was kept: places, seats, histories, numbers."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from room_rig import come, confirm, finish, match_of, only, sent

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    Description,
    Finished,
    Join,
    Matched,
    MatchResult,
    MatchSettings,
    PeerGone,
    Signal,
    Welcome,
)
from p2pclient.common.room_messages import Confirm, Health, Proposed, Ready, Report, Token
from p2pclient.common.stages import Stage
from signaling.actions import Action, AddBot, Hold, Move, Pair, PauseMatch, Release, Remove, StartAll, Tell
from signaling.effects import Decided, Effect, Kept, Noted, Send, StartBot
from signaling.keeping import HELD, STARTS, KeptRoom
from signaling.matching.balanced import Balanced
from signaling.matching.history import NewPartners
from signaling.room import Room
from signaling.room_state import Rules
from signaling.rows import MatchRow
from signaling.screening_file import parse_rules
from signaling.store.interface import AuditLine, Count, Match, Participant, Record, Study

EPOCH = 1_700_000_000.0


class Disk:
    """What was kept, as a store has it: the last of each, in the order of the first."""

    def __init__(self) -> None:
        self.participants: dict[str, Participant] = {}
        self.matches: dict[str, Match] = {}
        self.study: Study | None = None
        self.counts: dict[str, int] = {}
        self.audit: list[AuditLine] = []

    def keep(self, effects: list[Effect]) -> list[Effect]:
        for each in effects:
            if isinstance(each, Kept):
                self._put(each.record)
        return effects

    def _put(self, record: Record) -> None:
        match record:
            case Participant():
                self.participants[record.id] = record
            case Match():
                self.matches[record.id] = record
            case Study():
                self.study = record
            case Count():
                self.counts[record.name] = self.counts.get(record.name, 0) + record.by

    def note(self, action: Action, asked: str, *, by: str = "eva", at: float = 0.0) -> None:
        """Write an action down as a console does."""
        facts = {"outcome": "ok", "study": "study", "id": asked, "action": msgspec.to_builtins(action)}
        kind = str(action.__struct_config__.tag)
        self.audit.append(AuditLine(at=EPOCH + at, by=by, action=kind, facts=facts))

    def start(self, *, now: float = 0.0, seats: int = 2, **rules: Any) -> Room:
        """Start a server on it; its clock shows ``now``, at the same time of the day as at ``now`` of any other."""
        room = Room(
            MatchSettings(env="cogrid:Test", seats=seats),
            entropy=random.Random(1),
            secrets=random.Random(len(self.counts) + self.counts.get(STARTS, 0)),
            rules=Rules(**rules),
            study="study",
            epoch=EPOCH,
        )
        kept = KeptRoom(
            study=self.study,
            participants=tuple(self.participants.values()),
            matches=tuple(self.matches.values()),
            starts=self.counts.get(STARTS, 0),
            is_held=self.counts.get(HELD, 0) > 0,
            asked=tuple(self.audit),
        )
        self.keep(room.restore(kept, now=now))
        return room


def begin(disk: Disk, room: Room, a: str, b: str, *, now: float = 0.0) -> tuple[str, str, str]:
    """Let two begin a match; returns it and their tokens."""
    effects = disk.keep(come(room, a, b, now=now))
    tokens = [token_of(effects, each) for each in (a, b)]
    return match_of(disk.keep(confirm(room, effects, a, b, now=now)), a), *tokens


def token_of(effects: list[Effect], client: str) -> str:
    token: Token | None = next(each.token for each in sent(effects, client) if hasattr(each, "token"))
    assert token is not None
    return token


def shown(room: Room, match_id: str, *, now: float = 0.0) -> MatchRow:
    (found,) = [each for each in room.row(now=now, epoch=EPOCH + now).matches if each.id == match_id]
    return found


def back(room: Room, connection: str, *, now: float = 0.0, **join: Any) -> list[Effect]:
    return [*room.arrive(connection, now=now), *room.join(connection, Join(**join), now=now)]


def test_what_a_client_is_told_is_kept_before() -> None:
    disk, kinds = Disk(), []
    room = disk.start()
    effects = come(room, "a", "b")
    effects += confirm(room, effects, "a", "b")
    for each in effects:
        kinds += (
            [type(each.record if isinstance(each, Kept) else each)] if not isinstance(each, Noted | Decided) else []
        )
    assert kinds[:2] == [Participant, Send]
    at = kinds.index(Match)
    assert kinds[at : at + 4] == [Match, Participant, Participant, Send]


def test_room_without_a_study_keeps_nothing() -> None:
    room = Room(MatchSettings(env="cogrid:Test", seats=2), entropy=random.Random(1))
    effects = come(room, "a", "b")
    effects += confirm(room, effects, "a", "b")
    assert not any(isinstance(each, Kept) for each in effects)


def test_what_is_kept_holds_no_token() -> None:
    disk = Disk()
    match_id, token, _ = begin(disk, disk.start(), "a", "b")
    everything = repr((disk.participants, disk.matches))
    assert match_id in everything
    assert token not in everything


def test_those_who_wait_keep_their_order_and_the_time_they_have_waited() -> None:
    disk = Disk()
    room = disk.start(seats=4)
    effects = disk.keep(come(room, "a", "b", now=1.0)) + disk.keep(come(room, "c", now=5.0))
    _, moved = room.act(Move(participant="c", position=1), by="eva", now=6.0)
    disk.keep(moved)
    again = disk.start(seats=4, now=10.0)
    assert again.waiting == ("c", "a", "b")
    back(again, "x", token=token_of(effects, "a"), now=11.0)
    assert again.participant_of("x") == "a"
    effects = come(again, "d", now=12.0)
    assert again.waiting == ("c", "a", "b", "d")
    assert not any(isinstance(each, Send) and isinstance(each.message, Proposed) for each in effects), "two are away"
    row = {each.id: each for each in again.row(now=12.0, epoch=EPOCH + 12.0).participants}
    assert (row["a"].state, row["b"].state, row["b"].connected) == ("waiting", "away", False)


def test_who_was_proposed_waits_on_and_its_late_answer_does_no_harm() -> None:
    disk = Disk()
    room = disk.start()
    effects = disk.keep(come(room, "a", "b"))
    old = only(effects, "a", Proposed).proposal_id
    again = disk.start(now=1.0)
    assert again.waiting == ("a", "b")
    found = [
        *back(again, "x", token=token_of(effects, "a"), now=2.0),
        *back(again, "y", token=token_of(effects, "b"), now=2.0),
    ]
    assert only(found, "x", Proposed).proposal_id != old
    for each in ("x", "y"):
        again.confirm(each, Confirm(proposal_id=old), now=2.0)
    assert again.matches == {}
    confirm(again, found, "x", "y", now=3.0)
    assert list(again.matches.values()) == [("a", "b")]


def test_match_is_shown_again_and_its_players_have_their_seats() -> None:
    disk = Disk()
    room = disk.start()
    match_id, token_a, token_b = begin(disk, room, "a", "b")
    disk.keep(room.report("a", Report(match_id=match_id, health=Health(phase="playing")), now=1.0))
    again = disk.start(now=20.0)
    row = shown(again, match_id, now=20.0)
    assert (row.state, [each.present for each in row.seats], row.running_for_s) == ("playing", [False, False], 20.0)
    effects = back(again, "x", token=token_a, match_id=match_id, now=21.0)
    assert sent(effects, "x")[0].match == match_id  # type: ignore[union-attr]
    back(again, "y", token=token_b, match_id=match_id, now=22.0)
    assert [each.present for each in shown(again, match_id).seats] == [True, True]
    again.report("x", Report(match_id=match_id, health=Health(phase="playing", frame=9)), now=23.0)
    health = shown(again, match_id, now=23.0).seats[0].health
    assert health is not None
    assert health.frame == 9
    signal = Signal(match_id=match_id, peer="b", description=Description(type="offer", sdp="v=0"))
    assert only(again.signal("x", signal), "y", Signal).peer == "a"
    disk.keep(finish(again, "x", match_id, now=24.0))
    disk.keep(finish(again, "y", match_id, now=24.0))
    assert [each["participant"] for each in disk.matches[match_id].results] == ["a", "b"]
    assert (disk.matches[match_id].state, disk.matches[match_id].reason) == ("ended", "complete")
    assert shown(disk.start(now=30.0), match_id, now=30.0).reason == "complete"


def test_match_to_which_nobody_comes_back_has_ended_when_the_grace_is_over() -> None:
    disk = Disk()
    match_id, *_ = begin(disk, disk.start(), "a", "b")
    again = disk.start(now=100.0, grace_s=5.0, restart_grace_s=60.0)
    disk.keep(again.tick(159.0))
    assert shown(again, match_id, now=159.0).state == "validating"
    disk.keep(again.tick(161.0))
    assert (shown(again, match_id, now=161.0).state, shown(again, match_id).reason) == (
        "ended",
        "unknown after a restart",
    )
    assert again.row(now=161.0, epoch=EPOCH).participants == ()
    assert disk.matches[match_id].reason == "unknown after a restart"


def test_partner_who_does_not_come_back_is_told_of_without_proof() -> None:
    disk = Disk()
    match_id, token, _ = begin(disk, disk.start(), "a", "b")
    again = disk.start(now=100.0)
    back(again, "x", token=token, match_id=match_id, now=101.0)
    assert only(again.tick(161.0), "x", PeerGone).why == "silent"
    finish(again, "x", match_id, now=162.0)
    assert shown(again, match_id, now=162.0).reason == "left"


def test_match_whose_only_player_left_after_coming_back_is_no_unknown_one() -> None:
    disk = Disk()
    match_id, token, _ = begin(disk, disk.start(), "a", "b")
    again = disk.start(now=100.0)
    back(again, "x", token=token, match_id=match_id, now=101.0)
    again.depart("x", "left", now=102.0)
    again.tick(161.0)
    assert (shown(again, match_id).state, shown(again, match_id).reason) == ("ended", "left")


def test_bot_of_the_server_ended_with_it_and_keeps_no_match_alive() -> None:
    disk = Disk()
    room = disk.start(starts_bots=True)
    effects = disk.keep(come(room, "a"))
    _, asked = room.act(AddBot(bot="seeker", participant="a"), by="eva", now=1.0)
    (bot,) = [each for each in disk.keep(asked) if isinstance(each, StartBot)]
    room.arrive("b", now=2.0)
    found = disk.keep(room.join("b", Join(bot=True, token=bot.token, label=bot.label), now=2.0))
    match_id = match_of(disk.keep(confirm(room, found, "a", "b", now=3.0)), "a")
    again = disk.start(now=4.0, starts_bots=True)
    assert [each.id for each in again.row(now=4.0, epoch=EPOCH).participants] == ["a"]
    back(again, "x", token=token_of(effects, "a"), match_id=match_id, now=5.0)
    assert shown(again, match_id).state == "validating"
    disk.keep(finish(again, "x", match_id, now=6.0))
    assert shown(again, match_id).state == "ended"


def test_match_of_which_only_a_bot_was_left_has_ended_at_once() -> None:
    disk = Disk()
    match_id, *_ = begin(disk, disk.start(), "a", "b")
    disk.participants.clear()
    again = disk.start(now=1.0)
    assert (shown(again, match_id).reason, disk.matches[match_id].state) == ("unknown after a restart", "ended")


def test_result_of_a_match_that_ended_meanwhile_is_taken_from_the_seat() -> None:
    disk = Disk()
    match_id, token, _ = begin(disk, disk.start(), "a", "b")
    again = disk.start(now=100.0)
    back(again, "x", token=token, match_id=match_id, ready=False, now=101.0)
    result = MatchResult(reason="complete")
    disk.keep(again.finish("x", Finished(match_id=match_id, result=result), now=102.0))
    assert again.stage_of("a") is Stage.FINISHED
    assert disk.participants["a"].finished


def test_neither_matches_nor_seeds_nor_actions_have_the_same_name_twice() -> None:
    disk, matches, actions = Disk(), set(), set()
    for start in range(3):
        room = disk.start(now=1000.0 * start)
        match_id, *_ = begin(disk, room, f"a{start}", f"b{start}", now=1000.0 * start)
        action, effects = room.act(Hold(), by="eva", now=1000.0 * start)
        matches.add(match_id.split("-")[0])
        actions.add(action)
        disk.keep(effects)
        disk.counts[HELD] = 0
    assert (matches, len(actions)) == ({"0001", "0002", "0003"}, 3)


def test_conditions_and_earlier_partners_are_remembered() -> None:
    disk = Disk()
    room = disk.start(matcher=Balanced({"A": 1, "B": 5}))
    match_id, *_ = begin(disk, room, "a", "b")
    disk.keep([*finish(room, "a", match_id), *finish(room, "b", match_id)])
    again = disk.start(now=50.0, matcher=Balanced({"A": 1, "B": 5}))
    effects = come(again, "c", "d", now=51.0)
    assert only(confirm(again, effects, "c", "d", now=51.0), "c", Matched).condition == "B"


def test_nobody_plays_again_with_a_partner_from_before() -> None:
    disk = Disk()
    room = disk.start(matcher=NewPartners())
    for each in ("a", "b"):
        room.arrive(each, now=0.0)
    effects = [*room.join("a", Join(label="A"), now=0.0), *room.join("b", Join(label="B"), now=0.0)]
    disk.keep(effects)
    match_id = match_of(disk.keep(confirm(room, effects, "a", "b")), "a")
    disk.keep([*finish(room, "a", match_id), *finish(room, "b", match_id)])
    again = disk.start(now=50.0, matcher=NewPartners())
    found = [*back(again, "x", label="A", now=51.0), *back(again, "y", label="B", now=51.0)]
    assert not any(isinstance(each, Send) and isinstance(each.message, Proposed) for each in found)
    assert only(back(again, "z", label="C", now=52.0), "z", Proposed)


def test_who_was_removed_is_not_let_in_with_its_token() -> None:
    disk = Disk()
    room = disk.start()
    effects = disk.keep(come(room, "a"))
    _, done = room.act(Remove(participant="a", text="bye"), by="eva", now=1.0)
    disk.keep(done)
    assert disk.participants["a"].locked
    again = disk.start(now=2.0)
    again.arrive("x", now=3.0)
    with pytest.raises(SignalingError) as caught:
        again.join("x", Join(token=token_of(effects, "a")), now=3.0)
    assert caught.value.code == "removed"


def test_a_room_that_is_held_stays_so() -> None:
    disk = Disk()
    room = disk.start()
    _, effects = room.act(Hold(), by="eva", now=0.0)
    disk.keep(effects)
    again = disk.start(now=1.0)
    come(again, "a", "b", now=2.0)
    assert (again.waiting, again.row(now=2.0, epoch=EPOCH).paused) == (("a", "b"), True)


def test_who_had_gone_is_not_expected() -> None:
    disk = Disk()
    room = disk.start()
    effects = disk.keep(come(room, "a"))
    disk.keep(room.depart("a", "left", now=1.0))
    again = disk.start(now=2.0)
    assert again.row(now=2.0, epoch=EPOCH).participants == ()
    back(again, "x", token=token_of(effects, "a"), now=3.0)
    assert again.participant_of("x") == "x"


def test_record_that_somebody_has_changed_is_left_out_and_said() -> None:
    disk = Disk()
    match_id, *_ = begin(disk, disk.start(), "a", "b")
    disk.participants["a"] = Participant(id="a", study_id="study", state="nowhere", token_hash="0" * 64)
    disk.matches["0009-x"] = Match(id="0009-x", study_id="study", state="playing")
    again = disk.start(now=1.0)
    row = again.row(now=1.0, epoch=EPOCH)
    assert [each.id for each in row.participants] == ["b"]
    assert {each.id for each in row.matches} == {match_id}
    assert sum("cannot be read" in each.text for each in row.events) == 2


def test_names_that_no_file_can_hold_are_kept_all_the_same() -> None:
    disk = Disk()
    room = disk.start()
    with pytest.raises(SignalingError) as caught:
        come(room, "a", label="x\ud800y")
    assert caught.value.code == "label-characters"
    disk.keep(room.join("a", Join(station="x\ud800y", attributes={"k": "\udfff"}), now=0.0))
    assert disk.participants["a"].station == "x?y"
    assert disk.participants["a"].attributes == {"k": "?"}


def test_who_still_loads_after_a_restart_is_not_proposed() -> None:
    disk = Disk()
    room = disk.start()
    effects = disk.keep(come(room, "a", ready=False))
    again = disk.start(now=1.0)
    back(again, "x", token=token_of(effects, "a"), ready=False, now=2.0)
    found = come(again, "b", now=3.0)
    assert not any(isinstance(each, Send) and isinstance(each.message, Proposed) for each in found)
    assert only(again.ready("x", Ready(), now=4.0), "x", Proposed)


def test_who_asks_for_a_hold_at_a_start_gets_it_and_it_is_kept() -> None:
    disk = Disk()
    assert not disk.start().row(now=0.0, epoch=EPOCH).paused
    assert disk.start(starts_held=True).row(now=0.0, epoch=EPOCH).paused
    assert disk.start().row(now=0.0, epoch=EPOCH).paused
    assert disk.counts[HELD] == 1


# -- what a researcher asked for --------------------------------------------------------------------------------------


def reserve(disk: Disk, room: Room) -> tuple[dict[str, str], str]:
    """Let three wait while the room is held, of whom one still loads, and pair the last two; returns their tokens."""
    tokens = {}
    for each in ("a", "b", "c"):
        effects = disk.keep(back(room, each, label=each, ready=each != "c"))
        tokens[each] = token_of(effects, each)
    pair = Pair(participants=("b", "c"))
    asked, effects = room.act(pair, by="eva", now=1.0)
    disk.keep(effects)
    disk.note(pair, asked, at=1.0)
    return tokens, asked


def test_who_was_paired_and_not_yet_proposed_still_is_after_a_restart() -> None:
    disk = Disk()
    room = disk.start(starts_held=True)
    tokens, asked = reserve(disk, room)
    room = disk.start(now=400.0, starts_held=True)  # later than a reservation holds without a restart
    for each in ("a", "b"):
        disk.keep(back(room, f"{each}2", now=401.0, label=each, token=tokens[each]))
        assert not room.proposed
    disk.keep(back(room, "c2", now=402.0, label="c", token=tokens["c"]))
    assert room.proposed.popitem()[1] == ("b", "c")
    for each in ("b2", "c2"):
        disk.keep(room.confirm(each, Confirm(proposal_id=next(iter(room.proposed))), now=403.0))
    (row,) = room.row(now=403.0, epoch=EPOCH).actions
    assert (row.id, row.kind, row.by, row.target, row.state) == (asked, "pair", "eva", "b, c", "done")
    assert all(each.room.get("reserved") is None for each in disk.participants.values())


def test_a_reservation_of_somebody_who_does_not_come_back_is_given_up() -> None:
    disk = Disk()
    tokens, _ = reserve(disk, disk.start(starts_held=True))
    room = disk.start(now=10.0, restart_grace_s=20.0)
    disk.keep(room.act(Release(), by="eva", now=10.0)[1])
    for each in ("a", "b"):
        disk.keep(back(room, f"{each}2", now=11.0, label=each, token=tokens[each]))
    disk.keep(room.tick(31.0))
    row = room.row(now=31.0, epoch=EPOCH).actions[0]
    assert (row.state, row.detail) == ("failed", "Not all of them came.")
    assert room.proposed.popitem()[1] == ("a", "b")  # the one that was kept for another is free again


def test_a_reservation_for_a_bot_that_ended_with_the_server_is_not_kept() -> None:
    disk = Disk()
    room = disk.start(starts_bots=True)
    token = token_of(disk.keep(back(room, "a", label="a")), "a")
    disk.keep(room.act(AddBot(bot="greedy", participant="a"), by="eva", now=1.0)[1])
    assert disk.participants["a"].room["reserved"] is not None
    room = disk.start(now=2.0)
    disk.keep(back(room, "a2", now=3.0, label="a", token=token))
    disk.keep(come(room, "b", now=4.0))
    assert room.proposed.popitem()[1] == ("a", "b")


def test_actions_of_before_are_shown_and_their_answers_are_unknown() -> None:
    disk = Disk()
    match_id, *_ = begin(disk, disk.start(), "a", "b")
    actions: list[Action] = [PauseMatch(match=match_id), StartAll(), Tell(text="Hello."), Remove(participant="a")]
    for number, action in enumerate(actions):
        disk.note(action, f"a{number}", at=float(number))
    disk.audit.append(AuditLine(at=EPOCH, by="eva", action="fly", facts={"id": "a9", "action": {"kind": "fly"}}))
    room = disk.start(now=5.0)
    rows = room.row(now=5.0, epoch=EPOCH + 5.0).actions
    assert [(each.id, each.kind, each.target, each.state, each.at) for each in rows] == [
        ("a0", "pause", match_id, "unknown", EPOCH),
        ("a1", "start-all", "", "done", EPOCH + 1.0),
        ("a2", "tell", "", "unknown", EPOCH + 2.0),
        ("a3", "remove", "a", "unknown", EPOCH + 3.0),
    ]
    disk.keep(room.tick(100.0))  # nobody is waited for
    assert room.row(now=100.0, epoch=EPOCH + 100.0).actions[0].state == "unknown"
    asked, _ = room.act(Hold(), by="eva", now=101.0)
    assert asked not in {each.id for each in rows}


def test_who_was_excluded_for_good_stays_out_unless_the_rules_are_others_now() -> None:
    focus = {"warn_after_s": 2, "exclude_after_s": 4, "message": "Out."}
    rules = {"grace_s": 0, "focus": focus}
    disk = Disk()
    room = disk.start(screening=parse_rules({"playing": rules}))
    effects = disk.keep([*come(room, "a", label="label-a"), *come(room, "b")])
    match = match_of(disk.keep(confirm(room, effects, "a", "b")), "a")
    for second in range(1, 12):
        health = Health(phase="playing", rate_hz=30.0, frame=second, focused=False)
        disk.keep(room.report("a", Report(match_id=match, health=health), now=float(second)))
    assert room.stage_of("a") is Stage.EXCLUDED
    room = disk.start(now=10.0, screening=parse_rules({"playing": rules}))
    for label in ("label-a", "LABEL-A"):
        with pytest.raises(SignalingError, match="Out\\.") as caught:
            back(room, f"again-{label}", now=11.0, label=label)
        assert caught.value.code == "removed"
    assert sent(back(room, "other", now=12.0, label="label-c"), "other")
    room = disk.start(now=20.0, screening=parse_rules({"playing": {**rules, "come_back": True}}))
    assert isinstance(sent(back(room, "at last", now=21.0, label="label-a"), "at last")[0], Welcome)
