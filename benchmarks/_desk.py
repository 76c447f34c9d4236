"""A desk of our own: an X server without a screen, a window manager, a keyboard whose keys are really pressed."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = {"Xvfb": "xvfb", "xdotool": "xdotool", "xwininfo": "x11-utils", "openbox": "openbox"}
_PATIENCE_S = 20.0


def missing() -> str:
    """Say what a desk needs and this machine lacks; empty if nothing."""
    packages = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    return (
        f"real windows need {', '.join(packages)}; on Debian: apt-get install {' '.join(packages)}" if packages else ""
    )


class Desk:
    """Starts Xvfb on a display number that it chooses, and openbox on it. Close it when done."""

    def __init__(self, size: tuple[int, int] = (1600, 1000)) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="desk-")
        reading, writing = os.pipe()
        screen = f"{size[0]}x{size[1]}x24"
        options = ["-screen", "0", screen, "-fbdir", self._folder.name, "-nolisten", "tcp", "-noreset"]
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), *options], pass_fds=[writing], stderr=subprocess.DEVNULL
        )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            self.display = f":{pipe.readline().strip()}"
        self._keyboard = Keyboard(self.display)
        quiet = subprocess.DEVNULL
        self._manager = subprocess.Popen(["openbox"], env=self.environment(), stdout=quiet, stderr=quiet)
        self.xdotool("mousemove", "0", "0")  # the pointer would be in the pictures

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables for a process whose windows are to open here."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SDL_") and k != "WAYLAND_DISPLAY"}
        return {**kept, "DISPLAY": self.display, **more}

    def close(self) -> None:
        """End the window manager and the server."""
        for process in (self._manager, self._server):
            process.terminate()
            process.wait()
        self._folder.cleanup()

    def key(self, name: str, pressed: bool) -> float:
        """Press or release a key, named by its X keysym (``w``, ``Left``, ``space``); returns the time."""
        return self._keyboard.change(name, pressed)

    def press(self, *names: str) -> None:
        """Press and release keys, one after the other."""
        for name in names:
            self.key(name, True)
            self.key(name, False)

    def move_pointer(self, x: int, y: int) -> None:
        """Move the mouse there, at once: without a process for each move."""
        self._keyboard.point(x, y)

    def xdotool(self, *words: str) -> str:
        """Run xdotool; returns what it says. Raises CalledProcessError."""
        command = ["xdotool", *words]
        env = self.environment()
        run = subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=_PATIENCE_S)
        return run.stdout.strip()

    def window_of(self, pid: int) -> int:
        """Wait for the window of a process; returns its id."""
        # Not by name: xdotool does not read the names that SDL gives to windows.
        return int(self.xdotool("search", "--sync", "--onlyvisible", "--pid", str(pid)).split()[0])

    def activate(self, window: int) -> None:
        """Give a window the keyboard, and wait until it has it."""
        self.xdotool("windowactivate", "--sync", str(window))
        self.xdotool("windowfocus", "--sync", str(window))

    def place_of(self, window: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height of a window's inside."""
        command = ["xwininfo", "-id", str(window)]  # xdotool counts the frame of the window manager twice
        said = subprocess.run(command, env=self.environment(), check=True, capture_output=True, text=True).stdout
        names = ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height")
        left, top, width, height = (int(said.partition(f"{name}:")[2].split()[0]) for name in names)
        return left, top, width, height

    def picture(self, window: int | None = None) -> Any:
        """Return what is on the screen now, or a window's part of it: ``uint8[height, width, 3]``, RGB."""
        whole = _read_xwd(Path(self._folder.name) / "Xvfb_screen0")
        if window is None:
            return whole
        left, top, width, height = self.place_of(window)
        return whole[top : top + height, left : left + width]


class Keyboard:
    """The X server's own keyboard, by its XTEST extension: programs cannot tell it from a real one."""

    def __init__(self, display: str) -> None:
        self._x11 = ctypes.CDLL("libX11.so.6")
        self._xtst = ctypes.CDLL("libXtst.so.6")
        self._x11.XOpenDisplay.restype = ctypes.c_void_p
        self._x11.XStringToKeysym.restype = ctypes.c_ulong
        self._connection = ctypes.c_void_p(self._x11.XOpenDisplay(display.encode()))

    def change(self, name: str, pressed: bool) -> float:
        keysym = self._x11.XStringToKeysym(name.encode())
        code = self._x11.XKeysymToKeycode(self._connection, ctypes.c_ulong(keysym))
        if not code:
            raise ValueError(f"no key {name}")
        at = time.perf_counter()
        self._xtst.XTestFakeKeyEvent(self._connection, code, int(pressed), ctypes.c_ulong(0))
        self._x11.XSync(self._connection, 0)
        return at

    def point(self, x: int, y: int) -> None:
        self._xtst.XTestFakeMotionEvent(self._connection, -1, x, y, ctypes.c_ulong(0))
        self._x11.XSync(self._connection, 0)


def _read_xwd(path: Path) -> Any:
    """Read the frame buffer as Xvfb keeps it: the format of xwd (X11/XWDFile.h), 32 bits a pixel, blue first."""
    data = path.read_bytes()
    head = struct.unpack(">25I", data[:100])
    width, height, line, colours = head[4], head[5], head[12], head[19]
    start = head[0] + 12 * colours
    rows = np.frombuffer(data, np.uint8, line * height, start).reshape(height, line)
    return rows[:, : width * 4].reshape(height, width, 4)[:, :, 2::-1].copy()
