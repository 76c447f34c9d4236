"""What makes a program start when a person logs in, without an administrator, on each system.

The contents are made by pure functions: :func:`entry` returns what to write and where, :func:`install` writes it.
"""

from __future__ import annotations

import os
import plistlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from p2pclient.common.errors import ConfigurationError

LABEL = "org.tandem-lab.station"
_TITLE = "Tandem station"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that starts a program at login."""

    path: PurePath
    content: bytes


def entry(
    platform: str, command: Sequence[str], folder: str, *, home: str, environ: Mapping[str, str], log: str
) -> Entry:
    """Return the file for a system.

    Args:
        platform: as ``sys.platform``.
        command: the program and its arguments, as words.
        folder: where it is to run; ``tandem.toml`` and ``runs`` are there.
        log: file for what it prints.

    Raises:
        ConfigurationError: a word cannot be written into such a file.
    """
    for word in (*command, folder, log):
        if any(ord(each) < 32 for each in word):
            raise ConfigurationError("argument", word, "without line breaks and control characters")
    if platform == "win32":
        roaming = environ.get("APPDATA") or str(PureWindowsPath(home, "AppData", "Roaming"))
        startup = PureWindowsPath(roaming, "Microsoft", "Windows", "Start Menu", "Programs", "Startup")
        return Entry(startup / "tandem-station.cmd", _windows_script(command, folder))
    if platform == "darwin":
        agents = PurePosixPath(home, "Library", "LaunchAgents")
        return Entry(agents / f"{LABEL}.plist", _launch_agent(command, folder, log))
    config = environ.get("XDG_CONFIG_HOME") or str(PurePosixPath(home, ".config"))
    return Entry(PurePosixPath(config, "autostart", "tandem-station.desktop"), _desktop_entry(command, folder))


def _desktop_entry(command: Sequence[str], folder: str) -> bytes:
    """See the Desktop Entry Specification 1.5, *The Exec key*, and the Autostart Specification."""
    words = " ".join(_desktop_word(each) for each in command)
    lines = [
        "[Desktop Entry]",
        "Type=Application",
        f"Name={_TITLE}",
        f"Exec={words}",
        f"Path={_desktop_string(folder)}",
        "Terminal=false",
        "X-GNOME-Autostart-enabled=true",
    ]
    return ("\n".join(lines) + "\n").encode()


def _desktop_word(word: str) -> str:
    # Two layers: the quoting of Exec, and then the escapes of any string of such a file.
    quoted = word.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")
    return _desktop_string(f'"{quoted}"').replace("%", "%%")


def _desktop_string(text: str) -> str:
    return text.replace("\\", "\\\\")


def _windows_script(command: Sequence[str], folder: str) -> bytes:
    for word in (*command, folder):
        if '"' in word:
            raise ConfigurationError("argument", word, "without double quotes, in a file that Windows starts")
    words = " ".join(f'"{each.replace("%", "%%")}"' for each in command)
    # start, so that no console stays open behind the window; its first quoted word is a title.
    lines = ["@echo off", "chcp 65001 >nul", f'cd /d "{folder.replace("%", "%%")}"', f'start "{_TITLE}" /min {words}']
    return ("\r\n".join(lines) + "\r\n").encode()


def _launch_agent(command: Sequence[str], folder: str, log: str) -> bytes:
    # No KeepAlive: --keep does that on every system, and knows an end on purpose.
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(command),
            "WorkingDirectory": folder,
            "RunAtLoad": True,
            "ProcessType": "Interactive",
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def own_entry(command: Sequence[str], folder: Path, log: Path) -> Entry:
    """Return the file for this system and user."""
    return entry(sys.platform, command, str(folder), home=str(Path.home()), environ=os.environ, log=str(log))


def install(made: Entry) -> None:
    """Write the file. Raises ConfigurationError if that cannot be done."""
    path = Path(made.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.content)
    except OSError as error:
        raise ConfigurationError("autostart", str(path), f"a file that can be written ({error})") from None


def remove(made: Entry) -> bool:
    """Remove the file; return whether there was one. Raises ConfigurationError if it stays."""
    path = Path(made.path)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError("autostart", str(path), f"a file that can be removed ({error})") from None
    return True
