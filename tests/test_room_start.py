"""How a match begins: proposed, confirmed by all, begun; and what happens when somebody does not confirm."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from room_rig import come, confirm, decisions, make_room, match_of, only, sent

from p2pclient.common.errors import LocalMisuseError, SignalingError
from p2pclient.common.lobby_messages import Join, Leave, Matched, PeerBack, PeerGone, Waiting, Welcome
from p2pclient.common.room_messages import Confirm, Decline, Health, Proposed, Ready, Removed, Report, Withdrawn
from p2pclient.common.stages import SCREENS, Stage
from signaling.effects import Disconnect, Effect, StartBot
from signaling.hiring import BOT_WITHIN_S
from signaling.lifecycle import (
    MATCH_STEPS,
    PARTICIPANT_STEPS,
    PRESENCE_STEPS,
    MatchState,
    Presence,
    step,
)
from signaling.room import Room
from signaling.rows import MATCH_STATES, PARTICIPANT_STATES


def test_nobody_is_matched_before_all_have_confirmed() -> None:
    room = make_room()
    effects = come(room, "a", "b")
    assert {only(effects, client, Proposed).seats for client in "ab"} == {2}
    assert room.matches == {}
    answered = confirm(room, effects, "a")
    assert sent(answered, "a") == sent(answered, "b") == []
    answered = confirm(room, effects, "b")
    assert only(answered, "a", Matched).match_id == only(answered, "b", Matched).match_id
    assert room.proposed == {}
    assert confirm(room, effects, "a", "b") == []  # twice is harmless


def test_who_still_loads_keeps_its_place_and_is_not_proposed() -> None:
    room = make_room()
    come(room, "slow", ready=False)
    effects = come(room, "b", "c", now=1.0)
    assert {type(each) for each in sent(effects, "slow")} == {Waiting}
    assert list(room.proposed.values()) == [("b", "c")]
    room.tick(1000.0)
    assert room.waiting[0] == "slow", "loading takes as long as it takes"
    effects = [*come(room, "d", now=1001.0), *room.ready("slow", Ready(), now=1002.0)]
    assert only(effects, "slow", Proposed) == only(effects, "d", Proposed)


def test_who_does_not_confirm_in_time_is_out_and_the_others_keep_their_place() -> None:
    room = make_room(confirm_within_s=30.0)
    effects = come(room, "a", "b")
    confirm(room, effects, "b")
    come(room, "c", ready=False, now=10.0)
    room.tick(29.9)
    assert list(room.proposed.values()) == [("a", "b")]
    effects = room.tick(30.0)
    assert only(effects, "a", Withdrawn).waiting is False
    assert only(effects, "b", Withdrawn).waiting is True
    assert sent(effects, "b")[-1] == Waiting(position=1, waiting=2, needed=0)
    assert (room.stage_of("a"), room.waiting) == (Stage.IDLE, ("b", "c"))
    (line,) = decisions(effects, "withdrawn")
    assert (line["kept"], line["out"], line["why"]) == (["b"], ["a"], "not confirmed in time")
    again = room.join("a", Join(), now=31.0)
    assert only(again, "a", Proposed) == only(again, "b", Proposed)
    assert room.proposed[only(again, "a", Proposed).proposal_id] == ("b", "a")


@pytest.mark.parametrize("way", ["leave", "decline", "disconnected", "silent", "left"])
def test_whoever_goes_while_proposed_starts_nothing(way: str) -> None:
    room = make_room()
    effects = come(room, "a", "b")
    proposal = only(effects, "a", Proposed).proposal_id
    confirm(room, effects, "a")
    if way == "leave":
        effects = room.leave("b", Leave(), now=1.0)
    elif way == "decline":
        effects = room.decline("b", Decline(proposal_id=proposal), now=1.0)
    else:
        effects = room.depart("b", way, now=1.0)  # type: ignore[arg-type]
    assert only(effects, "a", Withdrawn).waiting is True
    is_waited_for = way in ("disconnected", "silent")
    assert room.waiting == (("a", "b") if is_waited_for else ("a",))
    late = room.confirm("a", Confirm(proposal_id=proposal), now=2.0)
    assert (late, room.matches) == ([], {})


def test_lost_connection_keeps_its_place_for_a_while_and_the_token_gives_it_back() -> None:
    room = make_room(3, grace_s=15.0)
    token = only(come(room, "a", "b"), "a", Welcome).token
    assert token is not None
    assert len(token) * 4 >= 128
    room.depart("a", "disconnected", now=1.0)
    assert room.waiting == ("a", "b")
    room.arrive("a2", now=2.0)
    effects = room.join("a2", Join(token=token), now=2.0)
    assert only(effects, "a2", Welcome).client_id == "a"
    assert sent(effects, "a2")[-1] == Waiting(position=1, waiting=2, needed=1)
    room.depart("a2", "silent", now=3.0)
    room.tick(17.9)
    assert room.waiting == ("a", "b")
    room.tick(18.0)
    assert room.waiting == ("b",)
    room.arrive("a3", now=19.0)
    assert only(room.join("a3", Join(token=token), now=19.0), "a3", Welcome).client_id == "a3"


def test_who_is_away_is_not_proposed_and_is_when_it_is_back() -> None:
    room = make_room()
    token = only(come(room, "a"), "a", Welcome).token
    room.depart("a", "disconnected", now=1.0)
    assert sent(come(room, "b", now=2.0), "b")[-1] == Waiting(position=2, waiting=2, needed=0)
    room.arrive("a2", now=3.0)
    effects = room.join("a2", Join(token=token), now=3.0)
    assert only(effects, "a2", Proposed) == only(effects, "b", Proposed)


def in_match(room: Room) -> tuple[str, dict[str, str]]:
    """Begin a match of a and b; returns it and their tokens."""
    effects = come(room, "a", "b")
    tokens = {client: only(effects, client, Welcome).token for client in "ab"}
    return match_of(confirm(room, effects, "a", "b"), "a"), tokens


def test_token_gives_back_the_seat_in_a_match() -> None:
    room = make_room()
    match_id, tokens = in_match(room)
    lost = room.depart("a", "disconnected", now=1.0)
    assert sent(lost, "b") == [PeerGone(match_id=match_id, client_id="a", why="disconnected")]
    room.arrive("a2", now=2.0)
    effects = room.join("a2", Join(token=tokens["a"], match_id=match_id), now=2.0)
    assert only(effects, "a2", Welcome).match == match_id
    assert sent(effects, "b") == [PeerBack(match_id=match_id, client_id="a")]
    assert room.matches == {match_id: ("a", "b")}
    assert room.report("a2", Report(match_id=match_id, health=Health(phase="playing")), now=3.0) == []
    row = room.row(now=4.0, epoch=1000.0)
    assert [each.state for each in row.participants] == ["playing", "connecting"]
    assert row.matches[0].seats[0].health == Health(phase="playing")
    assert row.matches[0].started_at == 996.0


def test_token_gives_no_seat_in_somebody_elses_match() -> None:
    room = make_room()
    own, tokens = in_match(room)
    effects = come(room, "x", "y", now=1.0)
    other = match_of(confirm(room, effects, "x", "y"), "x")
    room.depart("a", "disconnected", now=2.0)
    room.arrive("a2", now=3.0)
    effects = room.join("a2", Join(token=tokens["a"], match_id=other), now=3.0)
    assert only(effects, "a2", Welcome).match is None
    assert room.matches == {own: ("b",), other: ("x", "y")}
    assert sent(effects, "x") == []


def test_seat_of_who_does_not_come_back_is_given_up_and_the_match_ends() -> None:
    room = make_room(grace_s=15.0)
    match_id, _ = in_match(room)
    room.depart("a", "disconnected", now=1.0)
    room.depart("b", "disconnected", now=2.0)
    assert list(room.matches) == [match_id]
    room.tick(16.0)
    assert list(room.matches) == [match_id]
    room.tick(17.0)
    assert room.matches == {}
    assert [each.state for each in room.row(now=18.0, epoch=18.0).matches] == ["ended"]


def test_seat_is_kept_for_as_long_as_the_partner_may_wait() -> None:
    room = make_room(grace_s=15.0)
    match_id, tokens = in_match(room)
    match = room._state.matches[match_id]
    match.settings = replace(match.settings, on_drop="end@40")
    room.depart("a", "silent", now=1.0)
    room.tick(40.9)
    room.arrive("a2", now=40.9)
    effects = room.join("a2", Join(token=tokens["a"], match_id=match_id), now=40.9)
    assert PeerBack(match_id=match_id, client_id="a") in sent(effects, "b")
    room.depart("a2", "silent", now=50.0)
    room.tick(90.1)
    room.arrive("a3", now=91.0)
    effects = room.join("a3", Join(token=tokens["a"], match_id=match_id), now=91.0)
    assert [each for each in sent(effects, "b") if isinstance(each, PeerBack)] == []


def test_program_started_again_without_its_match_waits_and_the_partner_is_told_once() -> None:
    room = make_room()
    match_id, tokens = in_match(room)
    room.arrive("a2", now=1.0)
    effects = room.join("a2", Join(token=tokens["a"]), now=1.0)
    assert sent(effects, "b") == [PeerGone(match_id=match_id, client_id="a", why="disconnected")]
    assert room.stage_of("a") is Stage.WAITING
    assert room.participant_of("a2") == "a"


def test_server_that_does_not_know_a_match_leaves_its_players_alone() -> None:
    """As after a restart of the server in mid-match: nobody is seated or told to leave."""
    room = make_room()
    room.arrive("a", now=0.0)
    effects = room.join("a", Join(token="t" * 32, match_id="0009-dead"), now=0.0)
    assert [type(each) for each in sent(effects, "a")] == [Welcome]
    assert only(effects, "a", Welcome).match is None
    assert (room.stage_of("a"), room.waiting) == (Stage.IDLE, ())
    assert sent(come(room, "b", now=1.0), "a") == []
    again = room.join("a", Join(), now=2.0)
    assert only(again, "a", Proposed) == only(again, "b", Proposed)


def test_second_client_of_a_name_is_refused_unless_it_has_the_token() -> None:
    room = make_room(3)
    token = only(come(room, "a", label="Ann"), "a", Welcome).token
    for client in ("b", "c"):
        room.arrive(client, now=1.0)
    with pytest.raises(SignalingError) as caught:
        room.join("b", Join(label="Ann"), now=1.0)
    assert caught.value.code == "label-in-use"
    effects = room.join("c", Join(label="Ann", token=token), now=2.0)
    assert [type(each) for each in sent(effects, "a")] == [Removed]
    assert Disconnect("a") in effects
    assert (room.participant_of("c"), room.waiting) == ("a", ("a",))
    assert room.depart("a", "disconnected", now=3.0) == []
    assert room.waiting == ("a",)


def test_name_of_one_who_is_away_from_the_waiting_room_may_be_taken_but_not_from_a_match() -> None:
    room = make_room()
    come(room, "a", label="Ann")
    room.depart("a", "disconnected", now=1.0)
    assert only(come(room, "a2", now=2.0, label="Ann"), "a2", Welcome).client_id == "a2"
    confirm(room, effects := come(room, "b", now=3.0, label="Bob"), "b")
    assert confirm(room, effects, "a2")
    room.depart("b", "disconnected", now=4.0)
    room.arrive("b2", now=5.0)
    with pytest.raises(SignalingError, match="under this name"):
        room.join("b2", Join(label="Bob"), now=5.0)


def test_wait_limit_sends_away_with_the_message() -> None:
    room = make_room(wait_limit_s=60.0, wait_message="Nobody came. Please see Eva.")
    come(room, "a")
    assert sent(room.tick(59.0), "a") == []
    effects = room.tick(60.0)
    assert sent(effects, "a") == [Removed(message="Nobody came. Please see Eva.")]
    assert [line["then"] for line in decisions(effects, "wait over")] == ["message"]
    assert (room.stage_of("a"), room.waiting) == (Stage.FINISHED, ())


def test_wait_limit_does_not_run_while_loading() -> None:
    room = make_room(wait_limit_s=60.0)
    come(room, "a", ready=False)
    room.tick(100.0)
    room.ready("a", Ready(), now=100.0)
    assert sent(room.tick(159.0), "a") == []
    assert [type(each) for each in sent(room.tick(160.0), "a")] == [Removed]


def bot_of(effects: list[Effect]) -> StartBot:
    (bot,) = [each for each in effects if isinstance(each, StartBot)]
    return bot


def test_wait_limit_calls_a_bot_in_for_whoever_waited_and_for_nobody_else() -> None:
    room = make_room(wait_limit_s=60.0, after_wait="bot", wait_bot="greedy", starts_bots=True)
    come(room, "a")
    bot = bot_of(room.tick(60.0))
    assert bot.bot == "greedy"
    assert bot.token not in repr(bot)
    assert not [each for each in room.tick(61.0) if isinstance(each, StartBot)]
    come(room, "z", now=62.0)
    assert room.proposed == {}, "whoever the bot was called in for is reserved for it"
    room.arrive("x", now=63.0)
    effects = room.join("x", Join(token=bot.token, bot=True, label=bot.label), now=63.0)
    assert only(effects, "a", Proposed) == only(effects, "x", Proposed)
    began = confirm(room, effects, "a", "x")
    assert only(began, "a", Matched).peers[0].client_id == bot.participant
    assert room.waiting == ("z",)


def test_whoever_waits_for_a_bot_that_does_not_come_is_told_in_the_end() -> None:
    room = make_room(wait_limit_s=60.0, after_wait="bot", wait_bot="greedy", starts_bots=True)
    come(room, "a")
    bot = bot_of(room.tick(60.0))
    room.bot_failed(bot.participant, "no such bot", now=61.0)
    assert not [each for each in room.tick(62.0) if isinstance(each, StartBot)], "it is not tried again"
    assert room.waiting == ("a",)
    assert [type(each) for each in sent(room.tick(60.0 + 2 * BOT_WITHIN_S), "a")] == [Removed]


def test_bot_that_nobody_needs_any_more_is_let_go() -> None:
    room = make_room(wait_limit_s=60.0, after_wait="bot", wait_bot="greedy", starts_bots=True)
    come(room, "a")
    bot = bot_of(room.tick(60.0))
    room.arrive("x", now=61.0)
    room.depart("a", "left", now=61.0)
    effects = room.join("x", Join(token=bot.token, bot=True, label=bot.label), now=62.0)
    assert [type(each) for each in sent(effects, "x")] == [Welcome, Waiting]
    assert room.participant_of("x") == "x", "the one that was called in is forgotten"


def test_wait_limit_lets_play_alone_in_all_seats() -> None:
    room = make_room(wait_limit_s=60.0, after_wait="alone")
    come(room, "a")
    effects = room.tick(60.0)
    matched = only(confirm(room, effects, "a", now=60.0), "a", Matched)
    assert (matched.own_seats, matched.peers) == ((0, 1), ())


def test_steps_that_are_in_no_table_raise() -> None:
    assert step(PARTICIPANT_STEPS, Stage.WAITING, Stage.MATCHED) is Stage.MATCHED
    for table, old, new in [
        (PARTICIPANT_STEPS, Stage.WAITING, Stage.PLAYING),
        (PARTICIPANT_STEPS, Stage.GONE, Stage.IDLE),
        (MATCH_STEPS, MatchState.ENDED, MatchState.PLAYING),
        (PRESENCE_STEPS, Presence.GONE, Presence.PRESENT),
    ]:
        with pytest.raises(LocalMisuseError, match="never follows"):
            step(table, old, new)  # type: ignore[type-var]


def test_every_stage_can_be_reached_left_shown_and_told_apart() -> None:
    assert set(PARTICIPANT_STEPS) == set(Stage)
    assert set(MATCH_STEPS) == set(MatchState)
    reached = {stage for following in PARTICIPANT_STEPS.values() for stage in following}
    assert reached == set(Stage)
    assert all(PARTICIPANT_STEPS[stage] for stage in Stage if stage is not Stage.GONE)
    assert set(SCREENS) == set(Stage) - {Stage.GONE}
    assert all(title and message for title, message in SCREENS.values())
    assert {stage.value for stage in SCREENS} <= set(PARTICIPANT_STATES)
    assert {state.value for state in MatchState} <= set(MATCH_STATES)
