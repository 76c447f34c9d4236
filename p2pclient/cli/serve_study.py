"""``tandem serve STUDY``: a study's file beside the flags. The command line wins over the file."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.match_settings import DEFAULT_STUDY
from p2pclient.settings.flags import InputDelay, environment_arguments
from p2pclient.settings.study_file import KEYS, SUFFIX, StudyFile, read_study
from p2pclient.settings.toml_text import toml_lines

if TYPE_CHECKING:
    from signaling.screening_rules import ScreeningRules

AddArguments = Callable[[argparse.ArgumentParser], None]


def add_study_flags(parser: argparse.ArgumentParser) -> None:
    """``--print-study``, and what no flag says."""
    parser.add_argument(
        "--print-study", action="store_true", help="check everything, print what would hold as a study's file, and end"
    )
    parser.set_defaults(study_folder=None, study_name="", study_title="")


def with_study(
    arguments: argparse.Namespace, add_arguments: AddArguments
) -> tuple[argparse.Namespace, StudyFile | None]:
    """Return what holds if a study's file was named, and the file; else the arguments as they are.

    What the file says becomes the flags' defaults, and the same words are read once more: so what the command line says
    wins, and nothing has a second default.

    Raises:
        ConfigurationError: something in the file is wrong.
    """
    if not arguments.env.endswith(SUFFIX):
        return arguments, None
    study = read_study(Path(arguments.env))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.set_defaults(**study.flags, screening=_screening(study))
    parser.set_defaults(study_folder=study.folder, study_name=study.name, study_title=study.title)
    found = parser.parse_args(arguments.words[1:])  # the first one is the command's name
    found.env = parser.get_default("env")
    return found, study


def _screening(study: StudyFile) -> Path | ScreeningRules | None:
    from signaling.screening_file import parse_rules

    if study.screening is None or isinstance(study.screening, Path):
        return study.screening
    try:
        return parse_rules(study.screening)
    except ConfigurationError as error:
        where = ("screening", *(error.setting.split(".") if error.setting != "the file" else ()))
        raise study.wrong(where, error.value, error.allowed) from None


def print_study(arguments: argparse.Namespace, add_arguments: AddArguments) -> None:
    """Print what holds, as a study's file that says the same; what is a default is marked."""
    from p2pclient.cli.serve_screening import read_screening

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    name = arguments.study_name or DEFAULT_STUDY
    table: dict[str, Any] = {"name": name, "title": arguments.study_title or name}
    remarks = {}
    for path, key in KEYS.items():
        inner = table
        for each in path[:-1]:
            inner = inner.setdefault(each, {})
        inner[path[-1]] = _plain(arguments, key.flag)
        if getattr(arguments, key.flag) == parser.get_default(key.flag):
            remarks[path] = "default"
    table["screening"] = _without_none(msgspec.to_builtins(read_screening(arguments.screening)))
    print("\n".join(toml_lines(table, remarks=remarks)))


def _plain(arguments: argparse.Namespace, flag: str) -> Any:
    """Return a flag's value as the file would say it; None if it says nothing."""
    value = getattr(arguments, flag)
    if flag == "env_arg":
        return _without_none(environment_arguments(arguments, max_steps=False))
    if flag == "prediction":
        return value.split(",")
    if isinstance(value, InputDelay):
        return value.frames if value.range is None else str(value)
    return value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return value
