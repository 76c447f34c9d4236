"""``manifest.json``: what a run was, in one file that is always whole.

Written when the run starts, with status ``running``, and replaced at the end. A manifest that still says ``running``
belongs to a run that goes on, or that was killed; the log beside it is good either way.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from p2pclient import __version__
from p2pclient.common.errors import RecordingError
from p2pclient.recorder.plain import to_plain
from p2pclient.recorder.writing import describe_failure

MANIFEST_NAME = "manifest.json"
LOG_NAME = "frames.log"
FORMAT = 1
_MAX_BYTES = 32 << 20
_DISTRIBUTIONS = ("numpy", "aiortc", "aioice", "python-socketio", "pygame-ce", "msgspec", "cogrid")


def collect_versions() -> dict[str, str]:
    """Return the versions of this program, of what it runs on and of what shapes a match; nothing is imported."""
    versions = {
        "tandem": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "executable": sys.executable,
    }
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, slots=True)
class ClockAnchor:
    """One instant on two clocks: maps the ``perf_counter`` seconds of records to wall-clock time."""

    perf_counter: float
    utc: float
    """Seconds since 1970."""

    @classmethod
    def take(cls) -> ClockAnchor:
        """Read both clocks; the wall clock between two readings of the other."""
        before = time.perf_counter()
        utc = time.time()
        return cls(perf_counter=(before + time.perf_counter()) / 2, utc=utc)

    def to_utc(self, at: float) -> float:
        """Return seconds since 1970 for ``at`` on this process's ``perf_counter``."""
        return self.utc + (at - self.perf_counter)


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What is known of a run when it starts."""

    match_id: str
    seed: int
    """The match's seed; the seeds of episodes are recorded when they start."""
    env: dict[str, Any]
    """What the env host said in ``ready``: at least ``env``, ``args`` and ``agents``."""
    seats: tuple[dict[str, Any], ...] = ()
    """By seat: who held it, such as ``{"player": ..., "bot": ..., "peer": ...}``."""
    own_seats: tuple[int, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=collect_versions)
    clock: ClockAnchor = field(default_factory=ClockAnchor.take)

    def to_manifest(self) -> dict[str, Any]:
        """Return the manifest of a run that has just started."""
        return {
            "format": FORMAT,
            "status": "running",
            "match_id": self.match_id,
            "seed": self.seed,
            "started_utc": utc_text(self.clock.utc),
            "own_seats": self.own_seats,
            "seats": self.seats,
            "env": self.env,
            "settings": self.settings,
            "versions": self.versions,
            "process": os.getpid(),
            "clock": {"perf_counter": self.clock.perf_counter, "utc": self.clock.utc},
            "files": {"log": LOG_NAME},
        }


def utc_text(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Put ``manifest`` in place of the one in ``folder``: readers see the old or the new one, whole.

    Raises:
        RecordingError: it cannot be written; the old one, if any, is untouched.
    """
    text = json.dumps(to_plain(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(folder / MANIFEST_NAME, text.encode())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file beside ``path``, bring it to the disk, and rename it over ``path``.

    Raises:
        RecordingError: any of it failed; nothing is left behind.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        discard(beside)
        raise RecordingError(describe_failure(path, error)) from error


def discard(path: Path) -> None:
    """Remove a file that is of no use; that it may stay is no failure."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # The disk that refused the file may refuse this as well.
        pass


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of the run in ``folder``.

    Raises:
        RecordingError: there is none, or it is malformed or of another version.
    """
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecordingError(f"{folder} is not the folder of a run: it has no {MANIFEST_NAME}") from error
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        manifest = json.loads(data) if len(data) <= _MAX_BYTES else None
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{path} is damaged: {error}; restore it from a copy") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RecordingError(f"{path} is not a manifest that this version reads (format {FORMAT})")
    return manifest
