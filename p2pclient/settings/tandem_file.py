"""``tandem.toml``, in the working folder or beside the program: which server the computers of a lab join."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pclient.common.errors import ConfigurationError

FILE_NAME = "tandem.toml"
_KEYS = ("server", "room", "station", "interface", "ca")
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TandemFile:
    """What the file says; None for what it does not."""

    path: Path | None = None
    server: str | None = None
    """URL, address or join code."""
    room: str | None = None
    station: str | None = None
    interface: str | None = None
    ca: str | None = None
    """File with whose certificates are believed, seen from this one's folder."""


def find_tandem_file(folders: tuple[Path, ...] | None = None) -> TandemFile:
    """Return what the first ``tandem.toml`` says: in the working folder, then beside the program.

    Raises:
        ConfigurationError: it cannot be read; names the file and the place.
    """
    for folder in folders or (Path.cwd(), Path(sys.argv[0]).resolve().parent, Path(sys.executable).parent):
        path = folder / FILE_NAME
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigurationError(str(path), error.strerror or str(error), "a file that can be read") from None
        if len(raw) > _MAX_BYTES:
            raise ConfigurationError(str(path), f"{len(raw)} bytes", f"at most {_MAX_BYTES} bytes")
        return parse_tandem_file(raw, path)
    return TandemFile()


def parse_tandem_file(raw: bytes, path: Path) -> TandemFile:
    """Return what the file's bytes say. Raises ConfigurationError."""
    allowed = f'lines such as: room = "Lab 2"; known are {", ".join(_KEYS)}'
    try:
        said: Mapping[str, Any] = tomllib.loads(raw.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(str(path), str(error), allowed) from None
    for key, value in said.items():
        if key not in _KEYS or not isinstance(value, str) or not value.strip():
            raise ConfigurationError(f"{key} in {path}", value, allowed)
    return TandemFile(path, **{key: value.strip() for key, value in said.items()})
