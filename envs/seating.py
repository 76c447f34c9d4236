"""Several agents to a seat, for environments with more agents than there can be players.

The agents are dealt out in blocks, in their order, as evenly as it goes: 20 pistons on 2 seats are the first ten and
the last ten, on 3 seats the first seven, the next seven and the last six. A seat's action is all of theirs, one after
the other. A key that a person presses goes to all agents of the seat; each of them has a bot of its own where a bot
plays, and policies may give each its own action.

A seat's reward is the sum of its agents'; its info and its observation hold theirs by name. It has ended when none of
its agents is left.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Dict, List, Optional, Sequence, Tuple

from envs.contract import Bot, Environment, Outcome, one_or_by_seat
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.common.spaces import Space, check_space

SEATS = "tandem_seats"
"""Argument of ours: how many seats the agents are dealt out to. Not given to the environment."""
USUAL_SEATS = 2
"""Where there are too many agents and nobody has said how many players there are."""


def seats_for(agents: int, args: Dict[str, Any], match_seats: Optional[int]) -> Optional[int]:
    """Return to how many seats the agents are dealt out, taken out of ``args``; None for a seat each.

    Args:
        match_seats: how many players the match has; None if that is not known. It counts only where there are more
            agents than a match can have players: else each of them has a seat.

    Raises:
        ConfigurationError: more seats than agents, or than there may be.
    """
    asked = args.get(SEATS)
    if asked is None:
        return None if agents <= MAX_SEATS else match_seats or USUAL_SEATS
    most = min(agents, MAX_SEATS)
    if not isinstance(asked, int) or isinstance(asked, bool) or not 1 <= asked <= most:
        raise ConfigurationError(f"argument {SEATS}", asked, f"1 to {most} for {agents} agents")
    return None if agents == 1 else asked


def blocks(count: int, seats: int) -> List[range]:
    """Return the agents of each seat, by their numbers: in order, the longer blocks first."""
    size, more = divmod(count, seats)
    found, at = [], 0
    for seat in range(seats):
        end = at + size + (1 if seat < more else 0)
        found.append(range(at, end))
        at = end
    return found


class SharedSeats(Environment):
    """An environment whose agents are dealt out to fewer seats.

    Args:
        inner: with a seat for each agent. It says in each outcome who is present.

    Raises:
        ConfigurationError: the actions of a seat's agents are more than one input holds.
    """

    def __init__(self, inner: Environment, seats: int) -> None:
        self._inner = inner
        self._blocks = blocks(len(inner.agents), seats)
        self.agents = tuple(self._name(block) for block in self._blocks)
        self.action_spaces = [self._space(block) for block in self._blocks]
        self.controls = self._controls()
        self.title = inner.title
        self.max_steps = inner.max_steps
        self.nominal_rate_hz = inner.nominal_rate_hz
        self.bots = inner.bots
        self.portable = inner.portable
        self.snapshots = inner.snapshots

    @property
    def env(self) -> Any:
        """The environment of the other package."""
        return getattr(self._inner, "env", None)

    @property
    def told_args(self) -> Dict[str, Any]:
        return {SEATS: len(self._blocks)}

    def _name(self, block: Sequence[int]) -> str:
        first, last = self._inner.agents[block[0]], self._inner.agents[block[-1]]
        return str(first) if len(block) == 1 else f"{first} to {last}"

    def _space(self, block: Sequence[int]) -> Space:
        space: Space = {"kind": "tuple", "spaces": [self._inner.action_spaces[n] for n in block]}
        return check_space(space, setting=f"actions of {self._name(block)}, which are one seat's ({SEATS})")

    def _controls(self) -> Dict[str, Any]:
        controls = self._inner.controls

        def joined(payloads: Sequence[bytes]) -> List[bytes]:
            # A tuple's bytes are those of its parts.
            return [b"".join(payloads[n] for n in block) for block in self._blocks]

        def to_all(payload: Any) -> Any:
            each = [payload] * len(self._inner.agents) if isinstance(payload, bytes) else payload
            return one_or_by_seat(joined(each))

        bindings = [{**binding, "input": to_all(binding["input"])} for binding in controls["bindings"]]
        return {**controls, "bindings": bindings, "neutral": joined(controls["neutral"])}

    # -- play -------------------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        self._inner.reset(seed)

    def step(self, actions: List[Any]) -> Outcome:
        outcome = self._inner.step([action for seat in actions for action in seat])
        present = outcome.present
        assert present is not None, "the environment says who is present"
        ends, cuts = self._ends(outcome, present)
        return Outcome(
            [_total([outcome.rewards[n] for n in block]) for block in self._blocks],
            ends,
            cuts,
            [self._by_name(outcome.infos, block) for block in self._blocks],
            [any(present[n] for n in block) for block in self._blocks],
        )

    def _ends(self, outcome: Outcome, present: List[bool]) -> Tuple[List[Optional[bool]], List[Optional[bool]]]:
        """Return by seat whether its last agents were terminated, or else truncated; None if there were none before."""
        ends: List[Optional[bool]] = []
        cuts: List[Optional[bool]] = []
        for block in self._blocks:
            if all(outcome.rewards[n] is None for n in block):
                ends.append(None)
                cuts.append(None)
                continue
            is_over = not any(present[n] for n in block)
            terminated = is_over and any(outcome.terminations[n] for n in block)
            ends.append(terminated)
            cuts.append(is_over and not terminated)
        return ends, cuts

    def _by_name(self, found: Sequence[Any], block: Sequence[int]) -> Optional[Dict[str, Any]]:
        """Return what is there of a block's agents, by their names; None if nothing is."""
        named = {str(self._inner.agents[n]): found[n] for n in block if found[n] is not None}
        return named or None

    def observe(self) -> List[Any]:
        seen = self._inner.observe()
        return [self._by_name(seen, block) for block in self._blocks]

    def to_move(self) -> Optional[int]:
        agent = self._inner.to_move()
        return None if agent is None else next(seat for seat, block in enumerate(self._blocks) if agent in block)

    # -- its state: the environment's own ---------------------------------------------------------------------------

    def get_state(self) -> Any:
        return self._inner.get_state()

    def set_state(self, state: Any) -> None:
        self._inner.set_state(state)

    def check_state(self, state: Any) -> None:
        self._inner.check_state(state)

    def keep(self) -> Any:
        return self._inner.keep()

    def restore(self, kept: Any) -> None:
        self._inner.restore(kept)

    def hand_over(self) -> Any:
        return self._inner.hand_over()

    def take_over(self, kept: Any) -> None:
        self._inner.take_over(kept)

    def fingerprint(self) -> Any:
        return self._inner.fingerprint()

    def seed_rng(self, seed: int) -> None:
        self._inner.seed_rng(seed)

    # -- what people and bots see -----------------------------------------------------------------------------------

    def render(self) -> Any:
        return self._inner.render()

    def render_text(self) -> str:
        return self._inner.render_text()

    def close(self) -> None:
        self._inner.close()

    def make_bot(self, name: str, seat: int, seed: int) -> Bot:
        return _BlockBot([self._inner.make_bot(name, n, _seed_of(seed, n)) for n in self._blocks[seat]])

    def substitute(self, name: str, seat: int, seed: int) -> Any:
        return [self._inner.substitute(name, n, _seed_of(seed, n)) for n in self._blocks[seat]]


class _BlockBot(Bot):
    """One bot for each agent of a seat."""

    def __init__(self, bots: List[Bot]) -> None:
        self._bots = bots

    def decide(self) -> Any:
        return [bot.decide() for bot in self._bots]


def _seed_of(seed: int, agent: int) -> int:
    text = f"tandem-block-1 {seed} {agent}".encode("ascii")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def _total(rewards: Sequence[Any]) -> Any:
    """Return the sum of what is there; None if nothing is."""
    given = [reward for reward in rewards if reward is not None]
    return sum(given) if given else None
