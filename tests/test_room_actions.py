"""What a researcher asks of the room: what it does, who acknowledges it, and what is shown."""

from __future__ import annotations

import pytest
from room_rig import come, confirm, finish, make_room, match_of, only, sent

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Join, Leave, Matched, PeerGone
from p2pclient.common.room_messages import Command, Done, Health, PeerHealth, Proposed, Ready, Report
from p2pclient.common.stages import Stage
from signaling.actions import (
    Action,
    AddBot,
    EndMatch,
    ExtendMatch,
    Hold,
    Move,
    Pair,
    PauseMatch,
    Release,
    Remove,
    ResumeMatch,
    StartAll,
    Tell,
)
from signaling.effects import Effect, StartBot
from signaling.room import Room
from signaling.room_state import Limits
from signaling.rows import ActionRow


def shown(room: Room, action_id: str, now: float = 1.0) -> ActionRow:
    (found,) = [each for each in room.row(now=now, epoch=now).actions if each.id == action_id]
    return found


def refused(room: Room, action: Action) -> str:
    with pytest.raises(SignalingError) as caught:
        room.act(action, by="eva", now=1.0)
    assert not [each for each in room.row(now=1.0, epoch=1.0).actions if each.state != "done"]
    return caught.value.code


def test_held_room_matches_nobody_until_it_is_released() -> None:
    room = make_room()
    room.act(Hold(), by="eva", now=0.0)
    come(room, "a", "b")
    assert (room.proposed, room.row(now=1.0, epoch=1.0).paused) == ({}, True)
    action_id, effects = room.act(Release(), by="eva", now=2.0)
    assert only(effects, "a", Proposed) == only(effects, "b", Proposed)
    assert shown(room, action_id).state == "done"


def test_pair_plays_together_in_the_order_asked_for_even_while_the_room_is_held() -> None:
    room = make_room()
    room.act(Hold(), by="eva", now=0.0)
    come(room, "a", "b", "c", "d")
    action_id, effects = room.act(Pair(participants=("d", "b")), by="eva", now=1.0)
    assert shown(room, action_id).state == "sent"
    began = confirm(room, effects, "b", "d")
    assert only(began, "d", Matched).own_seats == (0,)
    assert shown(room, action_id).state == "done"
    assert room.waiting == ("a", "c")


def test_pair_waits_for_who_still_loads_and_comes_to_nothing_without_it() -> None:
    room = make_room()
    come(room, "a")
    come(room, "b", ready=False)
    action_id, _ = room.act(Pair(participants=("a", "b")), by="eva", now=1.0)
    come(room, "c", now=2.0)
    assert room.proposed == {}, "a is reserved"
    effects = room.ready("b", Ready(), now=3.0)
    assert only(effects, "a", Proposed)
    room.depart("b", "left", now=4.0)
    assert shown(room, action_id).state == "failed"
    assert list(room.proposed.values()) == [("a", "c")]


def test_pairs_that_cannot_be_are_refused() -> None:
    room = make_room()
    come(room, "a")
    assert refused(room, Pair(participants=("a", "nobody"))) == "no-participant"
    assert refused(room, Pair(participants=("a", "a"))) == "wrong-number"
    assert refused(room, Pair(participants=("a",))) == "wrong-number"
    come(room, "b")
    assert refused(room, Pair(participants=("a", "b"))) == "wrong-state"


def test_start_all_matches_everyone_at_once() -> None:
    room = make_room()
    room.act(Hold(), by="eva", now=0.0)
    come(room, *"abcde")
    action_id, _ = room.act(StartAll(), by="eva", now=1.0)
    assert sorted(room.proposed.values()) == [("a", "b"), ("c", "d")]
    assert shown(room, action_id).detail == "2 matches; 1 still wait."


def test_move_gives_another_place() -> None:
    room = make_room(8)
    come(room, *"abcd")
    effects = room.act(Move(participant="d", position=2), by="eva", now=1.0)[1]
    assert room.waiting == ("a", "d", "b", "c")
    assert [each.position for each in sent(effects, "d")] == [2]  # type: ignore[union-attr]
    room.act(Move(participant="a", position=99), by="eva", now=1.0)
    assert room.waiting == ("d", "b", "c", "a")
    room.leave("a", Leave(), now=2.0)
    assert refused(room, Move(participant="a", position=1)) == "not-waiting"


