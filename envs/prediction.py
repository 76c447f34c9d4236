"""What a seat's player probably does next, asked while its real input is still on its way.

A guess may look at the state, which only the host has. It never counts: the real input replaces it, by a rollback if it
was wrong. Two kinds of predictor answer to a name: each of the environment's bots, which acts as if it sat there, and
:data:`OWN`, the environment's own :meth:`~envs.contract.Environment.predict`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Dict, List, Optional, Sequence, Tuple

from envs.contract import Bot, Environment
from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.common.spaces import decode_action, encode_action

PREDICT = b""
"""Stands in a step for an input that is to be predicted. No action space has a value without bytes."""

OWN = "own"
"""Name of the environment's own predictor."""


def predictor_names(environment: Environment) -> List[str]:
    """Return the names that :meth:`SeatPredictors.add` takes for ``environment``."""
    return [*([OWN] if environment.predicts else []), *environment.bots]


class SeatPredictors:
    """The predictors of one environment's seats. They start anew with every episode, and bear rollbacks as bots do."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._orders: Dict[int, Tuple[str, int]] = {}
        self._bots: Dict[int, Optional[Bot]] = {}
        """By seat; None where the environment itself predicts."""

    def add(self, seat: int, name: str, seed: int, episode_seed: int) -> None:
        """Predict ``seat`` by ``name`` in this episode and the following ones; replaces what predicted it before.

        Raises:
            LocalMisuseError: there is no such seat or no such predictor.
        """
        names = predictor_names(self._environment)
        if not 0 <= seat < len(self._environment.agents) or name not in names:
            raise LocalMisuseError(f"no predictor {name!r} for seat {seat}; there are {names}")
        self._orders[seat] = (name, seed)
        self._bots[seat] = self._make(seat, episode_seed)

    def begin_episode(self, episode_seed: int) -> None:
        """Let every predictor start anew."""
        for seat in self._orders:
            self._bots[seat] = self._make(seat, episode_seed)

    def predict(
        self, inputs: Sequence[Optional[bytes]], newest: Optional[Sequence[Optional[bytes]]], gone: Sequence[bool]
    ) -> List[Optional[bytes]]:
        """Return by seat the payload to assume where ``inputs`` has :data:`PREDICT`, None elsewhere.

        Args:
            inputs: of the step, one per seat.
            newest: the newest payloads known, by seat; None where there is none yet.
            gone: by seat: has the agent left. Who has left is not asked about: its input does nothing.

        Raises:
            LocalMisuseError: ``newest`` is not for all seats.
            RemoteProtocolError: a seat without a predictor has no input, or a newest payload is none of its space.
        """
        if newest is not None and len(newest) != len(inputs):
            raise LocalMisuseError(f"{len(newest)} newest inputs for {len(inputs)} seats")
        return [
            self._guess(seat, newest[seat] if newest is not None else None, gone[seat]) if value == PREDICT else None
            for seat, value in enumerate(inputs)
        ]

    def _guess(self, seat: int, newest: Optional[bytes], gone: bool) -> bytes:
        if seat not in self._bots:
            raise RemoteProtocolError("bad-input", f"none for seat {seat}, and nothing predicts it")
        controls = self._environment.controls
        neutral: bytes = controls["neutral"][seat]
        held = newest if newest is not None else neutral
        # Without an opinion: what is held stays held, and what is pressed is not pressed twice.
        usual = held if controls["mode"] == "held" else neutral
        if gone:
            return usual
        space = self._environment.action_spaces[seat]
        bot = self._bots[seat]
        action = self._environment.predict(seat, decode_action(space, held)) if bot is None else bot.decide()
        return usual if action is None else encode_action(space, action)

    def _make(self, seat: int, episode_seed: int) -> Optional[Bot]:
        name, seed = self._orders[seat]
        if name == OWN and self._environment.predicts:
            return None
        # Other numbers than a bot of the same seed draws: a guess that knew the dice would look better than it is.
        text = f"tandem-predictor-1 {seed} {episode_seed} {seat}".encode("ascii")
        return self._environment.make_bot(name, seat, int.from_bytes(blake2b(text, digest_size=8).digest(), "little"))
