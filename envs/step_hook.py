"""A study's own code behind every step: ``--step-hook mymodule:function``, run in the host, live and resimulated alike.

The function is called after each step of the environment with a :class:`StepSeen`. What it returns, plain values by
agent, goes into the infos of that step, and with them into the recording, once the frame is confirmed::

    def distance(step):
        return {agent: {"distance": step.env.distance_to_goal(agent)} for agent in step.agents}

Because frames are simulated again after a wrong prediction, it must depend on nothing but what it is given: a counter
of its own counts too much. ``tandem check ENV --step-hook mymodule:function`` finds that out.
"""

from __future__ import annotations

import importlib
import inspect
import re
from hashlib import blake2b
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from envs.contract import Environment, Outcome
from p2pclient.common.errors import ConfigurationError, EnvHostError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class StepSeen(NamedTuple):
    """One step, as a hook sees it. By agent; an agent that was absent before the step is left out."""

    frame: int
    """The frame that was simulated, from 0 in each episode."""
    env: Any
    """The environment after the step: the Gymnasium or PettingZoo object, or the adapter that has none."""
    agents: Tuple[Any, ...]
    actions: Dict[Any, Any]
    rewards: Dict[Any, Any]
    terminations: Dict[Any, bool]
    truncations: Dict[Any, bool]
    infos: Dict[Any, Dict[str, Any]]


class StepHook:
    """A function behind every step of ``environment``.

    Args:
        name: ``module:function``.
    """

    def __init__(self, name: str, function: Callable[[StepSeen], Any]) -> None:
        self.name = name
        self._function = function

    def digest(self) -> str:
        """Return hex digits over the source of the function's module, which all peers must share."""
        try:
            source = inspect.getsource(inspect.getmodule(self._function) or self._function)
        except (OSError, TypeError) as error:
            raise ConfigurationError("step hook", self.name, "a function whose source can be read") from error
        return blake2b((self.name + "\n" + source.replace("\r\n", "\n")).encode(), digest_size=16).hexdigest()

    def infos(
        self, frame: int, environment: Environment, actions: Sequence[Any], outcome: Outcome
    ) -> List[Optional[Dict[str, Any]]]:
        """Return the infos of a step with what the function adds to them, by seat.

        Raises:
            EnvHostError: it returned something else than values for agents that took part, or one that is there.
        """
        agents = environment.agents
        present = [seat for seat, info in enumerate(outcome.infos) if info is not None]

        def by_agent(values: Sequence[Any]) -> Dict[Any, Any]:
            return {agents[seat]: values[seat] for seat in present}

        infos = by_agent([None if info is None else dict(info) for info in outcome.infos])
        added = self._function(
            StepSeen(
                frame,
                getattr(environment, "env", environment),
                tuple(agents[seat] for seat in present),
                by_agent(actions),
                by_agent(outcome.rewards),
                by_agent(outcome.terminations),
                by_agent(outcome.truncations),
                {agent: dict(info) for agent, info in infos.items()},
            )
        )
        for agent, values in self._checked(added).items():
            if agent not in infos:
                raise EnvHostError(f"step hook {self.name} returned values for {agent!r}; in this step are {[*infos]}")
            taken = sorted(set(values) & set(infos[agent]))
            if taken:
                raise EnvHostError(f"step hook {self.name} returned {taken[0]!r}, which the environment's infos have")
            infos[agent].update(values)
        return [infos.get(agent) if seat in present else None for seat, agent in enumerate(agents)]

    def _checked(self, added: Any) -> Dict[Any, Dict[str, Any]]:
        if added is None:
            return {}
        if isinstance(added, dict) and all(
            isinstance(values, dict) and all(isinstance(key, str) for key in values) for values in added.values()
        ):
            return added
        raise EnvHostError(f"step hook {self.name} must return None or {{agent: {{name: value}}}}, not {added!r:.200}")


def load_hook(name: Any) -> StepHook:
    """Import ``module:function``, which the person at this machine has named.

    Raises:
        ConfigurationError: there is no such function.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ConfigurationError("step hook", name, "module:function")
    place, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(place), function_name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError("step hook", name, f"module:function that this Python can import ({error})") from error
    if not callable(function):
        raise ConfigurationError("step hook", name, "a function")
    return StepHook(name, function)
