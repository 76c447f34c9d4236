"""Who may import whom: the table of the layers, as a test.

Direct imports are read from the source, those inside of functions and under ``TYPE_CHECKING`` too. For the pure
packages, ``sim`` and ``app``, a fresh interpreter also imports every module, and what that loaded is looked at: so an
import that hides behind another module is found as well. Packages that do not exist yet are skipped.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("p2pclient", "signaling", "envs")


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PURE = tuple(f"p2pclient.{name}" for name in ("common", "rollback", "protocol", "study", "telemetry"))
"""Time is an argument, randomness is passed in, output is returned. Of ours they import ``common`` and themselves."""

SCREENING = tuple(
    f"signaling.{name}"
    for name in ("admission", "conduct", "exclusion", "screening", "screening_file", "screening_rules")
)

PURE_MODULES = (
    *SCREENING, *PURE, "p2pclient.discovery.findings", "p2pclient.match", "p2pclient.transport.ladder",
    "signaling.actions", "signaling.alerts", "signaling.relaying", "signaling.turn",
    "signaling.answering", "signaling.attendance", "signaling.console.history", "signaling.effects", "signaling.frames",
    "signaling.hiring", "signaling.identity", "signaling.keeping", "signaling.lifecycle", "signaling.matching",
    "signaling.membership", "signaling.per_address",
    "signaling.orders", "signaling.pairing", "signaling.passwords", "signaling.probe_records", "signaling.probes",
    "signaling.probing", "signaling.restoring", "signaling.roles", "signaling.room", "signaling.room_rows",
    "signaling.room_state", "signaling.rows", "signaling.running", "signaling.store.interface",
    "signaling.store.memory", "signaling.store.schema", "signaling.store.statements", "signaling.store.tables",
)  # fmt: skip
"""These may only import what is in :data:`PURE_LIBRARY` from outside."""

PURE_LIBRARY = names(
    "__future__ abc array base64 binascii bisect collections copy dataclasses enum fractions functools hashlib heapq "
    "hmac ipaddress itertools json math msgspec operator re statistics string struct types typing unicodedata zlib"
)
"""Neither clock nor random, asyncio, threads, NumPy or I/O. A list of what is allowed cannot forget a module."""

NOT_PURE_CALLS = frozenset({"open", "input", "print", "exec", "eval", "__import__", "breakpoint"})

FORBIDDEN: Mapping[str, frozenset[str]] = {
    **{package: frozenset(OURS) for package in PURE},
    "p2pclient.discovery": frozenset(OURS),
    "p2pclient.transport": frozenset({"p2pclient.protocol", "p2pclient.rollback"}),
    "p2pclient.envhost": frozenset({"p2pclient.protocol", "p2pclient.transport"}),
    "p2pclient.recorder": frozenset({"p2pclient.rollback", "p2pclient.transport", "p2pclient.app"}),
    "p2pclient.match": frozenset({"aiortc", "socketio", "asyncio", "time", "datetime"}),
    "p2pclient.runtime": frozenset({"p2pclient.app"}),
    "p2pclient.bots": frozenset({"p2pclient.transport"}),
    "p2pclient.sim": frozenset({"aiortc"}),
    "p2pclient.app": frozenset({"aiortc", "socketio", "multiprocessing"}),
    "signaling": frozenset({"p2pclient"}),
    "envs": frozenset({"p2pclient"}),
}
"""What a package must never import, whole names. A package may always import itself and ``common``."""

ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "pygame": ("p2pclient.app",),
    "pyarrow": ("p2pclient.recorder.export",),
    "zeroconf": ("p2pclient.discovery.mdns", "signaling.announce", "p2pclient.cli.doctor"),
    "gymnasium": ("envs",),
    "pettingzoo": ("envs",),
    "cogrid": ("envs",),
    "envs": ("envs", "p2pclient.envhost.host", "p2pclient.cli"),
    "signaling": ("signaling", "p2pclient.cli"),
    "p2pclient.cli": ("p2pclient.cli",),
    "sqlite3": ("signaling.store.sqlite",),
}
"""Where a module may be imported at all, as the beginnings of module names; a client process has no environment."""

HOST_SIDE = (
    "p2pclient.common.errors",
    "p2pclient.common.frames",
    "p2pclient.common.spaces",
    "p2pclient.envhost.host",
    "p2pclient.envhost.values",
    "envs",
)
"""What travels to the environment's interpreter: there is nothing else of ours there, and perhaps only NumPy."""

