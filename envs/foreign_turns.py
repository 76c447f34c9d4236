"""PettingZoo environments whose agents take turns: chess, tic-tac-toe, card games, and AEC in general.

A frame is an occasion to move. The agent whose turn it is acts if its seat's input says so, and if what it says is
allowed; the inputs of all other seats do nothing. Else the frame passes and the turn stays: nobody loses a game by a
wrong key or by taking their time. So an input can say "nothing" where the environment's own actions cannot:

===============  ======================================================================================
own space        on the wire
===============  ======================================================================================
``Discrete(n)``  ``start`` to ``start + n - 1``: that action, if it is legal; ``start + n``: nothing. If the
                 environment says what is legal, n more: number k of them is the legal action number k, counted around
any other        a tuple of 0 (nothing) or 1, and an action
===============  ======================================================================================

The last n are for those who try things out (``tandem check``): in chess, one in two hundred actions is legal.

What is legal says ``action_mask``, in the observation or the info of the agent to move. The info of who has moved in a
frame holds ``tandem_moved``: an input alone does not tell. Who has ended is stepped for once more, as AEC wants it, at
once.
"""

from __future__ import annotations

import random
from typing import Any, Dict, List, Optional, Sequence, Set, Type

import numpy as np

from envs.contract import Bot, Controls, one_or_by_seat
from envs.foreign import ForeignEnvironment, Step, agents_now
from envs.foreign_controls import controls_of
from envs.gym_spaces import space_data, to_action
from envs.keeping import Keeper, NoKeeper
from envs.plain import copy_plain
from p2pclient.common.errors import EnvHostError
from p2pclient.common.spaces import Space, decode_action, draw_action, encode_action
from p2pclient.common.spaces_kind import is_count

_RATE_HZ = 15
"""Games of turns say how fast they draw, if anything; this is how often somebody may move."""
_THINKS = (4, 14)
"""Frames that the random bot lets pass before it moves, so that people can follow."""


class TurnEnvironment(ForeignEnvironment):
    """An AEC environment, played turn by turn.

    Args:
        max_steps: frames after which the episode is cut off, moves or not; None for no end but the game's own.
    """

    def __init__(
        self, env: Any, name: str, *, max_steps: Optional[int] = None, keeper: Type[Keeper] = NoKeeper
    ) -> None:
        env.reset(seed=0)  # what is legal, and in some environments who plays, is known only then
        agents = tuple(env.possible_agents)
        self._native = [env.action_space(agent) for agent in agents]
        self._own = [space_data(space, setting=f"action space of {a}") for a, space in zip(agents, self._native)]
        is_told = _mask_of(env, env.agent_selection, env.observe(env.agent_selection)) is not None
        self._frames = 0
        self._seat_of = {agent: seat for seat, agent in enumerate(agents)}
        wire = [_wire_space(space, is_told) for space in self._own]
        super().__init__(
            env,
            agents,
            spaces=wire,
            controls=turn_controls(controls_of(name, self._native, self._own, env, many=True), self._own, wire),
            title=name,
            max_steps=max_steps,
            keeper=keeper,
        )
        self.nominal_rate_hz = _RATE_HZ

    # -- turns ------------------------------------------------------------------------------------------------------

    def to_move(self) -> Optional[int]:
        env = self.env
        if not env.agents:
            return None
        agent = env.agent_selection
        if agent not in self._seat_of:
            raise EnvHostError(f"{agent!r} is to move, which is none of the agents {list(self.agents)}")
        return self._seat_of[agent]

    def legal_actions(self, seat: int) -> Optional[List[int]]:
        """Return which values of the seat's own Discrete space are legal now; None if the environment does not say."""
        space = self._own[seat]
        if space["kind"] != "discrete":
            return None
        mask = _mask_of(self.env, self.agents[seat], self._seen[seat])
        if mask is None or mask.shape != (space["n"],):
            return None
        return [int(index) + int(space.get("start", 0)) for index in np.flatnonzero(mask)]

    def _choice(self, seat: int, value: Any) -> Any:
        """Return what the value of a seat's input does, as a plain value of its own space; None for nothing."""
        space = self._own[seat]
        if space["kind"] != "discrete":
            return value[1] if value[0] == 1 else None
        count, index = space["n"], value - int(space.get("start", 0))
        if index == count:
            return None
        legal = self.legal_actions(seat)
        if index > count:
            return legal[(index - count - 1) % len(legal)] if legal else None
        return value if legal is None or value in legal else None

    # -- play -------------------------------------------------------------------------------------------------------

    def _reset(self, seed: int) -> List[Any]:
        for number, agent in enumerate(self.agents):
            self.env.action_space(agent).seed(seed + number)
        self.env.reset(seed=seed)
        self._frames = 0
        self._bury()
        return self._observed()

    def _step(self, actions: List[Any]) -> Step:
        env, before, mover = self.env, self._living(), self.to_move()
        self._frames += 1
        move = None if mover is None else self._choice(mover, actions[mover])
        rewards: Dict[Any, Any] = {}
        ends: Dict[Any, Any] = {}
        cuts: Dict[Any, Any] = {}
        infos: Dict[Any, Any] = {}
        if mover is not None and move is not None:
            env.step(to_action(self._native[mover], copy_plain(move)))
            # Those of this step alone: it may reward everybody, whoever made it.
            rewards, ends, cuts = dict(env.rewards), dict(env.terminations), dict(env.truncations)
            infos = {agent: dict(info or {}) for agent, info in env.infos.items()}
            infos.setdefault(self.agents[mover], {})["tandem_moved"] = True
            self._bury()
        left = self._living()
        if self.max_steps is not None and self._frames >= self.max_steps:
            cuts.update(dict.fromkeys(left, True))
            left = set()
        # Who is taken off the list without a word is gone, too.
        ends.update({agent: True for agent in before - left if not (ends.get(agent) or cuts.get(agent))})
        seen = self._seen if move is None else self._observed()

        def of(found: Dict[Any, Any], default: Any) -> List[Any]:
            return [found.get(agent, default) if agent in before else None for agent in self.agents]

        return Step(
            of(rewards, 0.0), of(ends, False), of(cuts, False), of(infos, {}), seen, [a in left for a in self.agents]
        )

    def _living(self) -> Set[Any]:
        listed, ended = agents_now(self.env, self.agents), (self.env.terminations, self.env.truncations)
        return {agent for agent in listed if not any(flags.get(agent) for flags in ended)}

    def _bury(self) -> None:
        """Step for agents that have ended and are to move: AEC keeps them until then."""
        env = self.env
        while env.agents and (env.terminations[env.agent_selection] or env.truncations[env.agent_selection]):
            left = len(env.agents)
            env.step(None)
            if len(env.agents) >= left:
                raise EnvHostError(f"{env.agent_selection!r} has ended and does not leave")

    def _observed(self) -> List[Any]:
        living = self._living()
        return [self.env.observe(agent) if agent in living else None for agent in self.agents]

    def _beside(self) -> Any:
        return {"frames": self._frames}

    def _set_beside(self, beside: Any) -> None:
        self._frames = beside["frames"]

    # -- bots -------------------------------------------------------------------------------------------------------

    def make_bot(self, name: str, seat: int, seed: int) -> Bot:
        if name != "random":
            return super().make_bot(name, seat, seed)
        return _TurnBot(self, seat, seed)

    def draw_move(self, seat: int, generator: random.Random) -> Any:
        """Return a value of the seat's input that moves, drawn from what is legal."""
        space = self._own[seat]
        if space["kind"] != "discrete":
            return [1, draw_action(space, generator)]
        legal = self.legal_actions(seat)
        return draw_action(space, generator) if not legal else legal[generator.randrange(len(legal))]

    def no_move(self, seat: int) -> Any:
        """Return the value of the seat's input that does nothing."""
        return decode_action(self.action_spaces[seat], self.controls["neutral"][seat])


