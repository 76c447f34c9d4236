"""Traces on the command line: one match of the simulator, and several sides of a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pclient.cli.main import main


def events_of(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = msgspec.json.decode(path.read_bytes())["traceEvents"]
    return events


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "one.json"
    flags = ["--profile", "wifi", "--seconds", "3", "--jobs", "1", "--json", "--trace", str(path)]
    assert main(["simulate", *flags]) == 0
    return path


def test_a_simulated_match_is_traced_with_all_its_sides(trace: Path) -> None:
    events = events_of(trace)
    assert {event["pid"] for event in events} == {1, 2}
    names = {event["name"] for event in events}
    assert {"tick", "batch", "datagram", "playing"} <= names
    rollbacks = [event for event in events if str(event["name"]).startswith("rollback")]
    assert rollbacks
    assert all(event["args"]["seats"] and event["args"]["depth"] > 0 for event in rollbacks)
    starts = [event["ts"] for event in events if event["name"] == "playing"]
    assert max(starts) - min(starts) < 1_000


def test_traces_of_several_sides_become_one(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "trace.json").write_bytes(trace.read_bytes())
    out = tmp_path / "both.json"
    assert main(["trace", str(trace), str(run), "--out", str(out)]) == 0
    assert {event["pid"] for event in events_of(out)} == {1, 2, 3, 4}
    assert str(out) in capsys.readouterr().out


def test_what_is_no_trace_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.json").write_text("[]")
    assert main(["trace", str(tmp_path), "--out", str(tmp_path / "x.json")]) == 2
    assert "--trace" in capsys.readouterr().err
    assert main(["trace", str(tmp_path / "no.json"), "--out", str(tmp_path / "x.json")]) == 2
    assert "no trace" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
