"""The sync test: the commands of every frame, and that it finds an environment that is not the same twice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b

import pytest

from envs.counter import CounterEnvironment
from envs.simulation import Simulation
from p2pclient.common.errors import ConfigurationError, LocalMisuseError
from p2pclient.rollback.session import Load, Save, Step
from p2pclient.rollback.sync_test import SyncCommand, SyncMismatch, SyncTestSession

NEUTRAL = (b"\x00\x00", b"\x00\x00")


def line(number: int) -> tuple[bytes, bytes]:
    return b"\x00" + bytes([number % 256]), b"\x00" + bytes([number * 7 % 256])


def kinds(commands: Sequence[SyncCommand]) -> list[str]:
    return [type(command).__name__ for command in commands]


class World:
    """Carries commands out: the state is a digest of what happened; snapshots by frame."""

    def __init__(self, *, hidden_from: int | None = None) -> None:
        self.state = b"start"
        self.saved: dict[int, bytes] = {}
        self.loads = 0
        self._hidden_from = hidden_from
        self._steps_ever = 0

    def run(self, commands: Sequence[SyncCommand], session: SyncTestSession) -> None:
        for command in commands:
            if isinstance(command, Load):
                self.state = self.saved[command.frame]
                self.loads += 1
            elif isinstance(command, Save):
                self.saved[command.frame] = self.state
            elif isinstance(command, Step):
                self._steps_ever += 1
                slip = b""
                if self._hidden_from is not None and command.frame >= self._hidden_from:
                    slip = self._steps_ever.to_bytes(4, "little")
                self.state = blake2b(self.state + b"".join(command.inputs) + slip, digest_size=8).digest()
                session.receive_checksum(command.frame, self.state)
        self.saved = {frame: state for frame, state in self.saved.items() if frame >= session.oldest_needed}


def test_without_a_distance_frames_only_advance() -> None:
    session = SyncTestSession(NEUTRAL, distance=0)
    world = World()
    for frame in range(200):
        commands = session.advance(line(frame))
        assert commands == (Step(frame, line(frame), (False, False), again=False),)
        world.run(commands, session)
    assert (session.current_frame, session.compared, world.saved) == (200, 0, {})
    assert session.first_checksum(199) == world.state


def test_a_distance_of_two_goes_back_two_frames_in_every_frame() -> None:
    session = SyncTestSession(NEUTRAL, distance=2)
    for frame in range(200):
        commands = session.advance(line(frame))
        if frame <= 2:
            assert kinds(commands) == ["Save", "Step"]
        else:
            assert kinds(commands) == ["Load", "Step", "Save", "Step", "Save", "Step"]
            assert commands == (
                Load(frame - 2),
                Step(frame - 2, line(frame - 2), (False, False), again=True),
                Save(frame - 1),
                Step(frame - 1, line(frame - 1), (False, False), again=True),
                Save(frame),
                Step(frame, line(frame), (False, False), again=False),
            )


def test_a_distance_of_one_goes_back_one_frame() -> None:
    session = SyncTestSession(NEUTRAL, distance=1)
    for frame in range(200):
        expected = ["Save", "Step"] if frame <= 1 else ["Load", "Step", "Save", "Step"]
        assert kinds(session.advance(line(frame))) == expected


def test_delayed_inputs_are_simulated_later_after_neutral_ones() -> None:
    session = SyncTestSession(NEUTRAL, distance=0, delay=2)
    used = [step.inputs for frame in range(5) for step in session.advance(line(frame)) if isinstance(step, Step)]
    assert used == [NEUTRAL, NEUTRAL, line(0), line(1), line(2)]


@pytest.mark.parametrize(("distance", "delay"), [(1, 0), (7, 0), (7, 2), (3, 5)])
def test_a_deterministic_world_passes_and_equals_a_straight_run(distance: int, delay: int) -> None:
    session, straight = SyncTestSession(NEUTRAL, distance=distance, delay=delay), World()
    plain = SyncTestSession(NEUTRAL, distance=0, delay=delay)
    world = World()
    for frame in range(200):
        world.run(session.advance(line(frame)), session)
        straight.run(plain.advance(line(frame)), plain)
        assert world.state == straight.state
        assert len(world.saved) <= distance + 1
    assert session.mismatch is None
    assert (world.loads, session.compared) == (199 - distance, (199 - distance) * distance)


@pytest.mark.parametrize("distance", [1, 2, 7])
def test_the_first_frame_that_differs_is_named_with_both_checksums(distance: int) -> None:
    session = SyncTestSession(NEUTRAL, distance=distance)
    world = World(hidden_from=20)
    firsts = {}
    for frame in range(40):
        world.run(session.advance(line(frame)), session)
        firsts[frame] = session.first_checksum(frame)
    assert session.mismatch is not None
    assert session.mismatch.frame == 20
    assert session.mismatch.first == firsts[20] != session.mismatch.again


def test_a_later_difference_does_not_replace_the_first() -> None:
    session = SyncTestSession(NEUTRAL, distance=2)
    for frame in range(4):
        session.advance(line(frame))
        session.receive_checksum(frame, b"a")
    assert session.receive_checksum(1, b"a")
    assert not session.receive_checksum(2, b"b")
    assert not session.receive_checksum(3, b"c")
    assert session.mismatch == SyncMismatch(2, b"a", b"b")
    assert session.compared == 3


def test_random_inputs_roll_a_real_environment_back_over_its_end() -> None:
    simulation = Simulation(CounterEnvironment({"max_steps": 60, "terminate_at": 1}))
    simulation.reset(0)
    session = SyncTestSession((b"\x00", b"\x00"), distance=7)
    generator = random.Random(3)
    seen = set()
    for frame in range(80):
        inputs = [bytes([generator.randrange(1, 4)]) for _ in range(2)]
        assert session.current_frame == frame
        for command in session.advance(inputs):
            if isinstance(command, Step):
                checksum = simulation.step(command.frame, command.inputs)[0]
                assert session.receive_checksum(command.frame, checksum)
                seen.add(checksum)
            elif isinstance(command, Load):
                simulation.load(command.frame)
            elif isinstance(command, Save):
                simulation.save(command.frame)
    assert simulation.ended
    assert session.compared == 7 * 72
    assert 20 < len(seen) <= 60


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"distance": 8}, "check distance"),
        ({"distance": 3, "window": 3}, "check distance"),
        ({"distance": -1}, "check distance"),
        ({"distance": 2, "spacing": 4}, "snapshot spacing"),
        ({"distance": 2, "delay": -1}, "input delay"),
    ],
)
def test_what_cannot_be_tested_is_refused(arguments: dict[str, int], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        SyncTestSession(NEUTRAL, **arguments)


def test_the_number_of_seats_is_checked() -> None:
    for seats in ((), (b"\x00",) * 9):
        with pytest.raises(ConfigurationError, match="seats"):
            SyncTestSession(seats, distance=1)
    assert SyncTestSession((b"\x00",) * 8, distance=20, window=21)


def test_a_missing_input_is_an_error_and_changes_nothing() -> None:
    session = SyncTestSession(NEUTRAL, distance=1)
    for missing in ([b"\x00\x01"], [b"\x00\x01", b""], [b"\x00\x01", None], []):
        with pytest.raises(LocalMisuseError, match="frame 0"):
            session.advance(missing)  # type: ignore[arg-type]
    assert kinds(session.advance(line(0))) == ["Save", "Step"]


def test_a_result_that_is_not_due_is_an_error() -> None:
    session = SyncTestSession(NEUTRAL, distance=2)
    for frame in range(10):
        session.advance(line(frame))
        session.receive_checksum(frame, b"x")
    for frame in (-1, 6, 10):
        with pytest.raises(LocalMisuseError, match="next frame is 10"):
            session.receive_checksum(frame, b"x")
    assert session.first_checksum(6) is None
