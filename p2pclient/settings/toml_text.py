"""TOML beyond what the standard library does: on which line something stands, and plain data as text. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def line_of(text: str, path: Sequence[str]) -> int | None:
    """Return the line, from 1, on which a key or a table begins; None if that cannot be said.

    The parser of the standard library keeps no places, but it can be asked what the beginning of a file means: the key
    stands where it is there for the first time. A value over several lines is whole only at its last one.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        before = _parsed(lines[: number - 1]) if path[-1] in line else None
        if before is None or _has(before, path):
            continue
        ends = (_parsed(lines[:end]) for end in range(number, len(lines) + 1))
        whole = next((each for each in ends if each is not None), None)
        if whole is not None and _has(whole, path):
            return number
    return None


def _parsed(lines: Sequence[str]) -> Mapping[str, Any] | None:
    """Return what the lines mean; None if they end within a value."""
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _has(table: Mapping[str, Any], path: Sequence[str]) -> bool:
    found: Any = table
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return False
        found = found[name]
    return True


def toml_lines(
    table: Mapping[str, Any], prefix: tuple[str, ...] = (), *, remarks: Mapping[tuple[str, ...], str]
) -> list[str]:
    """Return the lines of a table: its own keys, then the tables in it. What is None is left out.

    Args:
        remarks: what is said behind a key, by its path.
    """
    lines = []
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            remark = remarks.get((*prefix, key))
            lines.append(f"{_key(key)} = {toml_value(value)}{f'  # {remark}' if remark else ''}")
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            path = (*prefix, key)
            is_bare = all(isinstance(each, Mapping) for each in value.values())
            head = [] if is_bare else ["", f"[{'.'.join(map(_key, path))}]"]
            lines += [*head, *toml_lines(value, path, remarks=remarks)]
    return lines


def toml_value(value: Any) -> str:
    """Return plain data as a value on one line.

    Raises:
        ValueError: TOML has nothing for it, such as for None.
    """
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are TOML's, but for one character.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            return "{ " + ", ".join(f"{_key(key)} = {toml_value(each)}" for key, each in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(toml_value(each) for each in value) + "]"
    raise ValueError(f"TOML cannot say {value!r}")


def _key(key: str) -> str:
    return key if _BARE.match(key) else toml_value(key)
