"""What two peers must have in common before frame 0, and how a difference is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROTOCOL_VERSION = 3

_ADVICE = {
    "protocol": "install the same version of Tandem on both machines",
    "version": "install the same version of Tandem on both machines",
    "environment source": "install the same version of the environment's package on both machines",
    "host python": "use the same Python on both machines, or serve with --allow-mixed-hosts",
    "host numpy": "use the same NumPy on both machines, or serve with --allow-mixed-hosts",
    "host system": "use the same kind of system on both machines, or serve with --allow-mixed-hosts",
    "host machine": "use the same kind of processor on both machines, or serve with --allow-mixed-hosts",
    "numeric probe": "the two machines calculate differently; use the same Python, NumPy and kind of processor",
}

_HOST_FIELDS = ("host python", "host numpy", "host system", "host machine")
_MAX_TEXT = 120
_MAX_DIFFERENCES = 20


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, allow_mixed_hosts: bool = False) -> list[str]:
    """Name every field in which two peers' facts differ, each with both values and what to do; empty if none.

    Args:
        allow_mixed_hosts: Python, NumPy, system and machine type may differ as long as the numeric probes agree.
    """
    found = []
    for name in [*ours, *(n for n in theirs if n not in ours)]:
        if allow_mixed_hosts and name in _HOST_FIELDS:
            continue
        mine, other = ours.get(name), theirs.get(name)
        if mine != other or type(mine) is not type(other):
            advice = _ADVICE.get(name, "")
            sentence = f"{_short(name)}: here {_short(mine)}, there {_short(other)}"
            found.append(f"{sentence} ({advice})" if advice else sentence)
    if len(found) > _MAX_DIFFERENCES:
        found[_MAX_DIFFERENCES:] = [f"and {len(found) - _MAX_DIFFERENCES} more"]
    return found


def _short(value: Any) -> str:
    try:
        text = str(value)
    except RecursionError:  # a peer may nest values as deep as it likes
        text = "a deeply nested value"
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
