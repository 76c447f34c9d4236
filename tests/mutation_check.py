"""Breaks the code on purpose, one fault at a time, and says which ones the tests do not notice.

``python3 tests/mutation_check.py [--only NAME] [--jobs N]``: works on a copy in a temporary folder. The exit code is 0
if every fault is caught, 1 if one survives, and 2 if the tests fail without a fault or a fault fits nowhere.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import cache_from_source
from pathlib import Path
from queue import Queue

from mutation_faults_engine import ENGINE
from mutation_faults_match import MATCH
from mutation_rig import Fault

FAULTS = [*ENGINE, *MATCH]
ROOT = Path(__file__).resolve().parent.parent
COPIED = ("p2pclient", "signaling", "envs", "tests", "pyproject.toml")
TIME_LIMIT = 180.0
"""Seconds for the tests of one fault; beyond it, the fault makes them hang."""
_FAILED = 1
"""What pytest returns if tests ran and some failed."""


def misfits(faults: Iterable[Fault]) -> list[str]:
    """Return what is wrong with the list itself, as sentences: places that are not there, tests that are not."""
    found = []
    for fault in faults:
        count = (ROOT / "p2pclient" / fault.file).read_text().count(fault.old)
        if count != 1:
            found.append(f"{fault.name}: its old text stands {count} times in {fault.file}")
        found += [f"{fault.name}: no tests/test_{t}.py" for t in fault.tests if not _test_file(ROOT, t).exists()]
    return found


def _test_file(root: Path, name: str) -> Path:
    return root / "tests" / f"test_{name}.py"


def make_copy(folder: Path) -> Path:
    """Copy what the tests need, without what earlier runs left."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def _interpreter() -> str:
    """Return the project's own Python, where ``dev.py`` has made one: it has what the tests need."""
    own = ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    return str(own) if own.exists() else sys.executable


def run_tests(copy: Path, names: Sequence[str], *, limit: float) -> int | None:
    """Return what pytest returned; None if it did not end within ``limit`` seconds."""
    command = [_interpreter(), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line"]
    command += [str(_test_file(copy, name)) for name in names]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def _write(path: Path, text: str) -> None:
    """Write a module, and delete what was compiled of it: two versions of one second and size look the same."""
    path.write_text(text)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def check(copy: Path, fault: Fault) -> str:
    """Apply one fault to the copy, run its tests and take it out again; returns the verdict."""
    path = copy / "p2pclient" / fault.file
    right = path.read_text()
    _write(path, right.replace(fault.old, fault.new))
    code = run_tests(copy, fault.tests, limit=TIME_LIMIT)
    _write(path, right)
    if code is None:
        return "caught (hangs)"
    return {_FAILED: "caught", 0: "SURVIVED"}.get(code, f"ERROR (pytest returned {code})")


def run(faults: Sequence[Fault], folder: Path, jobs: int) -> list[tuple[Fault, str, float]]:
    """Check all faults, ``jobs`` at a time, and print a line for each as it is done."""
    copies: Queue[Path] = Queue()
    for number in range(jobs):
        copies.put(make_copy(folder / f"copy{number}"))

    def one(fault: Fault) -> tuple[Fault, str, float]:
        copy = copies.get()
        began = time.monotonic()
        verdict = check(copy, fault)
        copies.put(copy)
        seconds = time.monotonic() - began
        print(f"{verdict:<16} {seconds:5.1f} s  {fault.name}", flush=True)
        return fault, verdict, seconds

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, faults))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Break the code on purpose and see whether the tests notice.")
    parser.add_argument("--only", default="", metavar="NAME", help="only faults whose name has this in it")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="faults at a time (default: 1)")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only in fault.name]
    wrong = misfits(faults) if faults else [f"no fault has {options.only!r} in its name"]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tandem-faults-") as folder:
        names = sorted({name for fault in faults for name in fault.tests})
        if run_tests(make_copy(Path(folder) / "right"), names, limit=TIME_LIMIT * len(names)) != 0:
            print("The tests fail without any fault: " + ", ".join(names), file=sys.stderr)
            return 2
        results = run(faults, Path(folder), max(1, options.jobs))
    missed = [fault.name for fault, verdict, _ in results if not verdict.startswith("caught")]
    print(f"\n{len(results)} faults, {len(results) - len(missed)} caught, {len(missed)} not")
    print("".join(f"  {name}\n" for name in missed), end="")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
