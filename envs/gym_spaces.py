"""Gymnasium's action spaces as data, and their values as plain ones and back.

What :mod:`p2pclient.common.spaces` calls a space is plain data, and a value of it is too. An environment wants its own:
arrays with its dtype and shape, tuples, dicts in its order.
"""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np
from gymnasium import spaces

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.spaces import MAX_ACTION_BYTES, Space, check_space, input_width
from p2pclient.common.spaces_box import BOX_DTYPES
from p2pclient.common.spaces_kind import is_count

_KINDS = "Discrete, MultiDiscrete, MultiBinary, Box, Text, and Dict and Tuple of these"
_WRAP = "have a wrapper (gymnasium.ActionWrapper) take {} and turn it into what the environment wants"

_NOTHING = frozenset({"noop", "none", "nothing", "donothing", "noaction", "idle"})
"""What environments call the action that does nothing, in small letters and without anything in between."""


def space_data(space: Any, *, setting: str) -> Space:
    """Return ``space`` as data whose values can be sent as inputs.

    Args:
        space: of Gymnasium.
        setting: what the space is called in an error, such as ``action space of agent 'left'``.

    Raises:
        ConfigurationError: its values have no fixed number of bytes, or more than 255. Says what to do.
    """
    data = _data(space, setting)
    width = input_width(data)
    if width > MAX_ACTION_BYTES:
        raise ConfigurationError(
            setting,
            space,
            f"at most {MAX_ACTION_BYTES} bytes per action; this one takes {width}: "
            + _WRAP.format("fewer numbers or ones of a smaller dtype"),
        )
    return check_space(data, setting=setting)


def _data(space: Any, setting: str) -> Space:
    if isinstance(space, spaces.Discrete):
        _check_counts(space, [int(space.n)], setting)
        return {"kind": "discrete", "n": int(space.n), "start": int(getattr(space, "start", 0))}
    if isinstance(space, spaces.MultiDiscrete):
        _check_counts(space, _flat(space.nvec), setting)
        data: Space = {"kind": "multi_discrete", "nvec": _flat(space.nvec)}
        start = _flat(getattr(space, "start", np.zeros_like(space.nvec)))
        return {**data, "start": start} if any(start) else data
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "multi_binary", "n": int(np.prod(space.shape))}
    if isinstance(space, spaces.Box):
        return _box_data(space, setting)
    if isinstance(space, spaces.Text):
        return _text_data(space, setting)
    if isinstance(space, spaces.Dict):
        if not space.spaces or not all(type(key) is str for key in space.spaces):
            raise ConfigurationError(setting, space, "a Dict with keys, all of them str: " + _WRAP.format("one"))
        parts = {key: _data(space[key], f"{setting} at {key!r}") for key in sorted(space.spaces)}
        return {"kind": "dict", "spaces": parts}
    if isinstance(space, spaces.Tuple) and len(space.spaces) > 0:
        parts_in_order = [_data(part, f"{setting} at {i}") for i, part in enumerate(space.spaces)]
        return {"kind": "tuple", "spaces": parts_in_order}
    raise ConfigurationError(setting, space, f"{_KINDS}: " + _WRAP.format("one of them"))


def _check_counts(space: Any, counts: List[int], setting: str) -> None:
    if not all(is_count(n) for n in counts):
        raise ConfigurationError(
            setting, space, "at most 4294967296 choices, which 4 bytes tell apart: " + _WRAP.format("fewer")
        )


def _box_data(space: Any, setting: str) -> Space:
    dtype = space.dtype.newbyteorder("<").str
    if dtype not in BOX_DTYPES:
        names = ", ".join(np.dtype(name).name for name in BOX_DTYPES)
        raise ConfigurationError(setting, space, f"a Box of {names}: " + _WRAP.format("one"))
    count = int(np.prod(space.shape))
    if not 1 <= count <= MAX_ACTION_BYTES:
        # Pictures have millions of bounds: they are not looked at.
        raise ConfigurationError(
            setting,
            space,
            f"a Box of 1 to {MAX_ACTION_BYTES} bytes per action; this one has {count} numbers: "
            + _WRAP.format("fewer numbers"),
        )
    low, high = ([bound if _is_finite(bound) else None for bound in _flat(side)] for side in (space.low, space.high))
    return {"kind": "box", "dtype": dtype, "shape": [int(extent) for extent in space.shape], "low": low, "high": high}


