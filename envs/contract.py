"""What every environment offers to the simulation: one adapter per family of environments implements it."""

from __future__ import annotations

import abc
import random
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from envs.plain import copy_plain
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.spaces import Space, draw_action

AgentId = Any
"""What the environment calls an agent: a str or an int."""

Controls = Dict[str, Any]
"""How people play, as data::

    {"mode": "press" or "held",         one action per press, or for as long as a key is down
     "bindings": [{"keys": ["KeyW", "ArrowUp"], "input": bytes or [bytes by seat], "label": "up"}, ...],
     "neutral": [bytes by seat],        the input of a seat whose player does nothing
     "help": [("W A S D or ↑ ← ↓ →", "move"), ...]}

Keys are positions on a US keyboard, named as in W3C UI Events. Inputs are the bytes of ``common.spaces``. The first
key of every binding makes one full set, the second another, for two people at one keyboard; so does ``help``, with
"or" in between.
"""

Progress = Callable[[Optional[float], str], None]
"""``progress(share, text)``: share 0..1 or None where it is not known; text for a person."""

Clock = Callable[[], float]
"""Returns seconds, as ``time.perf_counter`` does."""


def no_progress(share: Optional[float], text: str) -> None:
    """Ignore a report of progress."""


class Outcome(NamedTuple):
    """What one step gave, by seat in seat order. None where the agent was absent before the step."""

    rewards: List[Any]
    """Floats or NumPy scalars."""
    terminations: List[Optional[bool]]
    truncations: List[Optional[bool]]
    infos: List[Optional[Dict[str, Any]]]
    present: Optional[List[bool]] = None
    """By seat: is its agent there after the step. None: whoever was not terminated or truncated so far is."""


class Bot(abc.ABC):
    """A scripted player of one seat.

    It decides from the environment's current state, and may keep a memory of its own, which is not rolled back: it
    must bear that frames come again, are left out, or belong to another history.
    """

    @abc.abstractmethod
    def decide(self) -> Any:
        """Return a value of the seat's action space for the environment's current state. Changes no state."""


