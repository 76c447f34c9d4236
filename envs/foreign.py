"""Environments that know nothing of this program: what all their kinds have in common.

A kind (:mod:`envs.foreign_gym`, :mod:`envs.foreign_zoo`) says how one is made, reset and stepped. How its state is kept
and brought back is one of :mod:`envs.keeping`; its checksum covers everything that can be reached from it
(:mod:`envs.walk`), and the random generators of ``random`` and NumPy if it has drawn from them.
"""

from __future__ import annotations

import abc
import random
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Type

import numpy as np

from envs.account import ACCOUNT
from envs.canonical import UnsupportedValueError, canonical_bytes, checksum
from envs.contract import Bot, Controls, Environment, Outcome, random_action
from envs.global_generators import GlobalGenerators
from envs.keeping import Keeper, NoKeeper, Subject, layers_of
from envs.pictures import to_picture
from envs.plain import copy_plain
from envs.walk import state_tree
from envs.walk_memory import WalkMemory
from p2pclient.common.errors import EnvHostError
from p2pclient.common.spaces import Space

SEEDS = 2**31
"""Seeds are taken modulo this, because old generators take no larger ones; the last one instead of 0, which some
environments, among them Atari games, take for none: then the clock decides."""
_HOLD = (3, 12)
"""Frames for which the random bot holds an action."""
_DEFAULT_RATE_HZ = 30
_PICTURES_WATCHED, _THEN_ONE_IN = 32, 64
"""Pictures of an environment for which it is looked whether drawing changes its state: the first ones, then a few."""


class Step(NamedTuple):
    """What one step of an environment gave, by seat; None where the agent was absent before the step."""

    rewards: List[Any]
    terminations: List[Optional[bool]]
    truncations: List[Optional[bool]]
    infos: List[Any]
    seen: List[Any]
    """Observations after the step; None where the agent is absent."""
    present: Optional[List[bool]] = None
    """As in :class:`~envs.contract.Outcome`."""


class _Kept(NamedTuple):
    """A snapshot: what the keeper made of the environment, and what is kept around it."""

    kept: Any
    seen: List[Any]
    drawn: Dict[str, Any]
    """See :meth:`~envs.global_generators.GlobalGenerators.drawn`."""
    beside: Any
    frame: int