LAZY_CYCLES = frozenset(
    {("p2pclient.envhost.values_write", "p2pclient.envhost.values_numpy"), ("envs.conformance", "envs.grading")}
)
"""Imports inside of functions that close a cycle on purpose. NumPy's part of the codec is loaded with the first array,
so that what sends none starts without NumPy, and it needs the writers of plain values. Ways of keeping a state are
graded by the conformance checks, and whoever imports those wants an environment graded before it is checked."""

RUN_TIME_FORBIDDEN = names(
    "asyncio threading socket select selectors ssl queue subprocess multiprocessing concurrent numpy pygame aiortc "
    "aioice socketio aiohttp starlette uvicorn pyarrow gymnasium pettingzoo cogrid platformdirs psutil zeroconf"
)
"""For the pure packages. ``random`` is not here: ``statistics`` loads it; the source must not name it."""

RUN_TIME: Mapping[str, frozenset[str]] = {
    **{package: RUN_TIME_FORBIDDEN | {"signaling", "envs"} for package in PURE},
    "p2pclient.match": RUN_TIME_FORBIDDEN | {"signaling", "envs"},
    "p2pclient.discovery": names(
        "pygame aiortc aioice socketio starlette uvicorn numpy pyarrow cogrid zeroconf signaling"
    ),
    "p2pclient.sim": frozenset({"pygame", "aiortc", "gymnasium", "pettingzoo", "cogrid"}),
    "p2pclient.app": frozenset({"aiortc", "socketio", "multiprocessing", "gymnasium", "pettingzoo", "cogrid"}),
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, by its whole name."""

    target: str
    line: int
    lazy: bool
    """Inside of a function: happens when that is called."""
    type_only: bool
    """Under ``if TYPE_CHECKING``: never happens."""


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def package_of(module: str) -> str:
    """Return the layer a module of ours belongs to: ``p2pclient.common`` of ``p2pclient.common.errors``."""
    return ".".join(module.split(".")[:2]) if module.startswith("p2pclient.") else module.split(".")[0]


def find_modules() -> dict[str, Path]:
    """Return the files of all our modules by name."""
    found = {}
    for path in sorted(path for top in OURS for path in (ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = find_modules()


def find_imports(source: str, module: str, known: Iterable[str] = MODULES) -> list[Import]:
    """Return what the source of ``module`` imports. ``known`` tells submodules from other names of ours."""
    finder = _Finder(module, frozenset(known))
    finder.visit(ast.parse(source))
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, module: str, known: frozenset[str]) -> None:
        self.found: list[Import] = []
        self._module, self._known = module, known
        self._lazy = self._type_only = False

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            is_package = any(is_within(name, self._module) and name != self._module for name in self._known)
            parents = self._module.split(".")[: None if is_package and node.level == 1 else is_package - node.level]
            base = ".".join([*parents, *([base] if base else [])])
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            self._add(whole if whole in self._known else base, node)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        for name in [called, *(ast.unparse(argument) for argument in node.args[:1])]:
            if name in {"importlib.import_module", "import_module", "__import__"}:  # also handed to a thread to call
                constants = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                for constant in constants:
                    self._add(str(constant), node)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = outer

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node: ast.If) -> None:
        outer = self._type_only
        self._type_only = outer or ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for child in node.body:
            self.visit(child)
        self._type_only = outer
        for child in node.orelse:
            self.visit(child)

    def _add(self, target: str, node: ast.stmt | ast.expr) -> None:
        self.found.append(Import(target, node.lineno, self._lazy, self._type_only))


def find_violations(module: str, source: str, known: Iterable[str] = MODULES) -> list[str]:
    """Return every breach of the rules by the source of ``module``, as sentences."""
    found = []
    for imported in find_imports(source, module, known):
        reason = why_forbidden(module, imported.target)
        if reason:
            found.append(f"{module}:{imported.line} imports {imported.target}: {reason}")
    tree = ast.parse(source)
    if any(is_within(module, pure) for pure in PURE_MODULES):
        found += [f"{module}:{call.lineno} calls {name}: pure" for call, name in calls(tree) if name in NOT_PURE_CALLS]
    if package_of(module) == "envs":
        clocks = [(call, name) for call, name in calls(tree) if name.startswith("time.")]
        found += [f"{module}:{call.lineno} calls {name}: a clock only as an argument" for call, name in clocks]
    return found


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def why_forbidden(module: str, target: str) -> str:
    """Return the rule by which ``module`` must not import ``target``; nothing if it may."""
    package, ours = package_of(module), target.split(".")[0] in OURS
    if any(is_within(module, pure) for pure in PURE_MODULES) and not ours and target.split(".")[0] not in PURE_LIBRARY:
        return "pure modules import only what has no clock, randomness, threads or I/O"
    if is_host_side(module) and not host_may_import(module, target):
        return "host-side code sees only itself, the standard library and NumPy"
    for name, places in ONLY_IN.items():
        if is_within(target, name) and not any(module.startswith(place) for place in places):
            return f"only {', '.join(places)} may"
    if is_within(target, package) or (is_within(target, "p2pclient.common") and package != "p2pclient.common"):
        return ""
    if target == "p2pclient" and module.startswith("p2pclient."):  # the version
        return f"{package} is pure" if package in PURE else ""
    broken = [name for name in FORBIDDEN.get(package, ()) if is_within(target, name)]
    return f"{package} must never import {broken[0]}" if broken else ""


def is_host_side(module: str) -> bool:
    return any(is_within(module, part) or module.startswith(part + "_") for part in HOST_SIDE)


def host_may_import(module: str, target: str) -> bool:
    top = target.split(".")[0]
    if top in OURS:
        return is_host_side(target) or target in {"p2pclient.envhost", "p2pclient.common"}
    if top == "msgspec":
        return module == "p2pclient.envhost.values_fast"  # which does without it, too; tests/test_envhost_values.py
    return module.startswith("envs") or top in sys.stdlib_module_names or top == "numpy"


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes of one cycle, its first node again at the end; empty if there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            cycle = visit(following, [*path, node])
            if cycle:
                return cycle
        done.add(node)
        return []

    return next((cycle for cycle in (visit(node, []) for node in sorted(graph)) if cycle), [])


def import_graph() -> dict[str, set[str]]:
    """Return which of our modules each of our modules imports when it runs."""
    graph = {}
    for module, path in MODULES.items():
        imports = find_imports(path.read_text(encoding="utf-8"), module)
        targets = {found.target for found in imports if not found.type_only and found.target in MODULES}
        graph[module] = {target for target in targets - {module} if (module, target) not in LAZY_CYCLES}
    return graph


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_what_its_layer_may(module: str) -> None:
    assert find_violations(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_modules_have_no_import_cycles() -> None:
    assert find_cycle(import_graph()) == []


def test_packages_have_no_import_cycles() -> None:
    packages: dict[str, set[str]] = {}
    for module, targets in import_graph().items():
        own = package_of(module)
        packages.setdefault(own, set()).update({package_of(target) for target in targets} - {own, "p2pclient"})
    assert len(packages) > 5
    assert find_cycle(packages) == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def modules_loaded_by(modules: Iterable[str], paths: Iterable[Path] = (ROOT,)) -> set[str]:
    """Return the modules that a fresh interpreter has after it imported ``modules`` and a bare one has not."""
    code = f"""
import sys
bare = set(sys.modules)
sys.path[:0] = {[str(path) for path in paths]!r}
import importlib
for name in {list(modules)!r}:
    importlib.import_module(name)
print(*sorted(set(sys.modules) - bare))
"""
    answer = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


def forbidden_at_run_time(loaded: Iterable[str], forbidden: Iterable[str]) -> list[str]:
    return sorted(name for name in loaded if any(is_within(name, other) for other in forbidden))


@pytest.mark.parametrize("package", RUN_TIME)
def test_package_loads_nothing_forbidden_at_run_time(package: str) -> None:
    modules = [module for module in MODULES if is_within(module, package)]
    if not modules:
        pytest.skip(f"there is no {package} yet")
    loaded = modules_loaded_by(modules)
    assert set(modules) <= loaded
    assert forbidden_at_run_time(loaded, RUN_TIME[package]) == []


BREACHES = {
    "p2pclient.common.made_up": ["import p2pclient.rollback", "from signaling import room", "import numpy as np"],
    "p2pclient.rollback.made_up": [
        "import time",
        "from random import Random",
        "def f():\n    import asyncio",
        "def f():\n    return open('x')",
        "from p2pclient import telemetry",
        "from ..protocol import datagram",
    ],
    "p2pclient.protocol.made_up": ["from p2pclient.rollback.chain import ChecksumChain"],
    "p2pclient.telemetry.made_up": ["import threading", "from p2pclient.transport import base"],
    "p2pclient.study.made_up": ["import pygame", "import os.path"],
    "p2pclient.discovery.made_up": [
        "from p2pclient.match.match import Match",
        "from p2pclient.runtime import participant",
        "import signaling.announce",
        "import pygame",
        "import zeroconf",
    ],
    "p2pclient.discovery.findings": ["import socket", "import time"],
    "signaling.answering": ["import asyncio", "from p2pclient.discovery import findings"],
    "p2pclient.transport.made_up": ["import p2pclient.protocol.datagram", "import pygame.display"],
    "p2pclient.envhost.made_up": ["from p2pclient.transport.base import Opened", "import envs", "import gymnasium"],
    "p2pclient.envhost.host_made_up": ["import msgspec", "from p2pclient.envhost.client import EnvHost"],
    "p2pclient.recorder.made_up": ["import pyarrow", "from p2pclient.app import window"],
    "p2pclient.match.made_up": ["import aiortc", "from time import perf_counter", "import asyncio"],
    "p2pclient.runtime.made_up": [
        "import pygame",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p2pclient.app.window import Window",
        "import importlib\nimportlib.import_module('cogrid')",
        "import signaling.server",
    ],
    "p2pclient.bots.made_up": ["from p2pclient import transport"],
    "p2pclient.sim.made_up": ["import aiortc", "import pygame"],
    "p2pclient.app.made_up": ["import multiprocessing.shared_memory", "import socketio"],
    "signaling.room": ["import time", "import asyncio", "from p2pclient.match.match import Match"],
    "signaling.made_up": ["from p2pclient import __version__", "import pygame", "import envs.registry"],
    "envs.made_up": [
        "from p2pclient.envhost import values",
        "import pygame",
        "import signaling",
        "import time\nnow = time.time()",
    ],
}


@pytest.mark.parametrize(
    ("module", "source"), [(module, source) for module, sources in BREACHES.items() for source in sources]
)
def test_breach_is_found(module: str, source: str) -> None:
    known = {*MODULES, module, "p2pclient.telemetry", "p2pclient.transport", "p2pclient.rollback", "p2pclient.app"}
    assert len(find_violations(module, source, known)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "p2pclient.rollback.made_up",
            "import p2pclient.common.frames\nfrom .chain import ChecksumChain",
        ),
        ("p2pclient.app.made_up", "import pygame"),
        ("p2pclient.discovery.mdns", "import socket\nimport psutil\ndef f():\n    from zeroconf import Zeroconf"),
        ("p2pclient.cli.made_up", "from envs import registry\nfrom signaling import server"),
        ("envs.made_up", "import time\nimport gymnasium\ndef f(clock=time.perf_counter):\n    return clock()"),
        ("p2pclient.envhost.host_made_up", "import numpy\nfrom envs import registry"),
        ("signaling.made_up", "from p2pclient.common.errors import SignalingError"),
    ],
)
def test_what_is_allowed_is_not_called_a_breach(module: str, source: str) -> None:
    assert find_violations(module, source) == []


def test_cycle_is_found() -> None:
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_import_hidden_behind_another_module_is_found_at_run_time(tmp_path: Path) -> None:
    (tmp_path / "innocent.py").write_text("import hidden\n")
    (tmp_path / "hidden.py").write_text("import asyncio.locks\n")
    loaded = modules_loaded_by(["innocent"], [tmp_path])
    assert "asyncio.locks" in forbidden_at_run_time(loaded, RUN_TIME_FORBIDDEN)
