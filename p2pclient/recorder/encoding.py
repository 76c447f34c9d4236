"""Records as payloads of the log: a kind byte, then the fields in their order as one list.

Values inside (infos, rewards, observations) keep their exact types. A payload is hostile input: every field is
checked before a record is made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2pclient.common.errors import RecordingError
from p2pclient.common.frames import MAX_INPUT_BYTES, MAX_SEATS
from p2pclient.envhost.values import CannotSendError, MalformedValueError, decode, encode
from p2pclient.recorder.records import (
    HOLDERS,
    EpisodeEnded,
    EpisodeStarted,
    EventRecorded,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    FrameTimed,
    LogRecord,
)

Check = Callable[[Any], bool]


def _is_index(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 32


def _is_position(value: Any) -> bool:
    """An index, or NULL_FRAME."""
    return value == -1 or _is_index(value)


def _is_int(value: Any) -> bool:
    return type(value) is int and -1 << 63 <= value < 1 << 64


def _is_checksum(value: Any) -> bool:
    return type(value) is bytes and len(value) == 8


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_time(value: Any) -> bool:
    return type(value) is float or _is_int(value)


def _is_optional_time(value: Any) -> bool:
    return value is None or _is_time(value)


def _is_anything(value: Any) -> bool:
    return True


def _is_optional_bool(value: Any) -> bool:
    return value is None or type(value) is bool


def _is_details(value: Any) -> bool:
    return type(value) is dict and all(type(key) is str for key in value)


def _is_input(value: Any) -> bool:
    return type(value) is bytes and 1 <= len(value) <= MAX_INPUT_BYTES


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def _by_seat(check: Check) -> Check:
    def is_by_seat(value: Any) -> bool:
        return type(value) is tuple and len(value) <= MAX_SEATS and all(check(item) for item in value)

    return is_by_seat


def _is_observations(value: Any) -> bool:
    return value is None or (type(value) is tuple and len(value) <= MAX_SEATS)


def _is_holder(value: Any) -> bool:
    return value is None or value in HOLDERS


_ANY_BY_SEAT, _BOOL_BY_SEAT, _OPTIONAL_BOOL_BY_SEAT = map(_by_seat, (_is_anything, _is_bool, _is_optional_bool))

_FRAME: tuple[Check, ...] = (
    _is_index,
    _is_index,
    _by_seat(_is_input),
    _ANY_BY_SEAT,
    _ANY_BY_SEAT,
    _OPTIONAL_BOOL_BY_SEAT,
    _OPTIONAL_BOOL_BY_SEAT,
    _ANY_BY_SEAT,
    _BOOL_BY_SEAT,
    _is_checksum,
    _is_observations,
)
_HELD_FRAME = 8
"""Kind of a frame in which a seat was not held by the player to whom it was given."""

_KINDS: dict[int, tuple[type[LogRecord], tuple[Check, ...]]] = {
    1: (EpisodeStarted, (_is_index, _is_int, _is_checksum)),
    2: (FrameRecorded, _FRAME),
    3: (FramesVerified, (_is_index, _is_position)),
    4: (
        FrameTimed,
        (
            _is_index,
            _is_index,
            _is_optional_time,
            _is_time,
            _is_time,
            _is_optional_time,
            _is_time,
            _is_optional_time,
            _is_index,
            _is_index,
            _BOOL_BY_SEAT,
            _is_index,
        ),
    ),
    5: (EpisodeEnded, (_is_index, _is_position, _by_seat(_is_anything), _is_text)),
    6: (EventRecorded, (_is_text, _is_position, _is_position, _is_details)),
    7: (FramesWithdrawn, (_is_index, _is_index)),
    _HELD_FRAME: (FrameRecorded, (*_FRAME, _by_seat(_is_holder))),
}
"""Kind byte -> class and one check per field. A kind's fields never change: a new shape gets a new number."""

_SHAPES = {
    kind: (bytes((kind,)), cls.__struct_fields__[: len(checks)], checks) for kind, (cls, checks) in _KINDS.items()
}
_KIND_OF = {cls: kind for kind, (cls, _) in _KINDS.items() if kind != _HELD_FRAME}


def encode_record(record: LogRecord) -> bytes:
    """Return the payload that stands for ``record``.

    Raises:
        RecordingError: a value in it cannot be stored, or read back. The message names it.
    """
    is_held = type(record) is FrameRecorded and record.by is not None
    kind, names, checks = _SHAPES[_HELD_FRAME if is_held else _KIND_OF[type(record)]]
    fields = [getattr(record, name) for name in names]
    if type(record) is FrameRecorded:
        # Environments return NumPy's bools here as well as Python's; there is nothing to keep apart.
        fields[5] = tuple(None if value is None else bool(value) for value in record.terminations)
        fields[6] = tuple(None if value is None else bool(value) for value in record.truncations)
    # Also when writing: better refused at the first frame than found unreadable after the match.
    _check(type(record), names, checks, fields)
    try:
        return kind + encode(fields, type(record).__name__)
    except CannotSendError as error:
        raise RecordingError(f"a record cannot be stored: {error}; make the environment return plain values") from error


def decode_record(payload: bytes) -> LogRecord:
    """Return the record in ``payload``.

    Raises:
        RecordingError: it is no record that this version knows. The caller adds where it was found.
    """
    if not payload or payload[0] not in _KINDS:
        raise RecordingError(f"records of kind {payload[:1].hex() or 'none'} are unknown to this version")
    cls, checks = _KINDS[payload[0]]
    try:
        fields = decode(payload[1:])
    except MalformedValueError as error:
        raise RecordingError(f"a {cls.__name__} is malformed: {error}") from error
    if type(fields) is not list or len(fields) != len(checks):
        raise RecordingError(f"a {cls.__name__} has the wrong number of fields")
    _check(cls, _SHAPES[payload[0]][1], checks, fields)
    return cls(*fields)


def _check(cls: type[LogRecord], names: tuple[str, ...], checks: tuple[Check, ...], fields: list[Any]) -> None:
    for name, check, value in zip(names, checks, fields, strict=True):
        if not check(value):
            raise RecordingError(f"a {cls.__name__} has an impossible {name} ({type(value).__name__})")