class _TurnBot(Bot):
    """Thinks for a random while when it is its turn, then makes a legal move."""

    def __init__(self, environment: TurnEnvironment, seat: int, seed: int) -> None:
        self._environment = environment
        self._seat = seat
        self._random = random.Random(seed)
        self._left: Optional[int] = None

    def decide(self) -> Any:
        if self._environment.to_move() != self._seat:
            self._left = None
            return self._environment.no_move(self._seat)
        if self._left is None:
            self._left = self._random.randint(*_THINKS)
        self._left -= 1
        if self._left > 0:
            return self._environment.no_move(self._seat)
        self._left = None
        return self._environment.draw_move(self._seat, self._random)


def _mask_of(env: Any, agent: Any, seen: Any) -> Optional[Any]:
    """Return the array that says which actions are legal, one number each; None if there is none."""
    mask = seen.get("action_mask") if isinstance(seen, dict) else None
    if mask is None:
        mask = (env.infos.get(agent) or {}).get("action_mask")
    return None if mask is None else np.asarray(mask)


def _wire_space(space: Space, is_told: bool) -> Space:
    """Return the space of a seat's inputs.

    Args:
        is_told: the environment says which actions are legal.
    """
    if space["kind"] != "discrete":
        return {"kind": "tuple", "spaces": [{"kind": "discrete", "n": 2}, space]}
    more = space["n"] if is_told and is_count(2 * space["n"] + 1) else 0
    return {**space, "n": space["n"] + 1 + more}


def turn_controls(controls: Controls, own: Sequence[Space], wire: Sequence[Space]) -> Controls:
    """Return the controls of the environment's own spaces for those of the wire: each press moves once."""

    def moving(seat: int, payload: bytes) -> bytes:
        value = decode_action(own[seat], payload)
        return encode_action(wire[seat], value if own[seat]["kind"] == "discrete" else [1, value])

    def nothing(seat: int, neutral: bytes) -> bytes:
        if own[seat]["kind"] == "discrete":
            return encode_action(wire[seat], own[seat]["n"] + int(own[seat].get("start", 0)))
        return encode_action(wire[seat], [0, decode_action(own[seat], neutral)])

    seats = range(len(own))
    return {
        **controls,
        "mode": "press",
        "bindings": [
            {**each, "input": one_or_by_seat([moving(seat, each["input"]) for seat in seats])}
            for each in controls["bindings"]
        ],
        "neutral": [nothing(seat, payload) for seat, payload in zip(seats, controls["neutral"])],
    }
