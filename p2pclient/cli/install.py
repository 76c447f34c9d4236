"""``tandem install``: a Python of its own for an environment, with what it requires, never in the client's."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from p2pclient.cli.install_pip import (
    INSTALLED,
    InstallFailed,
    has_own_python,
    list_packages,
    make_environment_folder,
    plain_name,
    run_pip,
)
from p2pclient.common.errors import ConfigurationError
from p2pclient.envhost.installed import (
    check_name,
    installed_folder,
    list_installed,
    locked,
    log_of,
    python_in,
    read_installed,
    remove_installed,
    remove_unfinished,
    write_stamp,
)
from p2pclient.envhost.interpreter import ask_interpreter, check_interpreter, find_interpreter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    # What argparse would say puts the flags first; it takes the words only in one piece.
    parser.usage = """tandem install NAME REQUIREMENT... [--requirements FILE] [--wheels FOLDER] [--python PATH]
       tandem install --list
       tandem install --remove NAME"""
    parser.add_argument("name", nargs="?", help="what to call it; then --env-python NAME plays with it")
    parser.add_argument(
        "packages", nargs="*", metavar="REQUIREMENT", help='what is needed, such as gymnasium or "numpy<2"'
    )
    parser.add_argument(
        "--requirements",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a file of further ones, one in a line",
    )
    parser.add_argument(
        "--wheels",
        type=Path,
        metavar="FOLDER",
        help="take everything from this folder of wheels, nothing from a network",
    )
    parser.add_argument(
        "--python", metavar="PATH", help="the Python that it is made from, such as python3.9 (default: this program's)"
    )
    parser.add_argument("--list", action="store_true", help="show what is installed")
    parser.add_argument("--remove", metavar="NAME", help="remove one")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0: done; 1: it could not be done, and nothing of it is left."""
    if arguments.list:
        return _list()
    if arguments.remove is not None:
        remove_installed(arguments.remove)
        print(f"{arguments.remove} is removed.")
        return 0
    if arguments.name is None:
        print("tandem: say what to call it, and what to install: tandem install NAME REQUIREMENT...", file=sys.stderr)
        return 2
    return _install(arguments)


def _list() -> int:
    finished, unfinished = list_installed()
    table = Table("name", "Python", "NumPy", "packages", "folder")
    for each in finished:
        numpy = next((version for name, version in each.packages.items() if name.lower() == "numpy"), "none")
        table.add_row(each.name, each.python, numpy, str(len(each.packages)), str(each.folder))
    for name in unfinished:
        table.add_row(name, "not finished", "", "", str(installed_folder() / name))
    if finished or unfinished:
        Console(soft_wrap=True).print(table)
    else:
        print("Nothing is installed. `tandem install NAME REQUIREMENT...` does it.")
    return 0


def _install(arguments: argparse.Namespace) -> int:
    name = check_name(arguments.name)
    requirements = _requirements(arguments)
    base = _base(arguments.python)
    for leftover in remove_unfinished():
        print(f"Removed {leftover}, whose installation was interrupted.", file=sys.stderr)
    with locked(name):
        if read_installed(name) is not None:
            allowed = f"a new one; `tandem install --remove {name}` removes what has it"
            raise ConfigurationError("name", name, allowed)
        began = time.monotonic()
        # A polite kill ends like Ctrl-C: through the clean-up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        packages = _build(name, base, requirements, arguments)
    table = Table("package", "version", title=f"{name}, after {time.monotonic() - began:.0f} s")
    for package, version in packages.items():
        table.add_row(package, version)
    Console().print(table)
    print(f"Play with it: --env-python {name}")
    return 0


def _requirements(arguments: argparse.Namespace) -> list[str]:
    """Return what is asked for, NumPy included: no host runs without.

    Raises:
        ConfigurationError: nothing is, or a file or folder is not there.
    """
    if not arguments.packages and not arguments.requirements:
        raise ConfigurationError("requirements", "", "one or more, such as gymnasium, or --requirements FILE")
    for word in arguments.packages:
        if not word.strip() or word.startswith("-"):
            raise ConfigurationError(
                "requirement", word, "a package, as pip names it; settings of pip are not taken here"
            )
    for file in arguments.requirements:
        if not file.is_file():
            raise ConfigurationError("--requirements", str(file), "a file")
    if arguments.wheels is not None and not arguments.wheels.is_dir():
        raise ConfigurationError("--wheels", str(arguments.wheels), "a folder of wheels")
    asked = [plain_name(re.split(r"[^A-Za-z0-9._-]", word, maxsplit=1)[0]) for word in arguments.packages]
    return [*arguments.packages, *([] if "numpy" in asked else ["numpy"])]


def _base(named: str | None) -> str:
    if named is None and not has_own_python():
        raise ConfigurationError(
            "--python", None, "a Python here: this program has none of its own to make another from"
        )
    found = ask_interpreter(find_interpreter(named) if named is not None else sys.executable)
    check_interpreter(found, needs_numpy=False)
    return found.path


def _build(name: str, base: str, requirements: list[str], arguments: argparse.Namespace) -> dict[str, str]:
    """Make it and return its packages. However this ends, only what is whole has a stamp, and nothing else is left."""
    folder = installed_folder() / name
    python = python_in(folder)
    is_whole = False
    try:
        with log_of(name).open("wb") as log, _shown() as tell:
            tell("", "making a virtual environment")
            make_environment_folder(base, folder, log)
            tell("", "asking for packages")
            files, wheels = arguments.requirements, arguments.wheels
            run_pip(python, requirements, files=files, wheels=wheels and wheels.absolute(), log=log, tell=tell)
        packages = list_packages(python)
        found = ask_interpreter(str(python))
        check_interpreter(found)
        stamp = {"python": found.version_text, "packages": packages, "requirements": requirements, "base": base}
        write_stamp(name, stamp)
        is_whole = True
        return packages
    except (InstallFailed, OSError) as error:
        reason = error if isinstance(error, InstallFailed) else f"{error.strerror or error}: {error.filename}"
        raise InstallFailed(
            f"{name} was not installed. {str(reason).rstrip('.')}. All that was said is in {log_of(name)}"
        ) from error
    finally:
        if not is_whole:
            remove_unfinished_of(name)


def remove_unfinished_of(name: str) -> None:
    """Remove what was made of ``name``, whose lock we hold."""
    import shutil

    shutil.rmtree(installed_folder() / name, ignore_errors=True)  # what stays has no stamp, and goes the next time


@contextmanager
def _shown() -> Iterator[Callable[[str, str], None]]:
    """Yield what shows how far a package is: a line for each on a terminal, elsewhere a line for each step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name, stage: print(f"{name}: {stage}" if name else stage, file=sys.stderr, flush=True)
        return
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {"": progress.add_task("", total=None)}

        def tell(name: str, stage: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task("", total=1)
            progress.update(tasks[name], description=f"{name:<28} {stage}" if name else stage)
            if stage == INSTALLED:
                progress.update(tasks[name], completed=1)

        yield tell
