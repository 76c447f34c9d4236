"""Who asks the server whether it may go on without the others, and what it is told."""

from __future__ import annotations

import pytest
from test_signaling_return import room_with_match, sent

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Finished, Leave, MatchResult, decode_client_event, encode_event
from p2pclient.common.room_messages import GoOn
from signaling.effects import Noted


def test_one_of_two_may_go_on_and_then_the_other_one_may_not() -> None:
    room, match_id = room_with_match(seats=2)
    room.depart("b", "disconnected", now=1.0)
    (noted,) = [each for each in room.go_on("a", GoOn(match_id=match_id, seats=(0,))) if isinstance(each, Noted)]
    assert (noted.what, noted.facts["side"]) == ("granted", ["a"])
    assert room.go_on("a", GoOn(match_id=match_id, seats=(0,)))  # asked twice, answered twice
    other, match_id = room_with_match(seats=2)
    other.go_on("a", GoOn(match_id=match_id, seats=(0,)))
    with pytest.raises(SignalingError) as caught:
        other.go_on("b", GoOn(match_id=match_id, seats=(1,)))
    assert caught.value.code == "other-side"


def test_one_of_three_waits_for_the_others_unless_they_are_through() -> None:
    room, match_id = room_with_match(seats=3)
    wish = GoOn(match_id=match_id, seats=(0,))
    with pytest.raises(SignalingError):
        room.go_on("a", wish)
    room.depart("b", "disconnected", now=1.0)  # it may have lost only the server
    with pytest.raises(SignalingError):
        room.go_on("a", wish)
    room.tick(60.0)  # also when its place is not kept any longer
    with pytest.raises(SignalingError):
        room.go_on("a", wish)
    room.leave("c", Leave(), now=61.0)
    assert room.go_on("a", wish)


def test_who_has_finished_is_on_no_side() -> None:
    room, match_id = room_with_match(seats=3)
    room.finish("b", Finished(match_id=match_id, result=MatchResult(reason="partition")), now=1.0)
    assert room.go_on("a", GoOn(match_id=match_id, seats=(0,)))


@pytest.mark.parametrize("seats", [(1,), (0, 7), (2,)])
def test_nobody_asks_for_others(seats: tuple[int, ...]) -> None:
    room, match_id = room_with_match(seats=3)
    with pytest.raises(SignalingError) as caught:
        room.go_on("a", GoOn(match_id=match_id, seats=seats))
    assert caught.value.code == "other-side"
    with pytest.raises(SignalingError) as caught:
        room.go_on("r", GoOn(match_id=match_id, seats=(0, 1)))
    assert caught.value.code == "not-matched"
    with pytest.raises(SignalingError):
        room.go_on("a", GoOn(match_id="another", seats=(0, 1)))


def test_the_question_is_read_back_as_it_was_sent() -> None:
    wish = GoOn(match_id="0001-x", seats=(0, 2))
    event, payload = encode_event(wish)
    assert event == "go-on"
    assert decode_client_event(event, payload) == wish
    room, match_id = room_with_match(seats=2)
    assert sent(room.go_on("a", GoOn(match_id=match_id, seats=(0,))), "b") == []