def in_match(room: Room) -> str:
    effects = come(room, "a", "b")
    return match_of(confirm(room, effects, "a", "b"), "a")


def command_of(effects: list[Effect], client: str) -> Command:
    found: Command = only(effects, client, Command)
    return found


@pytest.mark.parametrize("kind", ["pause", "resume", "end", "extend"])
def test_match_is_controlled_through_one_of_its_clients_which_acknowledges(kind: str) -> None:
    room = make_room()
    match_id = in_match(room)
    actions: dict[str, Action] = {
        "pause": PauseMatch(match=match_id),
        "resume": ResumeMatch(match=match_id),
        "end": EndMatch(match=match_id),
        "extend": ExtendMatch(match=match_id, seconds=10.0),
    }
    action_id, effects = room.act(actions[kind], by="eva", now=1.0)
    command = command_of(effects, "a")
    assert (command.kind, command.match_id, command.action_id) == (kind, match_id, action_id)
    assert command.frames == (150 if kind == "extend" else 0)
    assert sent(effects, "b") == []
    assert shown(room, action_id).state == "sent"
    room.done("b", Done(action_id=action_id, ok=True))
    room.done("b", Done(action_id=action_id, ok=False))
    assert shown(room, action_id).state == "sent", "only who was asked can acknowledge"
    room.done("a", Done(action_id=action_id, ok=True))
    assert shown(room, action_id).state == "done"
    room.depart("a", "disconnected", now=2.0)
    assert command_of(room.act(actions[kind], by="eva", now=3.0)[1], "b").kind == kind
    assert refused_kind(room, PauseMatch(match="0007-nothing")) == "not-running"


def refused_kind(room: Room, action: Action) -> str:
    with pytest.raises(SignalingError) as caught:
        room.act(action, by="eva", now=4.0)
    return caught.value.code


def test_what_nobody_acknowledges_is_shown_as_unanswered_and_later_as_done() -> None:
    room = make_room()
    match_id = in_match(room)
    action_id, _ = room.act(PauseMatch(match=match_id), by="eva", now=1.0)
    room.tick(5.9)
    assert shown(room, action_id).state == "sent"
    room.tick(6.0)
    assert (shown(room, action_id).state, shown(room, action_id).detail) == ("unanswered", "No answer from a.")
    room.done("a", Done(action_id=action_id, ok=True))
    assert shown(room, action_id).state == "done"


def test_what_a_client_cannot_do_is_shown_with_its_reason() -> None:
    room = make_room()
    match_id = in_match(room)
    action_id, _ = room.act(EndMatch(match=match_id), by="eva", now=1.0)
    room.done("a", Done(action_id=action_id, ok=False, message="It is over already."))
    assert (shown(room, action_id).state, shown(room, action_id).detail) == ("failed", "a: It is over already.")


def test_message_goes_to_whom_it_is_meant_for() -> None:
    room = make_room()
    match_id = in_match(room)
    come(room, "c")
    for action, whom in [
        (Tell(text="hello", participant="c"), "c"),
        (Tell(text="hello", match=match_id), "ab"),
        (Tell(text="hello"), "abc"),
        (Tell(text=""), "abc"),
    ]:
        action_id, effects = room.act(action, by="eva", now=1.0)
        assert [client for client in "abc" if sent(effects, client)] == list(whom)
        assert {command_of(effects, client).text for client in whom} == {action.text}
        for client in whom:
            assert shown(room, action_id).state == "sent"
            room.done(client, Done(action_id=action_id, ok=True))
        assert shown(room, action_id).state == "done"
        notes = {each.id: each.note for each in room.row(now=1.0, epoch=1.0).participants}
        assert all(notes[client] == action.text for client in whom)


