"""The way ``fork`` as it is tried before it is relied on: forked processes behind the interface of a simulation."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from envs.conformance import random_inputs
from envs.grading import MEASURED, Costs, Forks
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError
from p2pclient.envhost.host_batch import BatchRunner
from p2pclient.envhost.host_fork import ForkingRunner, adopt, refusal
from p2pclient.envhost.host_fork_wire import private_bytes
from p2pclient.envhost.values import decode

_STUCK_SECONDS = 20.0
"""A copy that does not answer for so long in a trial has lost something in the fork that it waits for."""


class HostForks(Forks):
    """What the host's process offers.

    Args:
        is_wanted: False refuses to fork.
        hook: of the study, which sees every step.
        make_runner: as of :class:`~p2pclient.envhost.host_fork.ForkingRunner`.
        let_go: likewise.
    """

    def __init__(
        self,
        is_wanted: bool,
        hook: Any = None,
        make_runner: Callable[[Any], BatchRunner] = BatchRunner,
        let_go: Sequence[int] = (),
    ) -> None:
        self.runner: Optional[ForkingRunner] = None
        """Once something was forked, until it is closed."""
        self._is_wanted = is_wanted
        self._hook = hook
        self._make_runner = make_runner
        self._let_go = tuple(let_go)
        self._refusal = ""
        self._has_adopted = False
        self._spaces: List[Any] = []

    def begin(self, environment: Any) -> None:
        self._refusal = refusal(self._is_wanted)
        if self._refusal:
            return
        adopt()
        self._has_adopted = True
        self._spaces = environment.action_spaces
        try:
            self.runner = ForkingRunner(Simulation(environment, self._hook), self._make_runner, self._let_go)
        except OSError as error:
            self._refusal = f"the system did not let it fork: {error}"

    def simulation(self) -> ForkedSimulation:
        if self.runner is not None and not self._refusal:
            self._refusal = self.runner.wait_until_ready(_STUCK_SECONDS)
        if self.runner is None or self._refusal:
            raise EnvHostError(self._refusal or "nothing was forked")
        return ForkedSimulation(self.runner, self._spaces)

    def costs(self, seed: int) -> Costs:
        simulation = self.simulation()
        simulation.reset(seed)
        saves, loads = [], []
        for frame, line in enumerate(random_inputs(simulation, MEASURED, seed)):
            _, spent = simulation.run(["save", frame], ["step", frame, line], ["load", frame], ["step", frame, line])
            saves.append(spent[0])
            loads.append(spent[2])
        assert self.runner is not None
        sizes = [private_bytes(pid) for key, pid in self.runner.waiting_pids().items() if isinstance(key, int)]
        told = [size for size in sizes if size is not None]
        return _middle(saves), _middle(loads), _middle(told) if told else None

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()
            self.runner = None

    def settle(self) -> None:
        """What was tried is over: from now on this is used, or not."""
        if self._has_adopted:
            adopt(is_on=self.runner is not None)


class ForkedSimulation:
    """As much of :class:`~envs.simulation.Simulation` as the checks of :mod:`envs.conformance` use, run by forks."""

    def __init__(self, runner: ForkingRunner, spaces: List[Any]) -> None:
        self.action_spaces = spaces
        self.frame = 0
        self._runner = runner

    def run(self, *commands: List[Any]) -> Tuple[List[Any], List[int]]:
        """Run a batch; returns the results and what each command cost, in microseconds.

        Raises:
            EnvHostError: a command failed.
        """
        reply = decode(self._runner.run(0, commands, _STUCK_SECONDS))
        if reply[1] == "error":
            raise EnvHostError(f"{reply[2]['command']} failed: {reply[2]['message']}")
        return reply[2], reply[3]

    def reset(self, seed: int) -> bytes:
        self.frame = 0
        checksum: bytes = self.run(["reset", seed])[0][0]
        return checksum

    def step(self, frame: int, inputs: Sequence[bytes], observe: bool = False) -> List[Any]:
        result: List[Any] = self.run(["step", frame, list(inputs), observe])[0][0]
        self.frame += 1
        return result

    def save(self, frame: int) -> None:
        self.run(["save", frame])

    def load(self, frame: int) -> None:
        self.run(["load", frame])
        self.frame = frame

    def get_state(self) -> Dict[str, Any]:
        state: Dict[str, Any] = self.run(["get_state"])[0][0]
        return state


def _middle(values: List[int]) -> int:
    return sorted(values)[len(values) // 2]
