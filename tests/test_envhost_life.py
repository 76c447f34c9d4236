"""A host survives Ctrl-C and never survives its client. Real processes, ended by real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from envhost_processes import ENV, wait_gone

from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.process import HostSpec

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses signals")

CLIENT = f"""
import asyncio, sys
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec

async def main():
    host = EnvHost(HostSpec({ENV!r}, allow_faults=True))
    await host.start()
    await host.ready()
    await host.submit([["reset", 0]])
    COMMANDS
    print(host.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
HANG = "host.submit([['fault', {'kind': 'hang', 'seconds': 60, 'hold_lock': LOCK}]], deadline=100)"


def start_client(commands: str) -> tuple[subprocess.Popen[str], int]:
    """Start a program with a host; return it and the host's process id."""
    script = CLIENT.replace("COMMANDS", commands)
    client = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    return client, int(client.stdout.readline())


@pytest.mark.parametrize(
    "commands",
    ["pass", HANG.replace("LOCK", "False"), HANG.replace("LOCK", "True")],
    ids=["idle", "stuck", "stuck with the interpreter's lock"],
)
def test_host_is_gone_after_its_client_was_killed(commands: str) -> None:
    client, pid = start_client(commands)
    with client:
        client.kill()
    assert wait_gone(pid, 5.0)


def test_host_without_the_systems_help_ends_by_its_lifeline(tmp_path: Path) -> None:
    # A wrapper between client and host takes the parent-death signal away, as some launchers of Python do.
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\n"{sys.executable}" "$@" <&0 &\nwait\n')
    wrapper.chmod(0o755)
    hang = HANG.replace("LOCK", "False")
    script = CLIENT.replace("COMMANDS", hang).replace(
        "allow_faults=True", f"allow_faults=True, python={str(wrapper)!r}"
    )
    script = script.replace("print(host.pid", "import psutil; print(psutil.Process(host.pid).children()[0].pid")
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        client.kill()
    assert wait_gone(pid, 8.0)


def test_ctrl_c_in_the_terminal_does_not_end_the_host() -> None:
    with BlockingEnvHost(HostSpec(ENV)) as host:
        assert os.getpgid(host.pid) != os.getpgid(0)
        os.kill(host.pid, signal.SIGINT)
        assert len(host.run([["reset", 0]]).results) == 1


def test_host_ends_with_a_client_that_ends_without_closing_it() -> None:
    client, pid = start_client("pass")
    with client:
        client.send_signal(signal.SIGTERM)
    assert wait_gone(pid, 5.0)
