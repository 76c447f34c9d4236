"""Rules of the code that no linter knows: sizes, Python 3.8 on the host's side, events of pygame, the version."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2pclient

ROOT = Path(__file__).resolve().parent.parent
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 500, 60
HOST_SIDE = (
    "p2pclient/__init__.py",
    "p2pclient/common/__init__.py",
    "p2pclient/common/errors.py",
    "p2pclient/common/frames.py",
    "p2pclient/common/spaces*.py",
    "p2pclient/envhost/__init__.py",
    "p2pclient/envhost/host*.py",
    "p2pclient/envhost/values*.py",
    "envs/**/*.py",
    "dev.py",
)
"""What may run under Python 3.8: what travels to the environment's interpreter, and dev.py to say what is missing."""

SOURCES = sorted(path for top in ("p2pclient", "signaling", "envs") for path in (ROOT / top).rglob("*.py"))
HOST_FILES = sorted({path for pattern in HOST_SIDE for path in ROOT.glob(pattern)})

NEWER_CALLS = {("zip", "strict"), ("dataclass", "slots"), ("dataclass", "kw_only"), ("dataclasses.dataclass", "slots")}
"""Calls with a keyword that Python 3.8 does not know."""

NEWER_METHODS = frozenset({"removeprefix", "removesuffix", "is_relative_to", "bit_count", "pairwise", "randbytes"})
GENERICS = frozenset({"list", "dict", "tuple", "set", "frozenset", "type"})
"""``list[int]`` is an error when Python 3.8 evaluates it; so is what comes from ``collections`` and its ``abc``."""

NEWER_MODULES = frozenset({"tomllib", "zoneinfo", "graphlib"})


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def find_newer_syntax(source: str) -> list[str]:
    """Return what in the source needs a Python newer than 3.8, as sentences."""
    try:
        tree = ast.parse(source, feature_version=(3, 8))
    except SyntaxError as error:
        return [f"line {error.lineno}: {error.msg}"]
    postponed = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
        for node in tree.body
    )
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = [alias for node in imports if node.module in {"collections", "collections.abc"} for alias in node.names]
    generics = GENERICS | {alias.asname or alias.name for alias in imported}
    found = []
    for node in evaluated_nodes(tree, postponed):
        reason = newer_than_38(node, generics)
        if reason:
            found.append(f"line {getattr(node, 'lineno', 0)}: {reason}")
    return found


def evaluated_nodes(tree: ast.AST, postponed: bool) -> Iterator[ast.AST]:
    """Yield every node that runs: all, but annotations where they are postponed, and what is type-checked only."""
    yield tree
    for field, value in ast.iter_fields(tree):
        if postponed and field in {"annotation", "returns"}:
            continue
        if field == "body" and isinstance(tree, ast.If) and ast.unparse(tree.test).endswith("TYPE_CHECKING"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from evaluated_nodes(child, postponed)


def newer_than_38(node: ast.AST, generics: frozenset[str]) -> str:
    """Return why this node, when it runs, needs a newer Python; nothing if it does not."""
    if isinstance(node, (ast.Match, ast.TryStar)):
        return "match and except* are newer"
    if isinstance(node, ast.With) and node.items[0].context_expr.col_offset - node.col_offset > len("with "):
        return "a with statement in parentheses"  # feature_version lets them pass: CPython's parser never forbade them
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if any((name, keyword.arg) in NEWER_CALLS for keyword in node.keywords):
            return f"a keyword of {name}"
        if name in {"isinstance", "issubclass"} and any(isinstance(part, ast.BinOp) for part in node.args[1:]):
            return "X | Y in isinstance"
    if isinstance(node, ast.Attribute) and node.attr in NEWER_METHODS:
        return f"the method {node.attr}"
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in generics:
        return f"{node.value.id}[...] is evaluated"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = {ast.unparse(node.left), ast.unparse(node.right)}
        if sides & {"None", "int", "float", "str", "bytes", "bool"}:
            return "X | Y is evaluated"
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        return "a newer module" if NEWER_MODULES.intersection(modules) else ""
    return ""


def find_event_pumps(source: str) -> list[int]:
    """Return the lines that fetch or pump events of pygame in a way that blocks while a window is dragged."""
    found = []
    for node in ast.walk(ast.parse(source)) if "pygame" in source else ():
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            pump = [keyword.value for keyword in node.keywords if keyword.arg == "pump"]
            without = len(pump) == 1 and isinstance(pump[0], ast.Constant) and pump[0].value is False
            if name.endswith("event.pump") or (re.search(r"\bevent\.(get|peek|clear)$", name) and not without):
                found.append(node.lineno)
    return found


def find_long_functions(source: str) -> list[str]:
    """Return the functions whose body, without the docstring, has too many lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > MAX_FUNCTION_LINES:
                found.append(f"{node.name}: {lines} lines")
    return found


@pytest.mark.parametrize("path", HOST_FILES, ids=ids)
def test_host_side_code_is_valid_python_38(path: Path) -> None:
    assert find_newer_syntax(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_sizes_stay_within_bounds(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_MODULE_LINES
    assert find_long_functions(source) == []


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_pygame_events_are_never_fetched_with_a_pump(path: Path) -> None:
    assert find_event_pumps(path.read_text(encoding="utf-8")) == []


def test_changelog_begins_with_the_version_of_the_code() -> None:
    headings = re.findall(r"^## .*$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings, "CHANGELOG.md has no heading of a version"
    assert re.search(rf"(?<![\w.]){re.escape(p2pclient.__version__)}(?![\w.])", headings[0])


@pytest.mark.parametrize(
    "source",
    [
        "match x:\n    case 1:\n        pass",
        "with (open('a') as a, open('b') as b):\n    pass",
        "zip(a, b, strict=True)",
        "from dataclasses import dataclass\n@dataclass(slots=True)\nclass A:\n    pass",
        "Inputs = list[int]",
        "from collections.abc import Callable\nDone = Callable[[int], None]",
        "def f(x: list[int]) -> None: ...",
        "def f(x: int | None) -> None: ...",
        "from __future__ import annotations\nMaybe = int | None",
        "isinstance(x, int | str)",
        "name.removeprefix('x')",
        "import tomllib",
    ],
)
def test_newer_syntax_is_found(source: str) -> None:
    assert len(find_newer_syntax(source)) >= 1


def test_what_python_38_knows_is_not_called_newer() -> None:
    source = (
        "from __future__ import annotations\nfrom typing import Callable, List\nInputs = List[int]\n"
        "def g(x: list[int] | None) -> dict[str, int]:\n    if (y := x[0]) | 1:\n        return {}\n"
        "Done = Callable[[int], None]\nwith open('a') as a, open('b') as b:\n    pass\n"
    )
    assert find_newer_syntax(source) == []


def test_pumping_is_found() -> None:
    assert find_event_pumps("pygame.event.get()\npygame.event.get(pump=True)\nevent.pump()") == [1, 2, 3]
    assert find_event_pumps("pygame.event.get(pump=False)\nmailbox.get()\npygame.event.wait(5)") == []


def test_long_function_is_found() -> None:
    assert find_long_functions("def f():\n" + "    x = 1\n" * 61) == ["f: 61 lines"]
    assert find_long_functions("def f():\n    '''" + "\n" * 80 + "    '''\n    return 1\n") == []