def test_removed_player_is_told_and_so_is_its_partner() -> None:
    room = make_room()
    match_id = in_match(room)
    action_id, effects = room.act(Remove(participant="a", text="Please see Eva."), by="eva", now=1.0)
    assert (command_of(effects, "a").kind, command_of(effects, "a").text) == ("leave", "Please see Eva.")
    assert sent(effects, "b") == [PeerGone(match_id=match_id, client_id="a", why="left")]
    assert room.stage_of("a") is Stage.EXCLUDED
    with pytest.raises(SignalingError, match="no further part"):
        room.join("a", Join(), now=2.0)
    room.done("a", Done(action_id=action_id, ok=True))
    assert shown(room, action_id).state == "done"
    assert refused_kind(room, Remove(participant="a")) == "removed"


def test_bot_fills_a_seat_for_one_who_waits() -> None:
    room = make_room(starts_bots=True, limits=Limits(bots=2))
    room.act(Hold(), by="eva", now=0.0)
    come(room, "z", "a")
    action_id, effects = room.act(AddBot(bot="greedy", participant="a"), by="eva", now=1.0)
    (bot,) = [each for each in effects if isinstance(each, StartBot)]
    assert shown(room, action_id).state == "sent"
    row = {each.id: each for each in room.row(now=1.0, epoch=1.0).participants}[bot.participant]
    assert (row.bot, row.state, row.reason) == (True, "away", "The bot is being started.")
    room.arrive("x", now=2.0)
    effects = room.join("x", Join(token=bot.token, bot=True, label=bot.label), now=2.0)
    confirm(room, effects, "a", "x")
    assert shown(room, action_id).state == "done"
    room.act(AddBot(bot="greedy"), by="eva", now=3.0)
    assert refused_kind(room, AddBot(bot="greedy")) == "too-many-bots"


def test_bot_that_does_not_start_is_shown() -> None:
    room = make_room(starts_bots=True)
    come(room, "a")
    action_id, effects = room.act(AddBot(bot="greedy", participant="a"), by="eva", now=1.0)
    (bot,) = [each for each in effects if isinstance(each, StartBot)]
    room.bot_failed(bot.participant, "no such bot", now=2.0)
    assert shown(room, action_id).state == "failed"
    assert [each.text for each in room.row(now=2.0, epoch=2.0).events if "no such bot" in each.text]
    come(room, "b", now=3.0)
    assert list(room.proposed.values()) == [("a", "b")]


def test_server_that_starts_no_bots_says_so() -> None:
    room = make_room()
    assert refused(room, AddBot(bot="greedy")) == "no-bots"


def test_row_follows_what_clients_report() -> None:
    room = make_room()
    match_id = in_match(room)

    def state() -> tuple[str, tuple[str, ...]]:
        (match,) = room.row(now=10.0, epoch=10.0).matches
        return match.state, match.alerts

    assert state() == ("validating", ())
    bad = PeerHealth(seats=(1,), rtt_ms=400.0, loss=0.2)
    for phase, expected in [("playing", "playing"), ("paused", "paused"), ("between", "playing")]:
        room.report("a", Report(match_id=match_id, health=Health(phase=phase)), now=9.0)  # type: ignore[arg-type]
        assert state() == (expected, ())
    room.report("a", Report(match_id=match_id, health=Health(phase="playing", peers=(bad,))), now=9.0)
    assert len(state()[1]) == 2
    room.report("c", Report(match_id=match_id, health=Health()), now=9.0)
    room.tick(20.0)
    assert any("told nothing for" in each for each in room.row(now=20.0, epoch=20.0).matches[0].alerts)


def test_who_is_the_last_to_change_its_phase_does_not_take_back_what_the_others_have_reached() -> None:
    room = make_room()
    match_id = in_match(room)
    states = []
    for client, phase in [("a", "playing"), ("b", "playing"), ("b", "paused"), ("a", "playing"), ("a", "paused"),
                          ("a", "playing"), ("b", "paused"), ("b", "playing"), ("b", "playing")]:  # fmt: skip
        health = Health(phase=phase)  # type: ignore[arg-type]
        room.report(client, Report(match_id=match_id, health=health), now=2.0)
        states.append(room.row(now=2.0, epoch=2.0).matches[0].state)
    assert states == ["playing"] * 2 + ["paused"] * 3 + ["playing"] * 4
    texts = [each.text for each in room.row(now=2.0, epoch=2.0).events if each.match_id == match_id]
    assert texts[1:] == ["The match is playing.", "The match is paused.", "The match is playing."]


