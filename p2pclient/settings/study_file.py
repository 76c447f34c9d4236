"""A study's file, in TOML: what ``tandem serve STUDY`` is told about a study, key by key checked. Pure but for reading.

Each key says what a flag of ``serve`` says and has no default of its own: what the file does not say is left to the
flag. Values that the flags' own checks bound are not bounded here a second time; :meth:`StudyFile.placed` says where in
the file such a value stands.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.match_settings import STUDY_NAME
from p2pclient.settings.flags import InputDelay
from p2pclient.settings.toml_text import line_of

SUFFIX = ".toml"
MAX_BYTES = 256 * 1024
MAX_TITLE_CHARS = 60
LINKS = ("optional", "required")

MACHINE_FLAGS = (
    "host", "port", "room", "interface", "hidden", "data", "per_address", "tls_cert", "tls_key",
    "log_level", "log_format", "turn", "turn_secret_file", "stun",
)  # fmt: skip
"""What is said about the machine that serves, and not about the study."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file."""

    flag: str
    """What it says, as the flag's name in the parsed arguments."""
    read: Callable[[Any], Any]
    """Gives the flag's value. Raises ValueError, with what is allowed, for what cannot be one."""


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("a number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 1000:
        raise ValueError("a text of 1 to 1000 characters")
    return value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _links(value: Any) -> str:
    if value not in LINKS:
        raise ValueError(" or ".join(LINKS))
    return str(value)


def _delay(value: Any) -> InputDelay:
    try:
        return InputDelay.parse(value if isinstance(value, str) else str(_whole(value)))
    except ValueError:
        raise ValueError('a number of frames, "auto", or "auto:LOWEST-HIGHEST"') from None


def _names(value: Any) -> str:
    every = value if isinstance(value, list) else [value]
    if not every or not all(isinstance(each, str) and each and "," not in each for each in every):
        raise ValueError("a name, or a list of one for each seat")
    return ",".join(every)


def _arguments(value: Any) -> list[str]:
    try:
        if not isinstance(value, Mapping) or any("=" in key or not key for key in value):
            raise ValueError
        return [f"{key}={json.dumps(each, allow_nan=False)}" for key, each in value.items()]
    except (TypeError, ValueError):  # a date, say, is in no environment's arguments
        raise ValueError("a table of plain values by name") from None


def _matching(value: Any) -> str:
    """Return what ``--matching`` would be given, from the same text or from a table of its options."""
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("rule"), str):
        raise ValueError('the name of a rule, or a table with rule = "NAME" and its options')
    rule = value["rule"]
    options = {key: each for key, each in value.items() if key != "rule"}
    known = MATCHING_OPTIONS.get(rule, ())
    for key in options:
        if key not in known:
            raise ValueError(f"of {rule!r}: {', '.join(known) or 'no options'}; not {key!r}")
    said = [_option(key, each) for key, each in options.items()]
    return ":".join((rule, ",".join(said))) if said else rule


MATCHING_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "groups": ("attribute",),
    "balanced": ("conditions",),
    "rtt": ("limit", "relax", "most", "probe"),
    "hook": ("function",),
}


def _option(key: str, value: Any) -> str:
    if key in ("attribute", "function"):
        return _text(value)
    if key == "conditions":
        caps = dict.fromkeys(value) if isinstance(value, list) else value
        if not isinstance(caps, Mapping) or not caps or any(not isinstance(each, str) for each in caps):
            raise ValueError("conditions as a list of names, or as a table of caps by name")
        if any(set(name) & set(",=") or not name for name in caps):
            raise ValueError("names of conditions without , and =")
        return ",".join(name if cap is None else f"{name}={_whole(cap)}" for name, cap in caps.items())
    if key == "probe":
        return f"probe={'yes' if _switch(value) else 'no'}"
    return f"{key}={_number(value):g}"


