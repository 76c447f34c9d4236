"""The kind ``box``: numbers of one type, each between two bounds.

Numbers travel as they are in memory, little-endian. The bytes of a value are the only ones for it: NaN and infinities,
of which some have many, are in no box. Minus zero is a number of its own.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from struct import Struct
from struct import error as StructError
from typing import Any, Dict, List, NamedTuple, Tuple

from p2pclient.common.spaces_kind import Draws, Kind, Space, bad_input, not_in, to_items, to_whole


class _Type(NamedTuple):
    """A type of numbers: its letter for :mod:`struct`, its size, and its least and greatest finite number."""

    letter: str
    size: int
    least: Any
    greatest: Any
    is_float: bool = False


def _signed(letter: str, size: int) -> _Type:
    return _Type(letter, size, -(1 << 8 * size - 1), (1 << 8 * size - 1) - 1)


def _unsigned(letter: str, size: int) -> _Type:
    return _Type(letter, size, 0, (1 << 8 * size) - 1)


def _floating(letter: str, size: int, bits: int, exponent: int) -> _Type:
    """IEEE 754 with ``bits`` of significand, the hidden one too, and this greatest exponent."""
    greatest = (2.0 - 2.0 ** (1 - bits)) * 2.0**exponent
    return _Type(letter, size, -greatest, greatest, True)


_TYPES: Dict[str, _Type] = {
    "<f2": _floating("e", 2, 11, 15),
    "<f4": _floating("f", 4, 24, 127),
    "<f8": _floating("d", 8, 53, 1023),
    "|i1": _signed("b", 1),
    "<i2": _signed("h", 2),
    "<i4": _signed("i", 4),
    "<i8": _signed("q", 8),
    "|u1": _unsigned("B", 1),
    "<u2": _unsigned("H", 2),
    "<u4": _unsigned("I", 4),
    "<u8": _unsigned("Q", 8),
    # No "?", which takes every byte but 0 for true.
    "|b1": _Type("B", 1, 0, 1),
}

BOX_DTYPES: Tuple[str, ...] = tuple(_TYPES)
"""What ``dtype`` may be, as NumPy writes it."""


@lru_cache(maxsize=64)
def _form(letter: str, count: int) -> Struct:
    return Struct(f"<{count}{letter}")


def _is_good(space: Space) -> bool:
    name, shape, low, high = (space.get(key) for key in ("dtype", "shape", "low", "high"))
    if not isinstance(name, str) or name not in _TYPES or not isinstance(shape, list):
        return False
    if any(not isinstance(extent, int) or isinstance(extent, bool) or extent < 1 for extent in shape):
        return False
    if not isinstance(low, list) or not isinstance(high, list) or not len(low) == len(high) == prod(shape):
        return False
    if not all(bound is None or _is_exact(_TYPES[name], bound) for bound in (*low, *high)):
        return False
    return all(least <= greatest for least, greatest in _bounds(space))


def _is_exact(of: _Type, number: Any) -> bool:
    """Is it a number of the type, not only near one?"""
    if type(number) is not (float if of.is_float else int) or not of.least <= number <= of.greatest:
        return False
    form = _form(of.letter, 1)
    return bool(form.unpack(form.pack(number))[0] == number)


def _bounds(space: Space) -> List[Tuple[Any, Any]]:
    of = _TYPES[space["dtype"]]
    return [
        (of.least if low is None else low, of.greatest if high is None else high)
        for low, high in zip(space["low"], space["high"])
    ]


def _width(space: Space) -> int:
    return _TYPES[space["dtype"]].size * len(space["low"])


def _encode(space: Space, value: Any) -> bytes:
    of, items = _TYPES[space["dtype"]], to_items(space, value)
    if len(items) != len(space["low"]):
        raise not_in(space, value)
    numbers = [_to_real(space, item) if of.is_float else to_whole(item) for item in items]
    form = _form(of.letter, len(items))
    try:
        data = form.pack(*numbers)
    except (StructError, OverflowError):
        raise not_in(space, value) from None
    # After rounding: 0.1 is in a box of float32 that ends at the float32 nearest to 0.1.
    if not _is_within(space, form.unpack(data)):
        raise not_in(space, value)
    return data


def _to_real(space: Space, value: Any) -> Any:
    """Return a number of any type for :mod:`struct`, which rounds it to the nearest one of the box's type.

    What equals no float, such as a complex number, is refused.
    """
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str) or hasattr(value, "__len__"):
        raise not_in(space, value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise not_in(space, value) from None
    if number != value:
        raise not_in(space, value)
    return number


def _is_within(space: Space, numbers: Tuple[Any, ...]) -> bool:
    of = _TYPES[space["dtype"]]
    for number, low, high in zip(numbers, space["low"], space["high"]):
        # NaN compares with nothing, and infinities are beyond every bound.
        if not (of.least if low is None else low) <= number <= (of.greatest if high is None else high):
            return False
    return True


def _decode(space: Space, data: bytes) -> List[Any]:
    of = _TYPES[space["dtype"]]
    numbers = _form(of.letter, len(space["low"])).unpack(data)
    if not _is_within(space, numbers):
        raise bad_input(space, list(numbers))
    return list(numbers)


def _draw(space: Space, generator: Draws) -> List[Any]:
    of = _TYPES[space["dtype"]]
    if not of.is_float:
        return [low + generator.randrange(high - low + 1) for low, high in _bounds(space)]
    form = _form(of.letter, 1)
    numbers = []
    for low, high, (least, greatest) in zip(space["low"], space["high"], _bounds(space)):
        number = min(max(_draw_real(low, high, generator), least), greatest)
        # Rounding never leaves the bounds: they are numbers of the type, and the nearest one is no farther than they.
        numbers.append(form.unpack(form.pack(number))[0])
    return numbers


def _draw_real(low: Any, high: Any, generator: Draws) -> float:
    """Draw evenly between two bounds; beyond a single one with the density falling off, near 0 without any."""
    if low is not None and high is not None:
        share = generator.random()
        return float(low * (1.0 - share) + high * share)  # their difference may be no finite number
    if low is not None:
        return float(low + generator.expovariate(1.0))
    if high is not None:
        return float(high - generator.expovariate(1.0))
    return generator.gauss(0.0, 1.0)


BOX = Kind(_is_good, _width, _encode, _decode, _draw)