class ForeignEnvironment(Environment, Subject):
    """One environment of another package behind the contract of ours.

    Args:
        env: the environment with its wrappers; made anew for this object alone.
        agents: all agents, in seat order.
        keeper: how its state is kept.
    """

    bots = ("random",)
    portable = False

    def __init__(
        self,
        env: Any,
        agents: Tuple[Any, ...],
        *,
        spaces: List[Space],
        controls: Controls,
        title: str,
        max_steps: Optional[int],
        keeper: Type[Keeper] = NoKeeper,
    ) -> None:
        self.env = env
        self.agents = agents
        self.action_spaces = spaces
        self.controls = controls
        self.title = title
        self.max_steps = max_steps
        self.nominal_rate_hz = _rate_of(env)
        self._seen: List[Any] = [None] * len(agents)
        self._globals = GlobalGenerators()
        self._memory = WalkMemory()
        self._frame = 0
        """That is simulated next, to say which one it is that does not return."""
        self.begin(0)
        self._keeper = keeper(self)
        self._keeper.begun(0)
        self._first = self._keep_first(keeper)
        self._pictures = 0
        self._drawing_changes = False

    # -- what a kind of environments says ---------------------------------------------------------------------------

    @abc.abstractmethod
    def _reset(self, seed: int) -> List[Any]:
        """Reset :attr:`env` and return the observations by seat."""

    @abc.abstractmethod
    def _step(self, actions: List[Any]) -> Step:
        """Step :attr:`env` with one plain value per seat."""

    def _beside(self) -> Any:
        """Return what a kind keeps of its own beside :attr:`env`, as plain data; None for nothing."""
        return None

    def _set_beside(self, beside: Any) -> None:
        """Go back to what :meth:`_beside` returned."""

    # -- play -------------------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        if self._first is not None:
            # An environment may carry something from one episode to the next (MPE its last actions, Cooperative Pong
            # its score), and who joins, comes back or replays has not played the same episodes before.
            keeper, kept = self._first
            with ACCOUNT.of("load", 0):
                keeper.restore(kept)
        self.begin(seed)
        self._keeper.begun(seed)

    def _keep_first(self, keeper: Type[Keeper]) -> Optional[Tuple[Keeper, Any]]:
        """Return the state in which every episode is begun, with its keeper; None if it cannot be brought back.

        It has a keeper of its own, because the other one forgets at each reset what it shares with its snapshots.
        """
        if not keeper.brings_back:
            return None
        env, before = self.env, self._digest()
        try:
            own = keeper(self)
            own.begun(0)
            with ACCOUNT.of("save", 0):
                first = own, own.keep()
            with ACCOUNT.of("load", 0):
                own.restore(first[1])
            if self._digest() == before:
                return first
        except Exception:  # noqa: BLE001, S110  grading tries the same, and says why it does not work
            pass
        self.env = env
        return None

    def begin(self, seed: int) -> None:
        small = seed % SEEDS or SEEDS - 1
        self._globals.seed(small)
        with ACCOUNT.of("reset"):
            seen = self._reset(small)
        self._frame = 0
        self._seen = [_own_copy(each) for each in seen]

    def step(self, actions: List[Any]) -> Outcome:
        outcome = self.advance(actions)
        self._keeper.advanced(actions)
        return outcome

    def advance(self, actions: List[Any]) -> Outcome:
        with ACCOUNT.of("step", self._frame):
            step = self._step(actions)
        self._frame += 1
        self._seen = [_own_copy(seen) for seen in step.seen]
        return Outcome(
            [None if reward is None else float(reward) for reward in step.rewards],
            [None if flag is None else bool(flag) for flag in step.terminations],
            [None if flag is None else bool(flag) for flag in step.truncations],
            [None if info is None else plain_part(info) for info in step.infos],
            step.present,
        )

    def observe(self) -> List[Any]:
        return [_own_copy(seen) for seen in self._seen]

    # -- its state --------------------------------------------------------------------------------------------------

    def keep(self) -> _Kept:
        with ACCOUNT.of("save", self._frame):
            kept = self._keeper.keep()
        return _Kept(kept, list(self._seen), self._globals.drawn(), self._beside(), self._frame)

    def restore(self, kept: _Kept) -> None:
        with ACCOUNT.of("load", kept.frame):
            self._keeper.restore(kept.kept)
        self._frame = kept.frame
        self._seen = list(kept.seen)
        self._set_beside(kept.beside)
        self._globals.restore(kept.drawn)

    def hand_over(self) -> Any:
        # Other ways keep objects of the old classes.
        if self._keeper.name not in ("own", "pickle"):
            return None
        kept = self.keep()
        # So do windows and pictures that are only referred to.
        return None if getattr(self._keeper, "shares", False) else (self._keeper.name, kept, self._globals.fresh)

    def take_over(self, kept: Any) -> None:
        name, state, fresh = kept
        if name != self._keeper.name:
            raise EnvHostError(f"the state was kept by {name}; the new code's is kept by {self._keeper.name}")
        expected = [sorted(vars(layer)) for layer in layers_of(self.env)]
        self._globals.adopt(fresh)
        try:
            self.restore(state)
        except Exception as error:
            raise EnvHostError(f"the old state does not fit the new code: {type(error).__name__}: {error}") from error
        if [sorted(vars(layer)) for layer in layers_of(self.env)] != expected:
            raise EnvHostError("the new code has other attributes than the old state")

    def fingerprint(self) -> Any:
        beside = self._beside()
        held = {} if beside is None else {"beside": beside}
        return {"env": self._tree(), **held, **self._globals.drawn()}

    def _tree(self) -> Any:
        with ACCOUNT.of("get_state"):  # its classes may have a say in that
            return state_tree(self.env, memory=self._memory).data

    def get_state(self) -> Any:
        return self.fingerprint()

    def set_state(self, state: Any) -> None:
        raise EnvHostError(f"{self.title} cannot take over a state that is not its own")

    def check_state(self, state: Any) -> None:
        self.set_state(state)

    def seed_rng(self, seed: int) -> None:
        for generator in _generators_of(self.env):
            bits = generator.bit_generator
            bits.state = type(bits)(seed).state  # of the same kind: another one's state does not fit
        random.seed(seed % SEEDS)
        np.random.seed(seed % SEEDS)

    # -- what people see --------------------------------------------------------------------------------------------

    def render(self) -> Any:
        drawn = self._draw("rgb_array")
        return None if drawn is None else to_picture(drawn, self.title)

    def render_text(self) -> str:
        drawn = self._draw("ansi")
        return str(drawn.getvalue() if hasattr(drawn, "getvalue") else drawn or "")  # some give a StringIO

    def _draw(self, mode: str) -> Any:
        """Return what the environment draws in this mode; None if it was made for another one."""
        if getattr(self.env, "render_mode", None) != mode:
            return None
        # Only some sides have a window, and not at the same frames: looking must change nothing.
        before, state, digest = self._globals.drawn(), None, b""
        self._pictures += 1
        is_watched = self._pictures <= _PICTURES_WATCHED or self._pictures % _THEN_ONE_IN == 0
        if self._keeper.undoes_drawing and (self._drawing_changes or is_watched):
            state = self._keeper.keep()
            digest = b"" if self._drawing_changes else self._digest()
        with ACCOUNT.of("render", self._frame):
            drawn = self.env.render()
        self._globals.restore(before)
        if state is not None and (self._drawing_changes or self._digest() != digest):
            self._drawing_changes = True
            self._keeper.restore(state)
        return drawn

    def _digest(self) -> bytes:
        return checksum(self._tree())

    def close(self) -> None:
        self.env.close()

    def make_bot(self, name: str, seat: int, seed: int) -> Bot:
        if name != "random":
            return super().make_bot(name, seat, seed)
        return _RandomBot(self.action_spaces[seat], seed)


