"""The form of a state that crosses machines, around what the environment gives: ``{"frame": int, "data": {...}}``."""

from __future__ import annotations

from itertools import islice
from typing import Any, Tuple

from envs.plain import differences
from p2pclient.common.errors import EnvHostError

_MOST_NAMED = 8
"""Places that are named of what did not come back."""


def take_apart(state: Any, seats: int) -> Tuple[int, Any]:
    """Return ``(frame, data)`` of a portable state, checked as far as it is ours. It may come from another machine.

    Raises:
        EnvHostError: it is not one.
    """
    data = state.get("data") if isinstance(state, dict) else None
    frame = state.get("frame") if isinstance(state, dict) else None
    good = (
        type(frame) is int
        and frame >= 0
        and isinstance(data, dict)
        and set(data) == {"environment", "totals", "gone"}
        and _is_list(data["totals"], seats, float)
        and _is_list(data["gone"], seats, bool)
    )
    if not good:
        raise EnvHostError("this is not a state of this simulation")
    assert type(frame) is int
    return frame, data


def check_restored(given: Any, found: Any) -> None:
    """Make sure that an environment which was given a state is in it.

    Args:
        given: what its ``set_state`` was given.
        found: what its ``get_state`` gives now.

    Raises:
        EnvHostError: something did not come back; named with both values.
    """
    lost = [
        f"{path} is {there!r:.80}, not {here!r:.80}"
        for path, here, there in islice(differences(given, found, "environment"), _MOST_NAMED)
    ]
    if lost:
        raise EnvHostError(f"set_state did not restore everything: {'; '.join(lost)}")


def _is_list(value: Any, length: int, kind: type) -> bool:
    return isinstance(value, list) and len(value) == length and all(type(item) is kind for item in value)