KEYS: Mapping[tuple[str, ...], Key] = {
    ("environment", "name"): Key("env", _text),
    ("environment", "max_steps"): Key("max_steps", _whole),
    ("environment", "arguments"): Key("env_arg", _arguments),
    ("match", "seats"): Key("seats", _whole),
    ("match", "rate"): Key("rate", _number),
    ("match", "window"): Key("window", _whole),
    ("match", "input_delay"): Key("input_delay", _delay),
    ("match", "prediction"): Key("prediction", _names),
    ("match", "episodes"): Key("episodes", _whole),
    ("match", "seconds"): Key("seconds", _number),
    ("match", "seed"): Key("seed", _whole),
    ("match", "on_desync"): Key("on_desync", _text),
    ("match", "if_lost"): Key("if_lost", _text),
    ("match", "drop_after"): Key("drop_after", _number),
    ("match", "relay"): Key("relay", _text),
    ("match", "may_return"): Key("may_return", _switch),
    ("match", "on_away"): Key("on_away", _text),
    ("match", "away_limit"): Key("away_limit", _number),
    ("match", "tell_away"): Key("tell_away", _switch),
    ("match", "check_tries"): Key("check_tries", _whole),
    ("match", "max_rtt"): Key("max_rtt", _number),
    ("match", "max_loss"): Key("max_loss", _number),
    ("match", "spectators"): Key("spectators", _switch),
    ("match", "observations"): Key("observations", _switch),
    ("match", "allow_mixed_hosts"): Key("allow_mixed_hosts", _switch),
    ("matching",): Key("matching", _matching),
    ("waiting_room", "hold"): Key("hold", _switch),
    ("waiting_room", "wait_limit"): Key("wait_limit", _number),
    ("waiting_room", "after_wait"): Key("after_wait", _text),
    ("waiting_room", "wait_message"): Key("wait_message", _text),
    ("waiting_room", "confirm_within"): Key("confirm_within", _number),
    ("waiting_room", "grace"): Key("grace", _number),
    ("waiting_room", "links"): Key("links", _links),
    ("waiting_room", "lock_finished"): Key("lock_finished", _switch),
    ("waiting_room", "restart_grace"): Key("restart_grace", _number),
}
"""Every key but ``name``, ``title`` and ``screening``. A table's keys are called as the flags are."""

_TABLES = tuple(dict.fromkeys(path[0] for path in KEYS if len(path) > 1))
_TOP = ("name", "title", *dict.fromkeys(path[0] for path in KEYS), "screening")

_OTHER_WORDS = {
    "env_args": "env_arg",
    "rate_hz": "rate",
    "frames": "seconds",
    "drop_after_s": "drop_after",
    "on_drop": "if_lost",
}
"""How checks that know no flags call them."""


@dataclass(frozen=True, slots=True)
class StudyFile:
    """What a study's file says, checked as far as it can be without what it is about."""

    path: Path
    name: str
    """Under which everything of the study is kept."""
    title: str
    flags: Mapping[str, Any]
    """Values by flag, only of what the file says."""
    screening: Path | Mapping[str, Any] | None = None
    """A file of rules, found from this file's folder, or the rules as they stand in it, unchecked."""
    text: str = field(default="", repr=False)
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Where each flag's value stands."""

    @property
    def folder(self) -> Path:
        """Where what it names is looked for."""
        return self.path.resolve().parent

    def placed(self, error: ConfigurationError, values: Mapping[str, Any]) -> ConfigurationError:
        """Return an error of one of the flags' checks with the place in the file, if the value came from there.

        Args:
            values: what holds, by flag: where the command line says otherwise, the error is not the file's.
        """
        word = error.setting.partition(",")[0].removeprefix("--").replace("-", "_")
        flag = _OTHER_WORDS.get(word, word)
        flag = "input_delay" if flag == "delay_range" else flag
        path = self.paths.get(flag)
        if path is None or values.get(flag) != self.flags[flag]:
            return error
        return self.wrong(path, error.value, error.allowed)

    def wrong(self, path: tuple[str, ...], value: Any, allowed: str) -> ConfigurationError:
        """Return the error of a key that says the wrong thing, with its place."""
        return _wrong(self.path, self.text, path, value, allowed)


