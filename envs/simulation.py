"""One environment with what every environment needs around it: the single owner of all rolled-back state."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, cast

from envs.canonical import checksum
from envs.contract import Bot, Environment
from envs.plain import copy_plain
from envs.portable import check_restored, take_apart
from envs.prediction import PREDICT, SeatPredictors
from envs.step_hook import StepHook
from envs.substitutes import SUBSTITUTE, Substitutes
from p2pclient.common.errors import EnvHostError, LocalMisuseError
from p2pclient.common.spaces import Space, decode_action, encode_action

StepResult = List[Any]
"""``[checksum after, rewards, terminations, truncations, infos, ended, observations or None]``, lists by seat.

If an input was :data:`~envs.prediction.PREDICT` or :data:`~envs.substitutes.SUBSTITUTE`, one more follows: by seat the
payload that was used instead, None where the input was given.
"""


class Snapshot(NamedTuple):
    """The state at the beginning of a frame."""

    kept: Any
    """What the environment made of its own part."""
    totals: List[float]
    gone: List[bool]


class Simulation:
    """Frames, snapshots, totals, the end of the episode, checksums and bots around an :class:`Environment`.

    Snapshot F is the state at the beginning of frame F. The state is the environment's own, the totals by seat and
    which seats have ended; the checksum covers exactly that. An ended episode is absorbing: further steps count frames,
    change nothing and reward nothing.

    A hook of the study, if there is one, sees every step, and adds to its infos.

    After an exception out of the environment the state is unknown, and only :meth:`load`, :meth:`set_state` and
    :meth:`reset` are possible.
    """

    def __init__(self, environment: Environment, hook: Optional[StepHook] = None) -> None:
        self._environment = environment
        self._hook = hook
        self._seats = len(environment.agents)
        self._spaces = environment.action_spaces
        self._frame = 0
        self._totals: List[float] = []
        self._gone: List[bool] = []
        self._known = False
        self._snapshots: Dict[int, Snapshot] = {}
        kind = type(environment)
        self._is_told_state = kind.fingerprint is Environment.fingerprint
        self._is_told_whole = environment.portable and self._is_told_state
        """The environment's state is its fingerprint, so that one copy serves as both."""
        self._keeps_states = self._is_told_whole and kind.keep is Environment.keep
        """Likewise with what it keeps."""
        self._current: Optional[Any] = None
        """What the checksum covers, as isolated plain data; None if it has not been asked for since it changed."""
        self._episode_seed = 0
        self._bots: Dict[int, Bot] = {}
        self._bot_orders: Dict[int, Tuple[str, int]] = {}
        self._predictors = SeatPredictors(environment)
        self._substitutes = Substitutes(environment)

    @property
    def frame(self) -> int:
        """The frame that is simulated next."""
        return self._frame

    @property
    def action_spaces(self) -> List[Space]:
        """By seat."""
        return self._spaces

    @property
    def ended(self) -> bool:
        """True once every seat has been terminated or truncated."""
        return all(self._gone)

    @property
    def totals(self) -> List[float]:
        """Sum of rewards by seat in this episode."""
        return list(self._totals)

    def reset(self, seed: int) -> bytes:
        """Begin an episode at frame 0, drop all snapshots, and return the checksum of the first state.

        Bots and predictors of seats here start anew too, from their own seeds and this one.
        """
        self._known = False
        self._snapshots.clear()
        self._environment.reset(seed)
        self._totals = [0.0] * self._seats
        self._gone = [False] * self._seats
        self._enter(0)
        self._episode_seed = seed
        for seat, (name, bot_seed) in self._bot_orders.items():
            self._bots[seat] = self._make_bot(seat, name, bot_seed)
        self._predictors.begin_episode(seed)
        return self.compute_hash()

    def step(
        self,
        frame: int,
        inputs: Sequence[Optional[bytes]],
        observe: bool = False,
        newest: Optional[Sequence[Optional[bytes]]] = None,
    ) -> StepResult:
        """Simulate ``frame`` with one payload per seat.

        Args:
            inputs: by seat. Where one is :data:`~envs.prediction.PREDICT`, the seat's predictor is asked in the state
                before the step, and where it is :data:`~envs.substitutes.SUBSTITUTE`, the seat's substitute; the result
                ends with what was used.
            observe: should the result hold the observations after the step.
            newest: for predictors: the newest payloads known before ``frame``, by seat; None where there is none yet.

        Raises:
            LocalMisuseError: ``frame`` is not the current frame, or the state is unknown.
            RemoteProtocolError: an input is not a value of the seat's action space, or missing where nothing predicts
                it; nothing has changed.
        """
        self._check(frame)
        if len(inputs) != self._seats:
            raise LocalMisuseError(f"{len(inputs)} inputs for {self._seats} seats")
        if PREDICT not in inputs and SUBSTITUTE not in inputs:
            return self._simulate(cast("Sequence[bytes]", inputs), observe)
        used = self._predictors.predict(inputs, newest, self._gone)
        if SUBSTITUTE in inputs:
            decided = self._substitutes.decide(inputs, frame, self._episode_seed, self._gone)
            used = [guess if act is None else act for guess, act in zip(used, decided)]
        given = [value if guess is None else guess for value, guess in zip(inputs, used)]
        return [*self._simulate(cast("Sequence[bytes]", given), observe), used]

    def _simulate(self, inputs: Sequence[bytes], observe: bool) -> StepResult:
        actions = [decode_action(space, payload) for space, payload in zip(self._spaces, inputs)]
        if all(self._gone):
            self._frame += 1
            nothing = [None] * self._seats
            seen = self._environment.observe() if observe else None
            return [self.compute_hash(), nothing, list(nothing), list(nothing), list(nothing), True, seen]
        self._known = False
        outcome = self._environment.step(actions)
        rewards, terminations, truncations, infos, present = outcome
        for seat, reward in enumerate(rewards):
            if reward is not None:
                self._totals[seat] += float(reward)
            if present is None:
                self._gone[seat] = self._gone[seat] or bool(terminations[seat] or truncations[seat])
            else:
                self._gone[seat] = not present[seat]  # who has left may come back
        if self._hook is not None:
            infos = self._hook.infos(self._frame, self._environment, actions, outcome)
        seen = self._environment.observe() if observe else None
        self._enter(self._frame + 1)
        return [self.compute_hash(), rewards, terminations, truncations, infos, all(self._gone), seen]

    def save(self, frame: int) -> None:
        """Keep the current state as snapshot ``frame``, which is the current frame."""
        self._check(frame)
        kept = self._state()["environment"] if self._keeps_states else self._environment.keep()
        self._snapshots[frame] = Snapshot(kept, list(self._totals), list(self._gone))

    def load(self, frame: int) -> None:
        """Go to snapshot ``frame``. It stays kept.

        Raises:
            LocalMisuseError: there is none.
        """
        kept, totals, gone = self._kept(frame)
        self._known = False
        self._environment.restore(kept)
        self._restored(frame, totals, gone)

    def drop(self, before: int) -> None:
        """Forget the snapshots of all frames below ``before``."""
        for frame in [frame for frame in self._snapshots if frame < before]:
            del self._snapshots[frame]

    def get_state(self) -> Dict[str, Any]:
        """Return ``{"frame": int, "data": plain data}``: all that another instance needs to go on from here.

        Of an environment that is not portable, it can only be compared with others.
        """
        self._check(self._frame)
        if self._is_told_whole or not self._environment.portable:
            return {"frame": self._frame, "data": copy_plain(self._state())}
        whole = copy_plain(self._environment.get_state())
        return {"frame": self._frame, "data": self._data(whole, self._totals, self._gone)}

    def get_snapshot(self, frame: int) -> Dict[str, Any]:
        """Return the kept snapshot ``frame`` as :meth:`get_state` would in that state. The current state stays.

        Raises:
            LocalMisuseError: there is none, or snapshots of this environment are nothing that can be sent.
        """
        kept, totals, gone = self._kept(frame)
        if not self._environment.portable or type(self._environment).keep is not Environment.keep:
            raise LocalMisuseError("snapshots of this environment are good for this process alone")
        return {"frame": frame, "data": self._data(copy_plain(kept), totals, gone)}

    def get_state_unless(self, expected: bytes) -> Optional[Dict[str, Any]]:
        """Return None if the state has the checksum ``expected``, else the state: what differs is worth its bytes."""
        return None if self.compute_hash() == expected else self.get_state()

    def set_state(self, state: Any) -> bytes:
        """Go to a state from :meth:`get_state` and return its checksum. Snapshots stay kept.

        Raises:
            EnvHostError: it is not one, or the environment's ``set_state`` did not restore all of it, which is named.
                The state is then unknown.
        """
        self._known = False
        frame, data = take_apart(state, self._seats)
        if not self._environment.portable:
            raise EnvHostError("this environment cannot take over a state that is not its own")
        self._environment.check_state(data["environment"])
        self._environment.set_state(copy_plain(data["environment"]))
        check_restored(data["environment"], self._environment.get_state())
        self._restored(frame, data["totals"], data["gone"])
        return self.compute_hash()

    def compute_hash(self, state: Any = None) -> bytes:
        """Return the checksum of the current state, or of ``state`` from :meth:`get_state`, without going there.

        Raises:
            EnvHostError: ``state`` is not one.
        """
        self._check(self._frame)
        if state is None:
            return checksum(self._state())
        _, data = take_apart(state, self._seats)
        if self._is_told_whole or not self._environment.portable:
            return checksum(data)
        return self._checksum_there(data)

    def _checksum_there(self, data: Any) -> bytes:
        """Go there and back: only the environment knows what its checksum is made of."""
        self._environment.check_state(data["environment"])
        here = self._environment.keep()
        self._known = False
        self._environment.set_state(copy_plain(data["environment"]))
        fingerprint = self._environment.fingerprint()
        found = checksum(self._data(fingerprint, data["totals"], data["gone"]))
        self._environment.restore(here)
        self._known = True
        return found

    def observe(self) -> List[Any]:
        """Return the observations of the current state by seat, None where the agent is absent: also right after
        :meth:`load` and :meth:`set_state`, before anyone decides on it."""
        self._check(self._frame)
        return self._environment.observe()

    def seed_rng(self, seed: int) -> None:
        """Replace the environment's random generators by ones that follow from ``seed``."""
        self._check(self._frame)
        self._known = False
        self._environment.seed_rng(seed)
        self._enter(self._frame)

    def render(self) -> Dict[str, Any]:
        """Return the view: ``{"frame", "pixels": uint8[h, w, 3] or None, "totals": floats by seat, "ended": bool}``.

        Without pixels, ``"text"`` is the picture in characters, empty if there is none. Where one seat alone can act,
        ``"to_move"`` is which.
        """
        self._check(self._frame)
        pixels = self._environment.render()
        view = {"frame": self._frame, "pixels": pixels, "totals": list(self._totals), "ended": all(self._gone)}
        if pixels is None:
            view["text"] = self._environment.render_text()
        turn = None if view["ended"] else self._environment.to_move()
        if turn is not None:
            view["to_move"] = turn
        return view

    def hand_over(self) -> Optional[Dict[str, Any]]:
        """Return what :meth:`take_over` of a simulation with newer code may go on from; None if there is nothing."""
        if not self._known:
            return None
        kept = self._environment.hand_over()
        if kept is None:
            return None
        handed = {"frame": self._frame, "kept": kept, "totals": self.totals, "gone": list(self._gone)}
        return {**handed, "checksum": self.compute_hash()}

    def take_over(self, handed: Dict[str, Any]) -> None:
        """Go on from what :meth:`hand_over` of a simulation with other code for the same environment returned.

        Raises:
            EnvHostError: it does not fit; the state is then unknown.
        """
        if len(handed["gone"]) != self._seats:
            raise EnvHostError(f"there were {len(handed['gone'])} seats, now there are {self._seats}")
        self._known = False
        self._environment.take_over(handed["kept"])
        self._restored(handed["frame"], handed["totals"], handed["gone"])
        if self.compute_hash() != handed["checksum"]:
            self._known = False
            raise EnvHostError("with the new code, the old state is another one")

    def add_bot(self, seat: int, name: str, seed: int) -> None:
        """Have the scripted bot ``name`` ready for ``seat``, in this episode and the following ones.

        Its random generator and its memory are outside of the snapshots, on purpose: what it decided is an input.

        Raises:
            LocalMisuseError: there is no such seat or no such bot.
        """
        if not 0 <= seat < self._seats or name not in self._environment.bots:
            raise LocalMisuseError(f"no bot {name!r} for seat {seat}; there are {list(self._environment.bots)}")
        self._bot_orders[seat] = (name, seed)
        self._bots[seat] = self._make_bot(seat, name, seed)

    def decide(self, seat: int) -> bytes:
        """Return the payload that the bot of ``seat`` plays in the current state."""
        self._check(self._frame)
        if seat not in self._bots:
            raise LocalMisuseError(f"no bot plays seat {seat} here")
        return encode_action(self._spaces[seat], self._bots[seat].decide())

    def add_predictor(self, seat: int, name: str, seed: int) -> None:
        """Have ``name`` predict the inputs of ``seat``, in this episode and the following ones.

        Args:
            name: one of :func:`envs.prediction.predictor_names`: a bot, or the environment's own predictor.

        Raises:
            LocalMisuseError: there is no such seat or no such predictor.
        """
        self._predictors.add(seat, name, seed, self._episode_seed)

    def add_substitute(self, seat: int, name: str, seed: int) -> None:
        """Have the bot ``name`` ready to take ``seat`` over, in this episode and the following ones.

        Raises:
            LocalMisuseError: there is no such seat or no such bot.
        """
        self._substitutes.add(seat, name, seed)

    def _make_bot(self, seat: int, name: str, seed: int) -> Bot:
        # A hash of both seeds and the seat: episodes differ for the bot too, and each is repeatable by itself.
        text = f"tandem-bot-1 {seed} {self._episode_seed} {seat}".encode("ascii")
        derived = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
        return self._environment.make_bot(name, seat, derived)

    def _check(self, frame: int) -> None:
        if not self._known:
            raise LocalMisuseError("the state is unknown: load, set or reset it first")
        if frame != self._frame:
            raise LocalMisuseError(f"frame {frame} was asked for, the current frame is {self._frame}")

    def _kept(self, frame: int) -> Snapshot:
        snapshot = self._snapshots.get(frame)
        if snapshot is None:
            raise LocalMisuseError(f"there is no snapshot of frame {frame}; kept: {sorted(self._snapshots)}")
        return snapshot

    def _enter(self, frame: int) -> None:
        self._frame = frame
        self._current = None
        self._known = True

    def _state(self) -> Any:
        if self._current is None:
            told = self._environment.fingerprint()
            # What an environment makes for this purpose alone is isolated already.
            own = copy_plain(told) if self._is_told_state else told
            self._current = self._data(own, self._totals, self._gone)
        return self._current

    @staticmethod
    def _data(environment: Any, totals: List[float], gone: List[bool]) -> Dict[str, Any]:
        return {"environment": environment, "totals": list(totals), "gone": list(gone)}

    def _restored(self, frame: int, totals: List[float], gone: List[bool]) -> None:
        """The environment has gone to a state. What it made of it is asked for anew, so that checksums tell."""
        self._totals = list(totals)
        self._gone = list(gone)
        self._enter(frame)
