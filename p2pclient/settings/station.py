"""The name of this station: kept in a small file of the user's, so that it is the same after every start."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from p2pclient.common.errors import ConfigurationError

FILE_NAME = "station.txt"
MAX_NAME = 32
_NAME = re.compile(rf"\A[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}\Z")


def check_station_name(name: str) -> str:
    """Return the name. Raises ConfigurationError if it cannot be one."""
    if not _NAME.match(name):
        raise ConfigurationError(
            "station name", name, f"1 to {MAX_NAME} letters, digits, - and _, such as LAB03; the first is no sign"
        )
    return name


def name_from_host(host: str) -> str:
    """Return a station's name made of a computer's: ``lab-03.uni.example`` is ``LAB-03``."""
    first = host.split(".")[0].upper()
    cleaned = re.sub(r"[^A-Z0-9]+", "-", first).strip("-")[:MAX_NAME].strip("-")
    return cleaned or "STATION"


def config_folder() -> Path:
    """Return where the user's settings are kept."""
    return platformdirs.user_config_path("tandem", appauthor=False, roaming=False)


def station_name(given: str | None, host: str, folder: Path) -> str:
    """Return the station's name: the given one, which is kept from now on, the kept one, or one made of the host's.

    Raises:
        ConfigurationError: the given one cannot be a name, or what is kept cannot be read or written.
    """
    path = folder / FILE_NAME
    if given is None:
        try:
            kept = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            given = name_from_host(host)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError("station name", str(path), f"a file that can be read ({error})") from None
        else:
            return _checked_file(kept, path)
    name = check_station_name(given)
    _keep(name, path)
    return name


def _checked_file(kept: str, path: Path) -> str:
    try:
        return check_station_name(kept)
    except ConfigurationError:
        raise ConfigurationError(f"station name in {path}", kept, "a name such as LAB03; set it with --name") from None


def _keep(name: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another process of this program, started at the same moment, never sees half a name.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(name + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise ConfigurationError("station name", str(path), f"a file that can be written ({error})") from None
