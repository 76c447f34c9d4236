"""Bots that take the seats of lost players: simulated on every machine, and rolled back with everything else.

What a substitute does in a frame follows from the state at its beginning, its name and a seed of that frame, and from
nothing else. It has no memory, so that nothing of it must be kept: whoever simulates the frame, for the first time or
again, on whichever machine, comes to the same action, and no input has to travel.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Dict, List, Optional, Sequence, Tuple

from envs.contract import Environment
from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.common.spaces import encode_action

SUBSTITUTE = None
"""Stands in a step for an input that the seat's substitute decides."""


class Substitutes:
    """The substitutes of one environment's seats, asked only where a step says so."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._orders: Dict[int, Tuple[str, int]] = {}

    def add(self, seat: int, name: str, seed: int) -> None:
        """Have the bot ``name`` ready for ``seat``, in this episode and the following ones.

        Raises:
            LocalMisuseError: there is no such seat or no such bot.
        """
        bots = self._environment.bots
        if not 0 <= seat < len(self._environment.agents) or name not in bots:
            raise LocalMisuseError(f"no bot {name!r} for seat {seat}; there are {list(bots)}")
        self._orders[seat] = (name, seed)

    def decide(
        self, inputs: Sequence[Optional[bytes]], frame: int, episode_seed: int, gone: Sequence[bool]
    ) -> List[Optional[bytes]]:
        """Return by seat the payload that is played where ``inputs`` has :data:`SUBSTITUTE`, None elsewhere.

        Args:
            inputs: of the step, one per seat.
            frame: that is about to be simulated.
            episode_seed: of the episode.
            gone: by seat: has the agent left. Who has left is not asked: its input does nothing.

        Raises:
            RemoteProtocolError: a seat without a substitute has no input.
        """
        return [
            self._act(seat, frame, episode_seed, gone[seat]) if value is SUBSTITUTE else None
            for seat, value in enumerate(inputs)
        ]

    def _act(self, seat: int, frame: int, episode_seed: int, gone: bool) -> bytes:
        if seat not in self._orders:
            raise RemoteProtocolError("bad-input", f"none for seat {seat}, and no bot is to play there")
        if gone:
            neutral: bytes = self._environment.controls["neutral"][seat]
            return neutral
        name, seed = self._orders[seat]
        text = f"tandem-substitute-1 {seed} {episode_seed} {seat} {frame}".encode("ascii")
        drawn = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
        return encode_action(self._environment.action_spaces[seat], self._environment.substitute(name, seat, drawn))
