"""Log lines for programs: one JSON object for each, whatever was logged."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

MAX_DEPTH = 8
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Makes ``{"time", "level", "logger", "message"}`` of a record, and of what it was given beyond that ``fields``.

    ``time`` is in UTC, as RFC 3339 has it. What was passed as ``extra`` is in ``fields``, and so is what has that name
    in it; a traceback is in ``traceback``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line. Never fails: what cannot be formatted is shown as it is."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {name: value for name, value in vars(record).items() if name not in _KNOWN}
        told = fields.pop("fields", None)
        fields.update(told if isinstance(told, Mapping) else {})
        said: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        if fields:
            said["fields"] = fields
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            said["traceback"] = record.exc_text
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return json.dumps(plain(said), ensure_ascii=True)

    def _message(self, record: logging.LogRecord) -> str:
        try:
            return record.getMessage()
        except Exception as error:  # noqa: BLE001 - a wrong line is better than none
            return f"{record.msg!r} with {record.args!r} ({error!r})"


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return what JSON can hold of a value, texts and figures as they are."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if depth <= 0:
        return "..."
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.structs.asdict(value), depth)
    if isinstance(value, Mapping):
        return {plain(str(name)): plain(each, depth - 1) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each, depth - 1) for each in value]
    try:
        return plain(str(value))
    except Exception as error:  # noqa: BLE001 - see format
        return f"({type(value).__name__}: {error!r})"