def _is_finite(bound: Any) -> bool:
    return bool(np.isfinite(bound))


def _text_data(space: Any, setting: str) -> Space:
    charset = "".join(sorted(space.character_set))
    if space.max_length < 1 or not charset:
        raise ConfigurationError(setting, space, "a Text of one or more characters: " + _WRAP.format("one"))
    if space.max_length >= MAX_ACTION_BYTES:
        raise ConfigurationError(
            setting,
            space,
            f"a Text of at most {MAX_ACTION_BYTES - 1} characters: " + _WRAP.format("a shorter one"),
        )
    return {"kind": "text", "min": int(space.min_length), "max": int(space.max_length), "charset": charset}


def _flat(array: Any) -> List[Any]:
    """Return the numbers of an array in C order, as Python's own; truth values as 0 and 1."""
    flat = np.asarray(array).reshape(-1)
    items: List[Any] = (flat.astype(np.uint8) if flat.dtype.kind == "b" else flat).tolist()
    return items


def to_action(space: Any, value: Any) -> Any:
    """Return a plain value as what ``env.step`` takes. It is fresh: the environment may write to it.

    Args:
        space: of Gymnasium.
        value: of the data of ``space``, as from :func:`~p2pclient.common.spaces.decode_action`.
    """
    if isinstance(space, (spaces.Discrete, spaces.Text)):
        return value
    if isinstance(space, spaces.Dict):
        return {key: to_action(part, value[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple([to_action(part, item) for part, item in zip(space.spaces, value)])
    return np.array(value, dtype=space.dtype).reshape(space.shape)


def plain_value(space: Any, action: Any) -> Any:
    """Return an action of the environment, as a policy or ``space.sample`` gives it, as a plain value.

    Raises:
        ConfigurationError: it has another form than the space's actions. Whether it is within the bounds is only seen
            when it is encoded.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(action, dict) or action.keys() != space.spaces.keys():
            raise ConfigurationError("action", action, f"a value of {space}")
        return {key: plain_value(space[key], action[key]) for key in sorted(space.spaces)}
    if isinstance(space, spaces.Tuple):
        if not isinstance(action, (tuple, list)) or len(action) != len(space.spaces):
            raise ConfigurationError("action", action, f"a value of {space}")
        return [plain_value(part, item) for part, item in zip(space.spaces, action)]
    if isinstance(space, spaces.Text):
        return action
    if isinstance(space, spaces.Discrete):
        return action.item() if isinstance(action, (np.ndarray, np.generic)) and action.size == 1 else action
    array = np.asarray(action)
    if array.shape != space.shape:
        raise ConfigurationError("action", action, f"a value of {space}")
    return _flat(array)


def neutral_value(space: Any, meanings: Optional[List[str]] = None) -> Any:
    """Return the plain value of nothing being pressed.

    Args:
        space: of Gymnasium.
        meanings: what the environment calls the actions of a Discrete space, in order, as ``get_action_meanings`` of
            Atari games does; None if it does not.

    Returns:
        The action that is called something like ``NOOP``; else 0, or what is nearest to it in the space. Of a Text, the
        shortest, of spaces if there may be any.
    """
    if isinstance(space, spaces.Discrete):
        start, n = int(getattr(space, "start", 0)), int(space.n)
        for index, meaning in enumerate((meanings or [])[:n]):
            if _letters(meaning) in _NOTHING:
                return start + index
        return min(max(0, start), start + n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        least = np.asarray(getattr(space, "start", np.zeros_like(space.nvec)))
        return _flat(np.clip(np.zeros_like(least), least, least + space.nvec - 1))
    if isinstance(space, spaces.MultiBinary):
        return [0] * int(np.prod(space.shape))
    if isinstance(space, spaces.Box):
        return _flat(np.clip(np.zeros(space.shape, space.dtype), space.low, space.high))
    if isinstance(space, spaces.Text):
        characters = space.character_set
        return (" " if " " in characters else min(characters)) * int(space.min_length)
    if isinstance(space, spaces.Dict):
        return {key: neutral_value(space[key]) for key in sorted(space.spaces)}
    return [neutral_value(part) for part in space.spaces]


def _letters(meaning: Any) -> str:
    return "".join(character for character in str(meaning).lower() if character.isalnum())
