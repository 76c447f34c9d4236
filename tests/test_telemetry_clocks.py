"""A program that stood still, a machine that slept and a date that was set are told apart by three clocks."""

from __future__ import annotations

import pytest

from p2pclient.telemetry.clocks import ClockJumped, ClockWatch, Suspended


class Machine:
    """Clocks that are moved by hand."""

    def __init__(self, *, has_elapsed: bool = True) -> None:
        self.watch = ClockWatch()
        self.now, self.wall, self.elapsed = 100.0, 1.7e9, 5000.0
        self.has_elapsed = has_elapsed
        self.tick()

    def tick(self, *, now: float = 0.016, slept: float = 0.0, set_by: float = 0.0) -> list[Suspended | ClockJumped]:
        self.now += now
        self.elapsed += now + slept
        self.wall += now + slept + set_by
        return self.watch.look(now=self.now, wall=self.wall, elapsed=self.elapsed if self.has_elapsed else None)


def test_nothing_is_found_while_frames_come() -> None:
    machine = Machine()
    assert [machine.tick(now=now) for now in (0.016, 0.3, 0.9, 0.016)] == [[]] * 4


def test_a_program_that_stood_still_is_named() -> None:
    (found,) = Machine().tick(now=5.0)
    assert found == Suspended(5.0, "stopped")


def test_a_machine_that_slept_is_named_once_and_its_date_was_not_set() -> None:
    machine = Machine()
    (found,) = machine.tick(slept=30.0)
    assert isinstance(found, Suspended)
    assert found.why == "asleep"
    assert found.seconds == pytest.approx(30.016)
    assert machine.tick() == []


@pytest.mark.parametrize("by", [3600.0, -3600.0, 0.7, -0.7])
@pytest.mark.parametrize("has_elapsed", [True, False])
def test_a_date_that_was_set_is_named_with_its_direction(by: float, has_elapsed: bool) -> None:
    machine = Machine(has_elapsed=has_elapsed)
    (found,) = machine.tick(set_by=by)
    assert isinstance(found, ClockJumped)
    assert found.seconds == pytest.approx(by)
    assert machine.tick() == []


def test_a_date_that_was_set_while_the_program_stood_still_is_told_besides() -> None:
    stood, jumped = Machine().tick(now=5.0, set_by=-2.0)
    assert stood == Suspended(5.0, "stopped")
    assert isinstance(jumped, ClockJumped)
    assert jumped.seconds == pytest.approx(-2.0)


def test_slewing_is_no_jump_however_long_it_goes_on() -> None:
    machine = Machine()
    assert not any(machine.tick(set_by=0.0005 * 0.016) for _ in range(100_000))