class Environment(abc.ABC):
    """One environment with its seats, its state and its picture.

    The state is everything that the future depends on, every random generator included. What :meth:`get_state`
    returned must not change by later calls, and :meth:`set_state` must not keep parts that it could change itself.
    An environment need not know about its end: the simulation never steps it after all agents have ended.
    """

    agents: Tuple[AgentId, ...]
    """All agents, in seat order; the same for every episode."""
    action_spaces: List[Space]
    """By seat."""
    title: str = ""
    """What people call it; empty if the registered name must do."""
    seat_colours: Tuple[Tuple[int, int, int], ...] = ()
    """How each seat's agent is drawn in the picture, RGB 0..255, so that people find theirs; empty if all alike."""
    controls: Controls
    max_steps: Optional[int]
    """Steps after which an episode ends at the latest; None if it may go on forever."""
    nominal_rate_hz: int
    """Frames per second at which it is meant to be played."""
    bots: Tuple[str, ...] = ()
    """Names for :meth:`make_bot`."""
    predicts: bool = False
    """True if it overrides :meth:`predict`."""
    portable: bool = True
    """True if another instance can go on from :meth:`get_state`. If not, that only tells what the state is, and
    :meth:`keep` and :meth:`restore` must be overridden."""
    snapshots: Optional[Dict[str, Any]] = None
    """None if it keeps its state by itself; else how it is kept, and what was found out about each way, as plain data
    (see :mod:`envs.grading`)."""

    @property
    def told_args(self) -> Dict[str, Any]:
        """Arguments that were decided here, beside those that it was made with: with both, the same is made again."""
        return {}

    @abc.abstractmethod
    def reset(self, seed: int) -> None:
        """Begin an episode. Every random generator follows from ``seed``; 0 is a seed like any other."""

    @abc.abstractmethod
    def step(self, actions: List[Any]) -> Outcome:
        """Advance by one frame with one value per seat, absent agents' values included (they are ignored)."""

    @abc.abstractmethod
    def observe(self) -> List[Any]:
        """Return the observations of the current state by seat; None where the agent is absent. Changes nothing."""

    def to_move(self) -> Optional[int]:
        """Return the one seat whose input can do anything in the current state; None if all may act, or none may."""
        return None

    @abc.abstractmethod
    def get_state(self) -> Any:
        """Return the whole state as plain data (see :mod:`envs.canonical`)."""

    @abc.abstractmethod
    def set_state(self, state: Any) -> None:
        """Go to a state from :meth:`get_state` of this or of another instance with the same name and arguments.

        States that do not come from here are given to :meth:`check_state` before.
        """

    @abc.abstractmethod
    def check_state(self, state: Any) -> None:
        """Make sure that ``state``, which may come from another machine, is one for :meth:`set_state`.

        Raises:
            EnvHostError: it is not: other fields, types or shapes, or values that could not be in this environment.
        """

    def keep(self) -> Any:
        """Return the current state for :meth:`restore` of this very instance; it never leaves the process.

        An environment that is not :attr:`portable`, or that can do it faster, overrides both.
        """
        return copy_plain(self.get_state())

    def restore(self, kept: Any) -> None:
        """Go to a state from :meth:`keep`, which stays good for further calls."""
        self.set_state(copy_plain(kept))

    def hand_over(self) -> Any:
        """Return the state for :meth:`take_over` of an instance made from newer code in this process; None if there is
        no way."""
        return self.get_state() if self.portable else None

    def take_over(self, kept: Any) -> None:
        """Go to what :meth:`hand_over` of an instance with other code returned.

        Raises:
            EnvHostError: it does not fit this code.
        """
        self.check_state(kept)
        self.set_state(copy_plain(kept))

    def fingerprint(self) -> Any:
        """Return plain data that is equal for equal states only: what the checksum is made of, and what is compared.

        An environment whose :meth:`get_state` is more or less than that overrides this, and returns what nobody else
        holds or will change. Parts of that may be :class:`~envs.canonical.Settled`.
        """
        return self.get_state()

    @abc.abstractmethod
    def seed_rng(self, seed: int) -> None:
        """Replace the state's random generators by ones that follow from ``seed``, and change nothing else."""

    @abc.abstractmethod
    def render(self) -> Any:
        """Return the current picture as ``uint8[height, width, 3]``, row-major RGB, not written to afterwards; or None.

        Changes nothing of the state.
        """

    def render_text(self) -> str:
        """Return the current picture in characters, with the colours of a terminal; empty if there is none.

        Asked for only where :meth:`render` returned None. Changes nothing of the state.
        """
        return ""

    @abc.abstractmethod
    def close(self) -> None:
        """Give up what the environment holds. Calling it twice is allowed."""

    def make_bot(self, name: str, seat: int, seed: int) -> Bot:
        """Return a bot for ``seat``; ``name`` is one of :attr:`bots`. An environment with bots overrides this.

        Raises:
            ConfigurationError: there is no such bot.
        """
        raise ConfigurationError("bot", name, ", ".join(self.bots) or "none: this environment has no bots")

    def substitute(self, name: str, seat: int, seed: int) -> Any:
        """Return what the bot ``name`` does at ``seat`` in the current state, in place of a player who is lost.

        It is asked on several machines, and again whenever the frame is simulated again: the action must follow from
        the state and ``seed`` (another one in every frame) alone, and asking must change nothing. This one asks a new
        bot each time; an environment whose bots depend on their memory overrides it.

        Raises:
            ConfigurationError: there is no such bot.
        """
        return self.make_bot(name, seat, seed).decide()

    def predict(self, seat: int, newest: Any) -> Any:
        """Guess the action of ``seat`` in the current state, while the real one is on its way.

        It may be asked about any state, again and again, and changes none. An environment with an opinion overrides
        this and sets :attr:`predicts`.

        Args:
            seat: of an agent that is present.
            newest: the newest action known of that seat; the neutral one before any.

        Returns:
            A value of the seat's action space, or None for no opinion: then ``newest`` is taken to be held on, or
            nothing to be pressed where a press acts once.
        """
        return None

    def measure_step_us(self, clock: Clock) -> int:
        """Return what a step costs, in microseconds. Leaves the environment in any state: reset it afterwards."""
        generator = random.Random(0)
        self.reset(0)
        cost, steps = 0.0, 0
        while steps < 50:
            actions = [random_action(space, generator) for space in self.action_spaces]
            begin = clock()
            outcome = self.step(actions)
            cost, steps = cost + clock() - begin, steps + 1
            if any(outcome.terminations) or any(outcome.truncations):
                break
        return max(1, round(cost / steps * 1e6))


def random_action(space: Space, generator: random.Random) -> Any:
    """Return a value of ``space``, drawn as :func:`~p2pclient.common.spaces.draw_action` does."""
    return draw_action(space, generator)


def one_or_by_seat(payloads: Sequence[bytes]) -> Union[bytes, List[bytes]]:
    """Return what a binding has as its input: one payload if all seats have the same, else all by seat."""
    return payloads[0] if len(set(payloads)) == 1 else list(payloads)
