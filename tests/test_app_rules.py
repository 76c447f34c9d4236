"""What the window's package must never do, found in its source and in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "p2pclient" / "app").glob("*.py"))
FORBIDDEN = ("aiortc", "socketio", "multiprocessing", "asyncio", "gymnasium", "pettingzoo", "cogrid")
ALLOWED_OURS = ("p2pclient.app", "p2pclient.common", "p2pclient.settings")


def pump_violations(source: str) -> list[str]:
    """Calls that hold the interpreter's lock while events are pumped: `event.pump()`, and `event.get` that pumps."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "pygame.event":
            found.append(f"line {node.lineno}: import pygame.event's functions by name hides what is called")
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called = ast.unparse(node.func)
        if called.endswith(("event.pump", "event.poll", "event.clear")):
            found.append(f"line {node.lineno}: {called}")
        pumps = not any(
            k.arg == "pump" and isinstance(k.value, ast.Constant) and k.value.value is False for k in node.keywords
        )
        if called.endswith("event.get") and pumps:
            found.append(f"line {node.lineno}: {called} without pump=False")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_events_are_pumped_by_wait_only(path: Path) -> None:
    assert pump_violations(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    ["pygame.event.get()", "pygame.event.get(pump=True)", "pygame.event.pump()", "from pygame.event import get"],
)
def test_the_lint_notices(line: str) -> None:
    assert pump_violations(line)


def test_the_lint_lets_pass_what_is_right() -> None:
    assert pump_violations("pygame.event.wait(5); pygame.event.get(pump=False)") == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_direct_imports_are_allowed_ones(path: Path) -> None:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    for name in names:
        assert name.split(".")[0] not in FORBIDDEN
        assert not name.startswith(("p2pclient", "signaling", "envs")) or name.startswith(ALLOWED_OURS), name


def test_a_fresh_interpreter_loads_nothing_forbidden_with_the_window() -> None:
    code = (
        "import sys, p2pclient.app.window\n"
        f"bad = [m for m in sys.modules if m.split('.')[0] in {FORBIDDEN!r}]\n"
        f"bad += [m for m in sys.modules if m.startswith(('p2pclient.', 'envs', 'signaling'))"
        f" and not m.startswith({ALLOWED_OURS!r})]\n"
        "print(bad)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_importing_the_window_prints_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import p2pclient.app.window"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == ""
