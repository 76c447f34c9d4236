"""Does what the plan says to one client: kills it or its environment, stops it for a while, tells it to leave."""

from __future__ import annotations

import asyncio

import psutil

from p2pclient.cli.soak_plan import KILL_CLIENT, KILL_HOST, LEAVE, PAUSE, Fault
from p2pclient.cli.soak_process import Child, hosts_of


def strike(child: Child, fault: Fault) -> bool:
    """Do it; False if there is nothing to do it to. A pause has only begun: :func:`relent` ends it."""
    if child.code is not None:
        return False
    if fault.kind == KILL_CLIENT:
        child.kill()
    elif fault.kind == LEAVE:
        child.leave()
    elif fault.kind == PAUSE:
        child.pause()
    elif fault.kind == KILL_HOST:
        return _kill_all(hosts_of(child.pid))
    return True


async def relent(child: Child, fault: Fault) -> None:
    """Let a client that was stopped go on when its time is over, however this task ends."""
    if fault.kind == PAUSE:
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            child.resume()


def _kill_all(processes: list[psutil.Process]) -> bool:
    killed = 0
    for process in processes:
        try:
            process.kill()
            killed += 1
        except psutil.NoSuchProcess:
            pass  # it went by itself
    return killed > 0
