"""``tandem new env NAME``: an environment to begin with."""

from __future__ import annotations

import argparse
import keyword
import re
from pathlib import Path

from p2pclient.common.errors import ConfigurationError

_TEMPLATE = "lantern_field"
_FILES = (f"{_TEMPLATE}.py", f"test_{_TEMPLATE}.py")
_RESERVED = frozenset({"envs", "signaling", "p2pclient", "gymnasium", "pettingzoo", "numpy", "test", "tests"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("kind", choices=("env",), help="what to write: an environment")
    parser.add_argument("name", help="its module: small letters, digits and underscores")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to write it (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Write the files; nothing that is there is written over."""
    name, folder = arguments.name, arguments.folder
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in _RESERVED or keyword.iskeyword(name):
        raise ConfigurationError("name", name, "small letters, digits and underscores, not the name of another package")
    files = {folder / file.replace(_TEMPLATE, name): _read(file).replace(_TEMPLATE, name) for file in _FILES}
    there = [path for path in files if path.exists()]
    if there:
        raise ConfigurationError("file", str(there[0]), "one that is not there yet; choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text.replace("LanternField", "".join(part.title() for part in name.split("_"))))
    except OSError as error:
        raise ConfigurationError("folder", str(folder), f"one that can be written to ({error})") from error
    print(f"Written: {', '.join(str(path) for path in files)}")
    where = f"cd {folder}   and then\n  " if folder != Path() else ""
    print(f"Try it:\n  {where}tandem play {name}:make --bot random\n  tandem check {name}:make")
    return 0


def _read(file: str) -> str:
    import envs

    return (Path(envs.__path__[0]) / "templates" / file).read_text(encoding="utf-8")
