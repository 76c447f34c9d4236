"""What the tests of the session share: seats, a player, and a small environment that carries commands out."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.prediction import PREDICT, neutral, repeat_last
from p2pclient.rollback.session import Advance, Command, Drop, Load, RollbackSession, Save, SeatConfig, Step

BLANK = b"\x00\x00"
START = bytes(12)
"""State before frame 0."""


def value(number: int) -> bytes:
    """A whole seat input: focused, and one byte of payload."""
    return b"\x00" + bytes([number % 256])


def make_session(*, seats: str = "LR", window: int = 8, delay: int = 0, mode: str = "held") -> RollbackSession:
    """A session with local (L) and remote (R) seats; the host predicts those in lower case (r)."""
    predict = repeat_last if mode == "held" else neutral(b"\x00")
    return RollbackSession(
        [
            SeatConfig(BLANK, None if s == "r" else predict, local=s == "L", delay=delay if s == "L" else 0)
            for s in seats
        ],
        window=window,
    )


def play(session: RollbackSession, number: int = 1, *, keep_from: int | None = None) -> Advance:
    """Read every local seat that wants it, and advance."""
    for seat in session.seats_to_read():
        assert session.add_local_input(seat, value(number)) != NULL_FRAME
    return session.advance(keep_from=keep_from)


def shape(commands: Sequence[Command]) -> str:
    """Commands in short, such as ``L3 S3 V4`` (load, step, save), without the drops."""
    names = {Load: "L", Step: "S", Save: "V"}
    return " ".join(f"{names[type(c)]}{c.frame}" for c in commands if not isinstance(c, Drop))


def steps(commands: Sequence[Command]) -> list[Step]:
    return [c for c in commands if isinstance(c, Step)]


def mix(state: bytes, inputs: Sequence[bytes]) -> bytes:
    """One step of the environment: a digest of everything that came before."""
    return blake2b(state + b"/".join(inputs), digest_size=12).digest()


def guess(state: bytes, seat: int) -> bytes:
    """What the environment's host assumes for a seat: from the state, mostly nothing."""
    number = state[seat]
    return bytes([number % 3]) if number < 128 else b"\x00"


class World:
    """An environment that carries commands out for real, and refuses what a real one could not do."""

    def __init__(self) -> None:
        self.frame = 0
        self.state = START
        self.saved = {0: START}
        self.result: dict[int, bytes] = {}
        """State after each frame, from its newest simulation."""
        self.resimulated = 0

    def run(self, commands: Sequence[Command]) -> list[tuple[int, list[bytes | None]]]:
        """Carry out a batch; return what was assumed here, by frame and seat."""
        assumed = []
        for command in commands:
            if isinstance(command, Load):
                assert command.frame <= self.frame
                self.state, self.frame = self.saved[command.frame], command.frame
                for stale in [f for f in self.saved if f > command.frame]:
                    del self.saved[stale]
            elif isinstance(command, Save):
                assert command.frame == self.frame
                self.saved[command.frame] = self.state
            elif isinstance(command, Drop):
                self.saved = {f: s for f, s in self.saved.items() if f >= command.before}
            else:
                assert command.frame == self.frame
                assert command.again == (command.frame in self.result)
                self.resimulated += command.again
                used = [guess(self.state, n) if v == PREDICT else None for n, v in enumerate(command.inputs)]
                payloads = [v[1:] if u is None else u for v, u in zip(command.inputs, used, strict=True)]
                if any(u is not None for u in used):
                    assumed.append((command.frame, used))
                self.state = self.result[command.frame] = mix(self.state, payloads)
                self.frame += 1
        return assumed


def straight_run(inputs: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The truth: states after each frame, by simulating the real inputs in order, once."""
    states, state = [], START
    for each in inputs:
        state = mix(state, [v[1:] for v in each])
        states.append(state)
    return states
