"""The server of a soak: one process after the other on the same port."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping

from p2pclient.cli.soak_ledger import last_line
from p2pclient.cli.soak_plan import SoakPlan
from p2pclient.cli.soak_process import Child
from p2pclient.common.errors import TandemError

_URL = re.compile(r"http://\S+:(\d+)")
_START_SECONDS = 30.0
_ATTEMPTS = 5
"""After a kill the port may be taken for a moment yet."""


class SoakFailed(TandemError):
    """The soak could not be carried out; the message says why."""


class SoakServer:
    """Keeps a server running until :meth:`end`.

    Args:
        on_end: called with each process that has ended.
    """

    def __init__(self, plan: SoakPlan, env: Mapping[str, str], *, on_end: Callable[[Child], None]) -> None:
        self.url = ""
        self.child: Child | None = None
        self._plan = plan
        self._env = env
        self._on_end = on_end
        self._up = asyncio.Event()
        self._log_path = plan.out / "logs" / "server.log"
        self._port = 0
        self._generation = 0
        self._ending = False

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def keep(self) -> None:
        """Run one process after the other.

        Raises:
            SoakFailed: it does not start.
        """
        while not self._ending:
            self.child = child = await self._start()
            await child.drain()
            await child.wait()
            self._up.clear()
            self._on_end(child)

    async def wait_until_up(self) -> None:
        """Wait until clients can join."""
        await self._up.wait()

    def kill(self) -> bool:
        """End the process as a power cut would, to be followed by another one; False if none is up."""
        if self.child is None or not self.is_up:
            return False
        self._up.clear()
        self.child.kill()
        return True

    async def end(self, within: float) -> None:
        """End it for good."""
        self._ending = True
        if self.child is not None:
            await self.child.end(within)

    async def _start(self) -> Child:
        for _ in range(_ATTEMPTS):
            # Another seed for each, or two matches would have one name.
            seed = self._plan.server_seed(self._generation)
            self._generation += 1
            child = await Child.start("server", self._arguments(seed), log_path=self._log_path, env=self._env)
            found = _URL.search(await asyncio.wait_for(child.line_with("tandem join"), _START_SECONDS))
            if found:
                self.url, self._port = found.group(0), int(found.group(1))
                self._up.set()
                return child
            await child.wait()
            await asyncio.sleep(1.0)
        raise SoakFailed(f"the server does not start: {last_line(self._log_path)}")

    def _arguments(self, seed: int) -> list[str]:
        plan = self._plan
        arguments = [
            "serve",
            plan.env,
            "--hidden",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
            "--seed",
            str(seed),
        ]
        arguments += ["--data", str(plan.out / "server-data")]
        arguments += ["--rate", str(plan.rate), "--seconds", repr(plan.match_seconds)]
        arguments += ["--window", str(plan.window), "--input-delay", plan.input_delay]
        arguments += ["--prediction", plan.prediction, "--on-desync", plan.on_desync]
        arguments += [
            "--if-lost",
            "end",
            "--no-may-return",
            "--drop-after",
            repr(plan.drop_after),
            "--log-level",
            "info",
        ]
        for name, value in plan.env_args.items():
            arguments += ["--env-arg", f"{name}={json.dumps(value)}"]
        return arguments
