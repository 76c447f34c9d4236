"""Starts bots as processes of this machine, which end with the server."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence

from signaling.effects import StartBot

_log = logging.getLogger("tandem.signaling")

TOKEN_VARIABLE = "TANDEM_TOKEN"
"""In the environment of the process and not on its command line, which every user of the machine can read."""

END_WITHIN_S = 5.0


class BotStarter:
    """Keeps the processes of bots.

    They read their standard input to its end, so that they end when this process does, however that ends.

    Args:
        command: gives the command that starts a bot of that name.
    """

    def __init__(self, command: Callable[[str], Sequence[str]]) -> None:
        self._command = command
        self._processes: dict[asyncio.subprocess.Process, asyncio.Task[None]] = {}

    async def start(self, bot: StartBot, on_end: Callable[[str], None]) -> None:
        """Start a bot; ``on_end`` is told why when it has ended, or could not be started."""
        environment = {**os.environ, TOKEN_VARIABLE: bot.token}
        command = [*self._command(bot.bot), "--label", bot.label]
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=nothing, stderr=pipe, env=environment
            )
        except OSError as error:
            _log.error("bot %s cannot be started: %s", bot.bot, error)
            on_end(str(error))
            return
        watching = asyncio.create_task(self._watch(process, bot, on_end))
        self._processes[process] = watching

    async def _watch(self, process: asyncio.subprocess.Process, bot: StartBot, on_end: Callable[[str], None]) -> None:
        assert process.stderr is not None
        last = ""
        async for line in process.stderr:
            last = line.decode(errors="replace").strip() or last
        code = await process.wait()
        self._processes.pop(process, None)
        _log.info("bot %s ended with code %d%s", bot.bot, code, f": {last}" if code and last else "")
        on_end(last.removeprefix("tandem: ") or f"it ended with code {code}")

    async def close(self) -> None:
        """End all bots: politely first."""
        for process in list(self._processes):
            if process.stdin is not None:
                process.stdin.close()
        if self._processes:
            await asyncio.wait(list(self._processes.values()), timeout=END_WITHIN_S)
        for process, watching in list(self._processes.items()):
            process.kill()
            await asyncio.wait({watching}, timeout=1.0)
