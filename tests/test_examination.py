"""What a client measures of its computer, and says when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from virtual_loop import VirtualLoop

from p2pclient.common.errors import SignalingError
from p2pclient.common.presentation import BeatShown, DisplayMeasured, Intent, Presentation, Screen
from p2pclient.common.screening_messages import CHECKS, Display, Environment, Facts
from p2pclient.runtime.person import Person
from p2pclient.runtime.presenter import NoWindow
from p2pclient.runtime.screening import Examination, pacing_of, system_facts

READY = {"digest": "aa11", "machine": {"python": "3.11.7", "numpy": "2.1"}}


class Window:
    """Shows what is published after ``delay(beat)`` seconds, or never where that is None."""

    def __init__(self, delay: Callable[[int], float | None]) -> None:
        self._delay = delay
        self._intents: list[Intent] = []
        self.shown: list[Presentation] = []

    def publish(self, presentation: Presentation) -> None:
        self.shown.append(presentation)
        beat = presentation.beat
        delay = None if beat is None else self._delay(beat)
        if beat is None or delay is None:
            return
        if not self._intents and beat == 0:
            self._intents.append(DisplayMeasured(1920, 1080, 1.5, 59.94, 2))
        at = asyncio.get_running_loop().time() + delay
        self._intents.append(BeatShown(beat, at))

    def take_intents(self) -> list[Intent]:
        taken, self._intents = self._intents, []
        return taken


def examine(window: Any, *, headless: bool = False, echo: Any = None, **asked: Any) -> Facts:
    """Examine in virtual time."""

    async def prompt() -> None:
        await asyncio.sleep(0.02)

    async def run() -> Facts:
        examination = Examination(window, Person(window), echo=echo or prompt, rate_hz=30.0, headless=headless)
        return await examination.examine(**{"checks": CHECKS, "ready": READY, **asked})

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def test_a_good_computer_is_measured_and_its_person_sees_what_goes_on() -> None:
    window = Window(lambda beat: 0.001)
    facts = examine(window)
    assert facts.display == Display(width=1920, height=1080, scale=1.5, refresh_hz=59.94, displays=2)
    assert facts.pacing is not None
    assert (facts.pacing.pictures, facts.pacing.missed) == (60, 0.0)
    assert facts.pacing.median_ms == pytest.approx(1000 / 30)
    assert facts.ping is not None
    assert (facts.ping.samples, round(facts.ping.median_ms)) == (8, 20)
    assert facts.environment == Environment(digest="aa11", python="3.11.7", numpy="2.1")
    assert facts.unknown == {}
    assert {each.screen for each in window.shown} == {Screen.CHECKING}
    known = [each.progress for each in window.shown if each.progress is not None]
    assert known == sorted(known)
    assert (known[0], known[-1]) == (0.0, 1.0)
    assert msgspec.convert(msgspec.to_builtins(facts), Facts) == facts


def test_pictures_that_come_late_or_never_are_counted() -> None:
    facts = examine(Window(lambda beat: None if beat % 10 == 5 else 0.001))
    assert facts.pacing is not None
    assert facts.pacing.missed == pytest.approx(0.1)
    assert facts.pacing.p99_ms == pytest.approx(2000 / 30)


def test_a_window_out_of_view_is_no_smooth_window() -> None:
    facts = examine(Window(lambda beat: None))
    assert (facts.pacing, facts.display) == (None, None)
    assert facts.unknown == {"display": "The window was not in view.", "pacing": "The window was not in view."}


def test_a_client_without_a_window_says_so_at_once() -> None:
    facts = examine(NoWindow(), headless=True)
    assert facts.headless
    assert facts.unknown == {"display": "There is no window.", "pacing": "There is no window."}
    assert facts.ping is not None


def test_only_what_is_asked_for_is_measured() -> None:
    window = Window(lambda beat: 0.001)
    facts = examine(window, checks=())
    assert (facts.display, facts.pacing, facts.ping) == (None, None, None)
    assert [each.beat for each in window.shown] == [None]


def test_a_server_that_is_gone_is_no_ping() -> None:
    async def lost() -> None:
        raise SignalingError("connection-lost", "The connection to the server was lost.")

    facts = examine(NoWindow(), headless=True, echo=lost)
    assert facts.ping is None
    assert facts.unknown["ping"] == "The connection to the server was lost."


def test_an_environment_that_could_not_be_loaded_is_told_with_the_reason() -> None:
    facts = examine(NoWindow(), headless=True, ready=None, problem="No module named 'cogrid'")
    assert facts.environment == Environment(problem="No module named 'cogrid'")


@pytest.mark.parametrize(
    ("times", "wanted", "missed"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.4], 4, 0.0),
        ([0.0, 0.14, 0.2, 0.34, 0.4], 4, 0.0),  # uneven, but each in its place
        ([0.0, 0.16, 0.2, 0.3, 0.4], 4, 0.25),
        ([0.0, 0.2, 0.4], 4, 0.5),
        ([0.0, 0.1, 0.2], 4, 0.5),  # the last ones never came
        ([0.0, 9.0], 4, 1.0),
    ],
)
def test_a_place_without_a_picture_is_missed(times: list[float], wanted: int, missed: float) -> None:
    pacing = pacing_of(times, wanted=wanted, rate_hz=10.0)
    assert pacing is not None
    assert pacing.missed == pytest.approx(missed)


def test_one_picture_is_no_pacing() -> None:
    assert pacing_of([], wanted=4, rate_hz=10.0) is None
    assert pacing_of([1.0], wanted=4, rate_hz=10.0) is None


def test_this_system_tells_what_the_rules_look_at() -> None:
    facts = Facts(**system_facts())
    assert facts.system in ("Windows", "Linux", "macOS")
    assert facts.python
    assert facts.program
    assert (facts.memory_mb or 0) >= (facts.memory_free_mb or 0) > 0
    assert msgspec.convert(msgspec.to_builtins(facts), Facts) == facts