def read_study(path: Path) -> StudyFile:
    """Return what a study's file says.

    Raises:
        ConfigurationError: it cannot be read, or something in it is wrong; names the key and the line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError("the study's file", str(path), f"a file that can be read ({error})") from None
    if len(raw) > MAX_BYTES:
        raise ConfigurationError("the study's file", str(path), f"a file of at most {MAX_BYTES >> 10} KB")
    return parse_study(raw, path)


def parse_study(raw: bytes, path: Path) -> StudyFile:
    """Return what the file's bytes say. Raises ConfigurationError."""
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOML's errors and those of UTF-8 are ValueErrors
        raise ConfigurationError("the study's file", str(path), f"a file in TOML ({error})") from None
    _check_known(table, path, text)
    for key in ("name", "title"):
        if key in table and not isinstance(table[key], str):
            raise _wrong(path, text, (key,), table[key], "a text")
    name, title = table.get("name"), " ".join(table.get("title", "").split())
    if name is None:
        raise ConfigurationError(f"name in {path}", None, 'the study\'s name, such as name = "pairs-2026"')
    if not STUDY_NAME.match(name):
        raise _wrong(path, text, ("name",), name, "1 to 64 letters, digits and -")
    if len(title) > MAX_TITLE_CHARS or not title.isprintable():
        raise _wrong(path, text, ("title",), table["title"], f"at most {MAX_TITLE_CHARS} characters on one line")
    flags, paths = {}, {}
    for where, setting in KEYS.items():
        found, value = _at(table, where)
        if found:
            try:
                flags[setting.flag] = setting.read(value)
            except ValueError as error:
                raise _wrong(path, text, where, value, str(error)) from None
            paths[setting.flag] = where
    screening = table.get("screening")
    if screening is not None and not isinstance(screening, str | Mapping):
        raise _wrong(path, text, ("screening",), screening, "the name of a file, or a table of rules")
    if isinstance(screening, str):
        screening = path.resolve().parent / screening
    return StudyFile(path, name, title or name, flags, screening, text, paths)


def _check_known(table: Mapping[str, Any], path: Path, text: str) -> None:
    for key, value in table.items():
        if key not in _TOP:
            raise _unknown((key,), _TOP, value, path, text)
        if key not in _TABLES:
            continue
        if not isinstance(value, Mapping):
            raise _wrong(path, text, (key,), value, f"a table: [{key}], and its keys on the lines below")
        known = tuple(where[1] for where in KEYS if where[0] == key)
        for name, each in value.items():
            if name not in known:
                raise _unknown((key, name), known, each, path, text)


def _unknown(where: tuple[str, ...], known: tuple[str, ...], value: Any, path: Path, text: str) -> ConfigurationError:
    """Return the error of a key that there is not, which says what was meant, as far as that can be guessed."""
    name = re.sub(r"[ -]", "_", where[-1]).lower()
    elsewhere = [each[0] for each in KEYS if len(each) > 1 and each[-1] == name]
    close = difflib.get_close_matches(name, known, 1)
    if name in MACHINE_FLAGS:
        guess = f"no such key: this is about the machine, and said with --{name.replace('_', '-')}"
    elif elsewhere and elsewhere[0] != where[0]:
        guess = f"no such key here; it belongs under [{elsewhere[0]}]"
    elif close:
        guess = f"no such key; did you mean {close[0]}?"
    else:
        guess = f"no such key; there are {', '.join(known)}"
    return _wrong(path, text, where, value, guess)


def _at(table: Mapping[str, Any], where: tuple[str, ...]) -> tuple[bool, Any]:
    value: Any = table
    for name in where:
        if name not in value:
            return False, None
        value = value[name]
    return True, value


def _wrong(path: Path, text: str, where: tuple[str, ...], value: Any, allowed: str) -> ConfigurationError:
    line = line_of(text, where)
    place = f"{path}, line {line}" if line is not None else str(path)
    return ConfigurationError(f"{'.'.join(where)} in {place}", value, allowed)
