"""The report that a crash leaves behind: for a developer who was not there."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from p2pclient.common.errors import RecordingError
from p2pclient.recorder.plain import to_json_text
from p2pclient.recorder.writing import describe_failure

_SECRET = re.compile(r"password|secret|token|credential|api_?key", re.IGNORECASE)


def write_crash_report(
    folder: Path,
    exception: BaseException,
    log_tail: Sequence[str],
    versions: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Path:
    """Write what a developer needs to know of a crash into ``folder``, and return the new file.

    Values of settings whose names speak of secrets are left out.

    Raises:
        RecordingError: it cannot be written there; try another folder.
    """
    name = f"crash-{datetime.now(UTC).strftime('%Y-%m-%d_%H-%M-%S')}Z-{os.getpid()}"
    text = _crash_text(exception, log_tail, versions, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100):
            path = folder / (f"{name}.txt" if number == 1 else f"{name}-{number}.txt")
            try:
                with path.open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
                    file.write(text)
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise RecordingError(describe_failure(folder, error)) from error
    raise RecordingError(f"{folder} is full of crash reports; remove some")


def _crash_text(
    exception: BaseException, log_tail: Sequence[str], versions: Mapping[str, str], settings: Mapping[str, Any]
) -> str:
    sections = (
        ("Tandem crashed", [f"at {datetime.now(UTC).isoformat(timespec='seconds')}, process {os.getpid()}"]),
        ("Error", "".join(traceback.format_exception(exception)).splitlines()),
        ("Versions", [f"{name} = {value}" for name, value in versions.items()]),
        ("Settings", [f"{name} = {to_json_text(_without_secrets(name, settings[name]))}" for name in settings]),
        ("Last lines of the log", [line.rstrip("\n") for line in log_tail]),
    )
    return "\n".join(f"== {title} ==\n" + "\n".join(lines) + "\n" for title, lines in sections)


def _without_secrets(name: str, value: Any) -> Any:
    if value is not None and _SECRET.search(name):
        return "(left out)"
    if isinstance(value, dict):
        return {key: _without_secrets(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets("", item) for item in value]
    return value
