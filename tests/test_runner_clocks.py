"""What a client's clocks tell: read together, and what is found is recorded in the match."""

from __future__ import annotations

import time

import pytest

from p2pclient.common.presentation import FocusChange, Intent, Presentation
from p2pclient.match.sources import KeyboardSource
from p2pclient.runtime.clocks import Clocks
from p2pclient.runtime.person import Person
from p2pclient.telemetry.clocks import ClockJumped, Suspended

CONTROLS = {"mode": "held", "neutral": [b"\x00"], "bindings": [], "help": []}


def test_a_date_that_is_set_is_found_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = Clocks()
    clocks.look()
    truth = time.time
    monkeypatch.setattr(time, "time", lambda: truth() - 3600.0)
    found = [each for _ in range(20) for each in clocks.look() if isinstance(each, ClockJumped)]
    assert [round(each.seconds) for each in found] == [-3600]
    assert "was set back by 3600.0 s" in caplog.text


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that goes on in sleep")
def test_a_machine_that_slept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    clocks.look()
    date, boot = time.time, time.clock_gettime
    monkeypatch.setattr(time, "time", lambda: date() + 600.0)
    monkeypatch.setattr(time, "clock_gettime", lambda number: boot(number) + 600.0)
    found = [each for _ in range(20) for each in clocks.look()]
    assert [(each.why, round(each.seconds / 10)) for each in found if isinstance(each, Suspended)][:1] == [
        ("asleep", 60)
    ]
    assert not any(isinstance(each, ClockJumped) for each in found)


class Window:
    """A window's end of the queue, by hand."""

    def __init__(self) -> None:
        self.intents: list[Intent] = []

    def publish(self, presentation: Presentation) -> None:
        """Nobody looks."""

    def take_intents(self) -> list[Intent]:
        taken, self.intents = self.intents, []
        return taken


def test_a_person_is_away_while_no_window_of_its_keyboard_is_in_front() -> None:
    window = Window()
    person, source = Person(window), KeyboardSource(CONTROLS, 0)
    window.intents = [FocusChange(False, 0.5, minimised=True)]
    person.take()
    person.sit_down(source)
    assert source.away == "minimised"
    assert source.sample().minimised
    person.take_from_sibling(FocusChange(True, 1.0))
    assert source.away == ""
    person.take_from_sibling(FocusChange(False, 2.0))
    assert source.away == "minimised"
    window.intents = [FocusChange(False, 3.0)]
    person.take()
    assert source.away == "focus"
    assert not source.sample().minimised
