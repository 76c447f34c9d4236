"""Keys for single environments: what an environment says itself, and what is known of those that say nothing.

An environment offers its own in its metadata, by the names that people call keys by::

    metadata = {"tandem_controls": {"left or A": 0, "space": {"action": 2, "label": "jump"}, "nothing": 3}}

An entry is an action, or an ``action`` with a ``label`` for the help line. The first of several keys is for one hand,
the second for the other, where two people share a keyboard. ``nothing`` is the action while no key is down.
The table here has the same form.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

METADATA_KEY = "tandem_controls"
NOTHING = "nothing"

_CODES = {
    "left": "ArrowLeft",
    "right": "ArrowRight",
    "up": "ArrowUp",
    "down": "ArrowDown",
    "space": "Space",
    "enter": "Enter",
    "tab": "Tab",
    "shift": "ShiftLeft",
    "control": "ControlLeft",
    "backspace": "Backspace",
    "comma": "Comma",
    "period": "Period",
    "minus": "Minus",
}
_CODE = re.compile(r"Key[A-Z]|Digit[0-9]|Numpad[0-9]|Arrow(Left|Right|Up|Down)")

_SQUARES = "QWEASDZXC"
"""Tic-tac-toe's squares lie as these keys do, row by row; it counts them column by column."""
_KNOWN: Tuple[Tuple[str, Dict[str, Any]], ...] = (
    (
        "classic/tictactoe",
        {key: {"action": 3 * (n % 3) + n // 3, "label": "squares, as they lie"} for n, key in enumerate(_SQUARES)},
    ),
    ("classic/connect_four", {str(n + 1): {"action": n, "label": f"column {n + 1}"} for n in range(7)}),
    (
        "butterfly/pistonball",
        {"up or W": {"action": [1.0], "label": "up"}, "down or S": {"action": [-1.0], "label": "down"}},
    ),
    (
        "CarRacing-",
        {
            "left or A": {"action": [-1.0, 0.0, 0.0], "label": "left"},
            "right or D": {"action": [1.0, 0.0, 0.0], "label": "right"},
            "up or W": {"action": [0.0, 1.0, 0.0], "label": "gas"},
            "down or S": {"action": [0.0, 0.0, 0.8], "label": "brake"},
        },
    ),
    (
        "LunarLander",
        {
            "up or W": {"action": [1.0, 0.0], "label": "main engine"},
            "left or A": {"action": [0.0, -1.0], "label": "left engine"},
            "right or D": {"action": [0.0, 1.0], "label": "right engine"},
        },
    ),
)
"""By the beginning of the environment's name; an entry counts where its actions are such of the environment."""


class OwnKey(NamedTuple):
    """One entry of a mapping."""

    codes: Tuple[str, ...]
    """As W3C UI Events name them; none for :data:`NOTHING`."""
    action: Any
    label: str


def offered(env: Any) -> Optional[Dict[Any, Any]]:
    """Return the mapping that an environment offers; None if it offers none."""
    metadata = getattr(env, "metadata", None)
    return metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None


def known(name: str) -> List[Dict[Any, Any]]:
    """Return the mappings for an environment of this name."""
    return [mapping for start, mapping in _KNOWN if name.startswith(start)]


def read_mapping(mapping: Any) -> List[OwnKey]:
    """Return the entries of a mapping in its order.

    Raises:
        ValueError: it is none; the message says what is at fault.
    """
    if not isinstance(mapping, dict) or not mapping:
        raise ValueError("a dict of keys and actions")
    return [_entry(key, value) for key, value in mapping.items()]


def _entry(key: Any, value: Any) -> OwnKey:
    action, label = value, ""
    if isinstance(value, dict) and "action" in value:
        action, label = value["action"], str(value.get("label", ""))
    if key == NOTHING:
        return OwnKey((), action, label)
    names = key.split(" or ") if isinstance(key, str) else [key]
    return OwnKey(tuple([_code(name) for name in names]), action, label or f"action {action}")


def _code(key: Any) -> str:
    if isinstance(key, str):
        if key.lower() in _CODES:
            return _CODES[key.lower()]
        if len(key) == 1 and key.isascii() and key.isalpha():
            return f"Key{key.upper()}"
        if len(key) == 1 and key in "0123456789":
            return f"Digit{key}"
        if _CODE.fullmatch(key):
            return key
    raise ValueError(f"keys that are a letter, a digit, {', '.join(_CODES)}, or {NOTHING!r}, not {key!r}")
