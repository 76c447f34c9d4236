"""Action spaces as data, and their values as compact bytes.

A space crosses the pipe and the wire as a plain dict (``kind`` plus parameters), so that no client process needs
Gymnasium:

==================  ==================================================  ==========================================
kind                parameters                                          value
==================  ==================================================  ==========================================
``discrete``        ``n``; ``start``, 0 unless given                    int
``multi_discrete``  ``nvec``; ``start`` by item, zeros unless given     list of int
``multi_binary``    ``n``                                               list of 0 and 1
``box``             ``dtype`` (``<f4``), ``shape``; ``low`` and         list of float or int, in C order
                    ``high`` by item in C order, None if unbounded
``text``            ``max``, ``charset``; ``min``, 0 unless given       str
``dict``            ``spaces`` by key                                   dict
``tuple``           ``spaces``                                          list
==================  ==================================================  ==========================================

The values of one space all take the same number of bytes, at least 1 and at most 255. Integers are little-endian;
indexes take the smallest of 1, 2, 4 bytes that holds the largest. A text is its length, then its characters' indexes
in ``charset``, filled up with zeros. The parts of a dict follow one another in the order of the sorted keys.

Each value has exactly one form in bytes, and all other bytes are refused: what two peers hold for the same is the same.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import MAX_INPUT_BYTES
from p2pclient.common.spaces_box import BOX
from p2pclient.common.spaces_index import DISCRETE, MULTI_BINARY, MULTI_DISCRETE, TEXT
from p2pclient.common.spaces_kind import Draws, Kind, Space, bad_input, is_text, not_in, to_items

__all__ = [
    "MAX_ACTION_BYTES",
    "Space",
    "check_space",
    "decode_action",
    "draw_action",
    "encode_action",
    "input_width",
]

MAX_ACTION_BYTES = MAX_INPUT_BYTES - 1
"""Bytes of one value at most: one of a seat's input is for its flags."""

_MAX_DEPTH = 16
"""Levels of dicts and tuples."""


def check_space(space: Any, *, setting: str = "action space") -> Space:
    """Return ``space`` if its values can be sent as inputs.

    Raises:
        ConfigurationError: the kind is unknown, a parameter is wrong, or a value needs more than 255 bytes.
    """
    allowed = f"{', '.join(KINDS)}, with at most {MAX_ACTION_BYTES} bytes per value"
    if not isinstance(space, dict) or not _is_space(space, 0):
        raise ConfigurationError(setting, space, allowed)
    width = input_width(space)
    if width > MAX_ACTION_BYTES:
        raise ConfigurationError(setting, space, f"{allowed}; this one takes {width}")
    return space


def _is_space(space: Any, depth: int) -> bool:
    if depth > _MAX_DEPTH or not isinstance(space, dict) or not isinstance(space.get("kind"), str):
        return False
    kind = KINDS.get(space["kind"])
    return kind is not None and kind.is_good(space) and all(_is_space(part, depth + 1) for part in kind.parts(space))


def input_width(space: Space) -> int:
    """Bytes that one value of ``space`` takes."""
    return KINDS[space["kind"]].width(space)


def encode_action(space: Space, value: Any) -> bytes:
    """Turn a value of ``space`` into its bytes.

    Sequences may be arrays, and numbers NumPy's. A number for a box of floats is rounded to the nearest one of its
    dtype, as NumPy does; nothing else is ever rounded, and nothing is clipped.

    Raises:
        ConfigurationError: the value is not in the space.
    """
    return KINDS[space["kind"]].encode(space, value)


def decode_action(space: Space, data: bytes) -> Any:
    """Turn bytes into the value they are: plain data, see the table above.

    Raises:
        RemoteProtocolError: no value of the space has these bytes (reason ``bad-input``). Bytes come from peers.
    """
    kind = KINDS[space["kind"]]
    if len(data) != kind.width(space):
        raise bad_input(space, f"{len(data)} bytes")
    return kind.decode(space, data)


def draw_action(space: Space, generator: Draws) -> Any:
    """Return a value of ``space``, drawn evenly; boxes without bounds give numbers near 0 or near their one bound."""
    return KINDS[space["kind"]].draw(space, generator)


def _dict_items(space: Space) -> List[Tuple[str, Space]]:
    return sorted(space["spaces"].items(), key=lambda item: item[0])


def _dict_parts(space: Space) -> List[Space]:
    return [part for _, part in _dict_items(space)]


def _tuple_parts(space: Space) -> List[Space]:
    parts: List[Space] = space["spaces"]
    return parts


def _dict_is_good(space: Space) -> bool:
    parts = space.get("spaces")
    return isinstance(parts, dict) and bool(parts) and all(is_text(key) for key in parts)


def _tuple_is_good(space: Space) -> bool:
    parts = space.get("spaces")
    return isinstance(parts, list) and bool(parts)


def _dict_width(space: Space) -> int:
    return sum(input_width(part) for part in space["spaces"].values())


def _tuple_width(space: Space) -> int:
    return sum(input_width(part) for part in space["spaces"])


def _encode_dict(space: Space, value: Any) -> bytes:
    if not isinstance(value, dict) or value.keys() != space["spaces"].keys():
        raise not_in(space, value)
    return b"".join(encode_action(part, value[key]) for key, part in _dict_items(space))


def _encode_tuple(space: Space, value: Any) -> bytes:
    values = to_items(space, value)
    if len(values) != len(space["spaces"]):
        raise not_in(space, value)
    return b"".join(encode_action(part, item) for part, item in zip(space["spaces"], values))


def _decode_parts(parts: List[Space], data: bytes) -> Iterator[Any]:
    at = 0
    for part in parts:
        end = at + input_width(part)
        yield KINDS[part["kind"]].decode(part, data[at:end])
        at = end


def _decode_dict(space: Space, data: bytes) -> Dict[str, Any]:
    return dict(zip(sorted(space["spaces"]), _decode_parts(_dict_parts(space), data)))


def _decode_tuple(space: Space, data: bytes) -> List[Any]:
    return list(_decode_parts(space["spaces"], data))


def _draw_dict(space: Space, generator: Draws) -> Dict[str, Any]:
    return {key: draw_action(part, generator) for key, part in _dict_items(space)}


def _draw_tuple(space: Space, generator: Draws) -> List[Any]:
    return [draw_action(part, generator) for part in space["spaces"]]


KINDS: Dict[str, Kind] = {
    "discrete": DISCRETE,
    "multi_discrete": MULTI_DISCRETE,
    "multi_binary": MULTI_BINARY,
    "box": BOX,
    "text": TEXT,
    "dict": Kind(_dict_is_good, _dict_width, _encode_dict, _decode_dict, _draw_dict, _dict_parts),
    "tuple": Kind(_tuple_is_good, _tuple_width, _encode_tuple, _decode_tuple, _draw_tuple, _tuple_parts),
}
"""What there is, by name. Dicts and tuples ask for their parts here."""
