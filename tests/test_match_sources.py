"""Where inputs come from: keys as a person presses them, bots, and empty seats."""

from __future__ import annotations

from typing import Any

import pytest

from p2pclient.common.presentation import FocusChange, KeyChange
from p2pclient.match.sources import BotSource, IdleSource, KeyboardSource, Sample

NEUTRAL, UP, DOWN = b"\x00", b"\x01", b"\x02"


def make_source(mode: str, *, keys: str = "all") -> KeyboardSource:
    controls: dict[str, Any] = {
        "mode": mode,
        "bindings": [
            {"keys": ["KeyW", "ArrowUp"], "input": UP, "label": "up"},
            {"keys": ["KeyS", "ArrowDown"], "input": DOWN, "label": "down"},
        ],
        "neutral": [b"\xff", NEUTRAL],
        "help": [],
    }
    return KeyboardSource(controls, 1, keys=keys)


def press(source: KeyboardSource, code: str, at: float) -> None:
    source.receive(KeyChange(code, True, at))


def release(source: KeyboardSource, code: str, at: float) -> None:
    source.receive(KeyChange(code, False, at))


def payloads(source: KeyboardSource, count: int) -> list[bytes]:
    return [source.sample().payload for _ in range(count)]


@pytest.mark.parametrize("mode", ["press", "held"])
def test_without_keys_the_seat_is_neutral(mode: str) -> None:
    assert make_source(mode).sample() == Sample(NEUTRAL, True, None)


def test_a_press_acts_in_one_frame_however_long_it_is_held() -> None:
    source = make_source("press")
    press(source, "KeyW", 1.5)
    assert source.sample() == Sample(UP, True, 1.5)
    assert payloads(source, 3) == [NEUTRAL] * 3
    release(source, "KeyW", 2.0)
    assert source.sample() == Sample(NEUTRAL, True, None)


def test_quick_presses_act_one_after_the_other_two_deep_at_most() -> None:
    source = make_source("press")
    for at, code in enumerate(["KeyW", "KeyS", "KeyW"]):
        press(source, code, float(at))
        release(source, code, at + 0.1)
    assert [source.sample().pressed_at for _ in range(3)] == [1.0, 2.0, None]
    for code in ["KeyS", "KeyW"]:
        press(source, code, 5.0)
    assert payloads(source, 3) == [DOWN, UP, NEUTRAL]


def test_a_held_key_counts_for_as_long_as_it_is_held() -> None:
    source = make_source("held")
    press(source, "KeyW", 1.0)
    assert source.sample() == Sample(UP, True, 1.0)
    assert source.sample() == Sample(UP, True, None)
    release(source, "KeyW", 2.0)
    assert source.sample() == Sample(NEUTRAL, True, 2.0)
    assert source.sample() == Sample(NEUTRAL, True, None)


def test_a_tap_shorter_than_a_frame_still_counts_for_one() -> None:
    source = make_source("held")
    press(source, "KeyW", 1.0)
    release(source, "KeyW", 1.01)
    assert source.sample() == Sample(UP, True, 1.0)
    assert source.sample().payload == NEUTRAL
    assert source.sample() == Sample(NEUTRAL, True, None)


def test_the_newest_held_key_counts_and_then_the_one_before_it() -> None:
    source = make_source("held")
    press(source, "KeyW", 1.0)
    assert payloads(source, 1) == [UP]
    press(source, "KeyS", 2.0)
    assert payloads(source, 2) == [DOWN, DOWN]
    release(source, "KeyS", 3.0)
    assert payloads(source, 2) == [UP, UP]


def test_of_two_keys_in_one_frame_the_newer_counts() -> None:
    source = make_source("held")
    press(source, "KeyW", 1.0)
    press(source, "KeyS", 1.01)
    assert source.sample() == Sample(DOWN, True, 1.01)
    release(source, "KeyS", 1.2)
    assert payloads(source, 1) == [UP]


@pytest.mark.parametrize("mode", ["press", "held"])
def test_losing_the_keyboard_releases_everything_and_is_told(mode: str) -> None:
    source = make_source(mode)
    press(source, "KeyW", 1.0)
    source.receive(FocusChange(False, 2.0))
    assert source.sample() == Sample(NEUTRAL, False, 2.0 if mode == "held" else None)
    release(source, "KeyW", 2.5)
    assert source.sample() == Sample(NEUTRAL, False, None)
    source.receive(FocusChange(True, 3.0))
    assert source.sample() == Sample(NEUTRAL, True, None)
    press(source, "KeyS", 4.0)
    assert source.sample() == Sample(DOWN, True, 4.0)


@pytest.mark.parametrize("mode", ["press", "held"])
def test_keys_without_a_meaning_and_releases_without_a_press_do_nothing(mode: str) -> None:
    source = make_source(mode)
    press(source, "KeyQ", 1.0)
    release(source, "KeyQ", 1.1)
    release(source, "KeyW", 1.2)
    assert source.sample() == Sample(NEUTRAL, True, None)


@pytest.mark.parametrize(
    ("keys", "letters", "arrows"), [("all", UP, UP), ("first", UP, NEUTRAL), ("second", NEUTRAL, UP)]
)
def test_two_people_share_one_keyboard(keys: str, letters: bytes, arrows: bytes) -> None:
    for code, expected in (("KeyW", letters), ("ArrowUp", arrows)):
        source = make_source("press", keys=keys)
        press(source, code, 1.0)
        assert source.sample().payload == expected


def test_a_bot_acts_once_per_decision() -> None:
    source = BotSource(NEUTRAL)
    assert source.sample() == Sample(NEUTRAL, True, None)
    source.decided(UP)
    source.decided(DOWN)
    assert [source.sample().payload for _ in range(3)] == [DOWN, NEUTRAL, NEUTRAL]


def test_an_empty_seat_is_neutral() -> None:
    source = IdleSource(NEUTRAL)
    assert [source.sample() for _ in range(2)] == [Sample(NEUTRAL, True, None)] * 2