class _RandomBot(Bot):
    """Holds one action after the other, each for a random while, as a person tries out the keys."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._random = random.Random(seed)
        self._left = 0
        self._action: Any = None

    def decide(self) -> Any:
        if self._left == 0:
            self._left = self._random.randint(*_HOLD)
            self._action = random_action(self._space, self._random)
        self._left -= 1
        return self._action


def agents_now(env: Any, agents: Sequence[Any]) -> Set[Any]:
    """Return the agents that a PettingZoo environment lists at the moment.

    Raises:
        EnvHostError: there is one that has no seat.
    """
    strange = [agent for agent in env.agents if agent not in agents]
    if strange:
        raise EnvHostError(f"there is an agent {strange[0]!r}, which is none of its possible_agents, {list(agents)}")
    return set(env.agents)


def plain_part(info: Any) -> Dict[str, Any]:
    """Return what of an info is plain data and can be recorded; the rest is left out."""
    found: Dict[str, Any] = {}
    for key, value in dict(info).items():
        try:
            canonical_bytes(value)
        except UnsupportedValueError:
            continue
        found[str(key)] = copy_plain(value)
    return found


def _own_copy(seen: Any) -> Any:
    """Return an observation that the environment cannot write over: some hand out the same buffer again and again."""
    return None if seen is None else copy_plain(seen)


def _rate_of(env: Any) -> int:
    rate = (getattr(env, "metadata", None) or {}).get("render_fps", _DEFAULT_RATE_HZ)
    return int(rate) if isinstance(rate, (int, float)) and 1 <= rate <= 240 else _DEFAULT_RATE_HZ


def _generators_of(env: Any) -> List[Any]:
    """Return the NumPy generators that an environment and its wrappers hold under the usual name, each once."""
    held = [vars(layer).get(name) for layer in layers_of(env) for name in ("_np_random", "np_random")]
    return list({id(each): each for each in held if isinstance(each, np.random.Generator)}.values())
