"""What every kind of action space can do, and what the kinds share."""

from __future__ import annotations

from operator import index
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Protocol

from p2pclient.common.errors import ConfigurationError, RemoteProtocolError

Space = Dict[str, Any]
"""``kind`` and what that kind needs, see :mod:`p2pclient.common.spaces`."""


class Draws(Protocol):
    """A random generator, handed in: what is used of ``random.Random``."""

    def random(self) -> float: ...
    def randrange(self, start: int) -> int: ...
    def gauss(self, mu: float, sigma: float) -> float: ...
    def expovariate(self, lambd: float) -> float: ...


def no_parts(space: Space) -> Iterable[Space]:
    """Return the parts of a space that has none."""
    return ()


class Kind(NamedTuple):
    """One kind of space. All but ``is_good`` are asked about good spaces only."""

    is_good: Callable[[Space], bool]
    """Are the parameters right? The parts are asked apart."""
    width: Callable[[Space], int]
    """Bytes that one value takes."""
    encode: Callable[[Space, Any], bytes]
    """Raises ConfigurationError: the value is not in the space."""
    decode: Callable[[Space, bytes], Any]
    """The value of exactly ``width`` bytes. Raises RemoteProtocolError: no value has these bytes."""
    draw: Callable[[Space, Draws], Any]
    """A value, drawn evenly where the space has bounds."""
    parts: Callable[[Space], Iterable[Space]] = no_parts


def is_count(n: Any) -> bool:
    """Is it a number of choices that an index can tell apart?"""
    return isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 1 << 32


def is_text(value: Any) -> bool:
    """Is it a str that crosses the pipe, which lone surrogates do not?"""
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


def index_width(count: int) -> int:
    """Bytes needed for an index below ``count``."""
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def to_whole(value: Any) -> int:
    """Return a whole number of any integer type, or a truth value; a float is never rounded into another action."""
    try:
        return index(value)
    except TypeError:
        # NumPy's truth values are no indexes, as Python's are.
        if getattr(getattr(value, "dtype", None), "kind", "") == "b" and value.shape == ():
            return int(bool(value))
        raise ConfigurationError("action", value, "a whole number") from None


def to_items(space: Space, value: Any) -> List[Any]:
    """Return the items of a value that is a sequence, an array or the like."""
    try:
        return list(value)
    except TypeError:
        raise not_in(space, value) from None


def not_in(space: Space, value: Any) -> ConfigurationError:
    """Return the error for a value of this side that is not in ``space``."""
    return ConfigurationError("action", value, f"a value of {space}")


def bad_input(space: Space, what: Any) -> RemoteProtocolError:
    """Return the error for bytes of a peer that are not a value of ``space``."""
    return RemoteProtocolError("bad-input", f"{what} for {space}")
