"""The kinds of space whose values are indexes: ``discrete``, ``multi_discrete``, ``multi_binary`` and ``text``."""

from __future__ import annotations

from typing import Any, List

from p2pclient.common.spaces_kind import (
    Draws,
    Kind,
    Space,
    bad_input,
    index_width,
    is_count,
    is_text,
    not_in,
    to_items,
    to_whole,
)


def _discrete_is_good(space: Space) -> bool:
    return is_count(space.get("n")) and isinstance(space.get("start", 0), int)


def _discrete_width(space: Space) -> int:
    return index_width(space["n"])


def _encode_discrete(space: Space, value: Any) -> bytes:
    index = to_whole(value) - int(space.get("start", 0))
    if not 0 <= index < space["n"]:
        raise not_in(space, value)
    return index.to_bytes(index_width(space["n"]), "little")


def _decode_discrete(space: Space, data: bytes) -> int:
    index = int.from_bytes(data, "little")
    if index >= space["n"]:
        raise bad_input(space, index)
    return index + int(space.get("start", 0))


def _draw_discrete(space: Space, generator: Draws) -> int:
    return generator.randrange(space["n"]) + int(space.get("start", 0))


def _starts(space: Space) -> List[int]:
    starts: List[int] = space.get("start") or [0] * len(space["nvec"])
    return starts


def _multi_discrete_is_good(space: Space) -> bool:
    nvec = space.get("nvec")
    if not isinstance(nvec, list) or not nvec or not all(is_count(n) for n in nvec):
        return False
    start = space.get("start")
    return start is None or (
        isinstance(start, list) and len(start) == len(nvec) and all(isinstance(first, int) for first in start)
    )


def _multi_discrete_width(space: Space) -> int:
    return sum(index_width(n) for n in space["nvec"])


def _encode_multi_discrete(space: Space, value: Any) -> bytes:
    values, nvec = [to_whole(item) for item in to_items(space, value)], space["nvec"]
    if len(values) != len(nvec):
        raise not_in(space, value)
    indexes = [item - first for item, first in zip(values, _starts(space))]
    if any(not 0 <= index < n for index, n in zip(indexes, nvec)):
        raise not_in(space, value)
    return b"".join(index.to_bytes(index_width(n), "little") for index, n in zip(indexes, nvec))


def _decode_multi_discrete(space: Space, data: bytes) -> List[int]:
    values: List[int] = []
    at = 0
    for n, first in zip(space["nvec"], _starts(space)):
        end = at + index_width(n)
        index = int.from_bytes(data[at:end], "little")
        if index >= n:
            raise bad_input(space, index)
        values.append(index + first)
        at = end
    return values


def _draw_multi_discrete(space: Space, generator: Draws) -> List[int]:
    return [generator.randrange(n) + first for n, first in zip(space["nvec"], _starts(space))]


def _multi_binary_is_good(space: Space) -> bool:
    return is_count(space.get("n"))


def _multi_binary_width(space: Space) -> int:
    return int((space["n"] + 7) // 8)


def _encode_multi_binary(space: Space, value: Any) -> bytes:
    bits = [to_whole(item) for item in to_items(space, value)]
    if len(bits) != space["n"] or any(bit not in (0, 1) for bit in bits):
        raise not_in(space, value)
    return sum(bit << i for i, bit in enumerate(bits)).to_bytes(_multi_binary_width(space), "little")


def _decode_multi_binary(space: Space, data: bytes) -> List[int]:
    bits = int.from_bytes(data, "little")
    if bits >> space["n"]:
        raise bad_input(space, "bits beyond the last")
    return [bits >> i & 1 for i in range(space["n"])]


def _draw_multi_binary(space: Space, generator: Draws) -> List[int]:
    return [generator.randrange(2) for _ in range(space["n"])]


def _text_is_good(space: Space) -> bool:
    longest, shortest, charset = (space.get(key, missing) for key, missing in (("max", 0), ("min", 0), ("charset", "")))
    if not is_count(longest) or not isinstance(shortest, int) or not 0 <= shortest <= longest:
        return False
    # The length is one byte. Longer texts would not fit into an input anyway.
    return longest < 256 and is_text(charset) and 0 < len(charset) == len(set(charset))


def _text_width(space: Space) -> int:
    return 1 + int(space["max"]) * index_width(len(space["charset"]))


def _encode_text(space: Space, value: Any) -> bytes:
    charset = space["charset"]
    if not isinstance(value, str) or not space.get("min", 0) <= len(value) <= space["max"]:
        raise not_in(space, value)
    indexes = [charset.find(character) for character in value]
    if -1 in indexes:
        raise not_in(space, value)
    width = index_width(len(charset))
    data = bytes((len(value),)) + b"".join(index.to_bytes(width, "little") for index in indexes)
    return data.ljust(_text_width(space), b"\0")


def _decode_text(space: Space, data: bytes) -> str:
    charset, length = space["charset"], data[0]
    width = index_width(len(charset))
    end = 1 + length * width
    # What fills up is nothing but zeros: else one text would have many inputs.
    if not space.get("min", 0) <= length <= space["max"] or any(data[end:]):
        raise bad_input(space, data.hex())
    indexes = [int.from_bytes(data[at : at + width], "little") for at in range(1, end, width)]
    if any(index >= len(charset) for index in indexes):
        raise bad_input(space, data.hex())
    return "".join(charset[index] for index in indexes)


def _draw_text(space: Space, generator: Draws) -> str:
    shortest, charset = space.get("min", 0), space["charset"]
    length = shortest + generator.randrange(space["max"] - shortest + 1)
    return "".join(charset[generator.randrange(len(charset))] for _ in range(length))


DISCRETE = Kind(_discrete_is_good, _discrete_width, _encode_discrete, _decode_discrete, _draw_discrete)
MULTI_DISCRETE = Kind(
    _multi_discrete_is_good,
    _multi_discrete_width,
    _encode_multi_discrete,
    _decode_multi_discrete,
    _draw_multi_discrete,
)
MULTI_BINARY = Kind(
    _multi_binary_is_good, _multi_binary_width, _encode_multi_binary, _decode_multi_binary, _draw_multi_binary
)
TEXT = Kind(_text_is_good, _text_width, _encode_text, _decode_text, _draw_text)
