"""What a window does while the environment blocks its host, how soon it opens, and what it costs when idle."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from window_rig import Desk, Tandem, desk_or_skip, wait_for

pytestmark = pytest.mark.alone
WALK = "test:counter_v0"


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    yield from desk_or_skip()


@pytest.fixture(scope="module")
def url(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    server = Tandem(
        desk,
        *("serve", WALK, "--if-lost", "end", "--host", "127.0.0.1", "--port", "0", "--log-level", "info"),
        folder=folder,
        name="server",
        watched=False,
    )
    try:
        found = re.search(r"http://\S+", server.line("tandem join"))
        assert found is not None
        yield found.group()
    finally:
        server.close()


def test_a_blocked_environment_delays_neither_window_nor_runtime(desk: Desk, url: str, tmp_path: Path) -> None:
    blocks = [{"at": "import", "seconds": 2.5, "hold_lock": True}, {"at": "init", "seconds": 2.5, "hold_lock": True}]
    client = Tandem(
        desk,
        *("join", url, "--json", "--out", str(tmp_path), "--load-fault", json.dumps(blocks)),
        folder=tmp_path,
    )
    try:
        loading = client.screen("loading")
        waiting = client.screen("waiting")
        assert waiting["at"] - loading["at"] > 5.0
        # One welcome: its connection to the server held all the time.
        assert len(client.reports("welcome")) == 1
        connected = next(f["at"] for f in client.facts("runtime-beat"))
        for kind in ("window-beat", "runtime-beat"):
            beats = [f for f in client.facts(kind) if connected < f["at"] < waiting["at"]]
            assert len(beats) >= 8
            assert max(beat["late_ms"] for beat in beats) <= 50.0
        moved = [f["drawn"] for f in client.facts("window-beat") if connected < f["at"] < waiting["at"]]
        assert min(moved) >= 4, "the loading screen stands still"
        assert_idle_costs_little(client)
    finally:
        client.close()


def assert_idle_costs_little(client: Tandem) -> None:
    """In the waiting room, below 3 % of a core."""
    process = psutil.Process(client.process.pid)
    time.sleep(1.0)  # what loading left behind is done with
    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    time.sleep(4.0)
    share = (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - began)
    assert share < 0.03


@pytest.mark.parametrize("command", ["play", "join"])
def test_window_opens_within_two_seconds(desk: Desk, url: str, tmp_path: Path, command: str) -> None:
    client = Tandem(desk, command, WALK if command == "play" else url, "--out", str(tmp_path), folder=tmp_path)
    try:
        wait_for(lambda: bool(client.facts("screen")), "the first screen", client)
        assert client.facts("screen")[0]["at"] - client.started < 2.0
        assert desk.window_of(client.process.pid)
    finally:
        client.close()
