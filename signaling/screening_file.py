"""A researcher's file of rules, checked: what is wrong in it is said with the name of the key. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from p2pclient.common.errors import ConfigurationError
from signaling.screening_rules import RefreshRule, ScreeningRules, TimedRule, WindowedRule

_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?\Z", re.DOTALL)
_FIELD = re.compile(r"(unknown|required) field `([^`]*)`")
_WORDS = (
    ("Expected `object", "a table of keys"),
    ("matching regex '\\\\A[0-9]", "a version such as 0.4 or 3.11.2"),
    ("matching regex", "module:function"),
)
_TYPES = {"float": "a number", "int": "a whole number", "str": "a text", "bool": "true or false", "array": "a list"}


def parse_rules(table: Mapping[str, Any]) -> ScreeningRules:
    """Return the rules in what was read from a file.

    Raises:
        ConfigurationError: something in it is wrong; names the key.
    """
    try:
        rules = msgspec.convert(dict(table), ScreeningRules)
    except msgspec.ValidationError as error:
        raise _explain(str(error), table) from None
    for part in ("entry", "playing"):
        of_part = getattr(rules, part)
        for name in of_part.__struct_fields__ if of_part is not None else ():
            _check_order(f"{part}.{name}", getattr(of_part, name))
    return rules


def _check_order(name: str, rule: Any) -> None:
    """Raise for limits that contradict each other."""
    if isinstance(rule, WindowedRule):
        if rule.violations > rule.window:
            raise ConfigurationError(f"{name}.violations", rule.violations, f"at most {name}.window, {rule.window}")
        if rule.warn_at > rule.violations:
            allowed = f"at most {name}.violations, {rule.violations}"
            raise ConfigurationError(f"{name}.warn_violations", rule.warn_violations, allowed)
    if isinstance(rule, TimedRule) and rule.warn_after_s > rule.exclude_after_s:
        allowed = f"at most {name}.exclude_after_s, {rule.exclude_after_s:g}"
        raise ConfigurationError(f"{name}.warn_after_s", rule.warn_after_s, allowed)
    if isinstance(rule, RefreshRule) and rule.at_least_hz > rule.at_most_hz:
        raise ConfigurationError(f"{name}.at_least_hz", rule.at_least_hz, f"at most {name}.at_most_hz")


def _explain(text: str, table: Mapping[str, Any]) -> ConfigurationError:
    """Turn an error of msgspec into one that names the key, its value, and what is allowed."""
    found = _PLACE.match(text)
    assert found is not None, "the pattern matches every text"
    what, path = found["what"], (found["path"] or "").removeprefix(".")
    field = _FIELD.search(what)
    if field is None:
        return ConfigurationError(path or "the file", _value_at(table, path), _allowed(what, path))
    path = ".".join(filter(None, (path, field[2])))
    if field[1] == "required":
        return ConfigurationError(path, None, "it must be given")
    known = ", ".join(each.encode_name for each in msgspec.structs.fields(_kind_at(path.rpartition(".")[0])))
    return ConfigurationError(path, _value_at(table, path), f"no such key here; there are {known}")


def _allowed(what: str, path: str) -> str:
    choices = [str(each) for literal in _literals(_kind_at(path)) for each in get_args(literal)]
    if choices:
        return ", ".join(choices)
    for sign, words in _WORDS:
        if sign in what:
            return words
    for name, words in _TYPES.items():
        what = what.replace(f"`{name}`", words)
    return what.removeprefix("Expected ")


def _kind_at(path: str) -> Any:
    """Return the type of what stands at a place of the file, without ``None``."""
    kind: Any = ScreeningRules
    for name in path.split(".") if path else ():
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        kind = fields[name.partition("[")[0]]
        kind = next((each for each in get_args(kind) if hasattr(each, "__struct_fields__")), kind)
    return kind


def _literals(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return [kind]
    return [found for each in get_args(kind) for found in _literals(each)]


def _value_at(table: Mapping[str, Any], path: str) -> Any:
    value: Any = table
    for name in path.split(".") if path else ():
        key, _, index = name.partition("[")
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
        if index and isinstance(value, list):
            value = value[int(index.rstrip("]"))]
    return value