def test_extended_match_is_shown_with_its_new_length_once_it_has_it() -> None:
    room = make_room(frames=150)
    match_id = in_match(room)

    def length() -> float:
        return room.row(now=2.0, epoch=2.0).matches[0].length_s

    action_id, effects = room.act(ExtendMatch(match=match_id, seconds=20.0), by="eva", now=1.0)
    assert length() == 10.0
    room.done(command_of(effects, "a") and "a", Done(action_id=action_id, ok=True))
    room.done("a", Done(action_id=action_id, ok=True))
    assert length() == 30.0
    refused_one, _ = room.act(ExtendMatch(match=match_id, seconds=20.0), by="eva", now=1.0)
    room.done("a", Done(action_id=refused_one, ok=False, message="It is too late."))
    assert length() == 30.0
    (noted, _) = [each for each in room.row(now=2.0, epoch=2.0).events if each.kind == "action"]
    assert (noted.match_id, noted.text) == (match_id, "eva: extend")


def test_everybody_who_waits_has_a_place_that_is_shown() -> None:
    room = make_room(starts_held=True)
    come(room, "a", "b", "c")

    def places() -> dict[str, int | None]:
        return {each.id: each.position for each in room.row(now=1.0, epoch=1.0).participants}

    assert (room.row(now=1.0, epoch=1.0).paused, places()) == (True, {"a": 1, "b": 2, "c": 3})
    room.act(Move(participant="c", position=1), by="eva", now=1.0)
    assert places() == {"c": 1, "a": 2, "b": 3}
    room.act(Pair(participants=("a", "c")), by="eva", now=1.0)
    assert places() == {"a": None, "b": 1, "c": None}


def test_bot_for_anybody_is_done_when_it_waits_and_one_that_went_says_why() -> None:
    room = make_room(starts_bots=True, starts_held=True)
    asked = [room.act(AddBot(bot="greedy"), by="eva", now=1.0) for _ in range(2)]
    for number, (action_id, effects) in enumerate(asked):
        (bot,) = [each for each in effects if isinstance(each, StartBot)]
        room.arrive(f"x{number}", now=2.0)
        room.join(f"x{number}", Join(token=bot.token, bot=True, label=bot.label, ready=False), now=2.0)
        room.tick(3.0)
        assert shown(room, action_id).state == "sent", "it is there, and still loads"
        if number:
            room.depart(f"x{number}", "left", now=4.0)
            room.tick(4.0)
            room.bot_failed(bot.participant, "no such bot", now=4.0)
            assert (shown(room, action_id).state, shown(room, action_id).detail) == ("failed", "no such bot")
        else:
            room.ready(f"x{number}", Ready(), now=4.0)
            room.tick(4.0)
            assert shown(room, action_id).state == "done"
            assert shown(room, action_id).target == "the room (greedy)"
            room.depart(f"x{number}", "left", now=4.0)
            room.bot_failed(bot.participant, "it ended with code 0", now=5.0)
            assert shown(room, action_id).state == "done"


def test_who_has_finished_or_was_removed_is_counted_after_it_went() -> None:
    room = make_room()
    match_id = in_match(room)
    for client in ("a", "b"):
        finish(room, client, match_id)
    room.act(Remove(participant="a"), by="eva", now=2.0)
    for client in ("a", "b"):
        room.depart(client, "left", now=3.0)
    counts = room.row(now=4.0, epoch=4.0).counts
    assert (counts["finished"], counts["excluded"]) == (1, 1)
    texts = [each.text for each in room.row(now=4.0, epoch=4.0).events if each.kind in ("came", "gone")]
    assert texts[:2] == ["a is here.", "b is here."]
    assert texts[-2:] == ["a is gone.", "b is gone."]
