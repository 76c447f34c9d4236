"""A process with a real window for the tests of the application, and what the tests drive it with.

Run as a module, this is the process: ``python -m tests.app_window_rig``.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 15.0
Message = dict[str, Any]


# -- the process with the window --------------------------------------------------------------------------------------


def child() -> None:
    """A runtime of a few lines: orders come on stdin, intents go out on stdout, one JSON object per line."""
    from p2pclient.app.gallery import presentations
    from p2pclient.app.mailbox import Mailbox
    from p2pclient.app.window import run_window

    news = threading.Semaphore(0)
    mailbox = Mailbox(wake_runtime=news.release)
    screens = {name: screen for name, (screen, _) in presentations().items()}
    threading.Thread(target=_report, args=(mailbox, news), daemon=True).start()
    threading.Thread(target=_obey, args=(mailbox, screens), daemon=True).start()
    run_window(mailbox, title="tandem under test", leave_timeout=float(os.environ.get("LEAVE_TIMEOUT", "3")))
    print(json.dumps({"kind": "ended"}), flush=True)


def _report(mailbox: Any, news: threading.Semaphore) -> None:
    while True:
        news.acquire()
        for intent in mailbox.take_intents():
            fields = {name: getattr(intent, name) for name in type(intent).__dataclass_fields__}
            print(json.dumps({"kind": type(intent).__name__, **fields}), flush=True)


def _obey(mailbox: Any, screens: dict[str, Any]) -> None:
    from dataclasses import replace

    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "publish":
            mailbox.publish(screens[order["screen"]])
        elif order["do"] == "measure":
            print(json.dumps({"kind": "latencies", "ms": _measure(mailbox, screens["playing"], replace)}), flush=True)
        elif order["do"] == "snapshot":
            mailbox.request_snapshot(order["path"])
        elif order["do"] == "close":
            mailbox.close()


def _measure(mailbox: Any, playing: Any, replace: Callable[..., Any]) -> list[float]:
    """Publish 60 new views and note how long each takes until it is shown. Takes the intents itself meanwhile."""
    shown: queue.SimpleQueue[float] = queue.SimpleQueue()
    former = mailbox.wake_runtime

    def collect() -> None:
        for intent in mailbox.take_intents():
            if type(intent).__name__ == "Shown":
                shown.put(intent.at)

    mailbox.wake_runtime = collect
    latencies = []
    for frame in range(60):
        view = replace(playing.view, frame=frame, pixels=playing.view.pixels.copy())
        published = time.perf_counter()
        mailbox.publish(replace(playing, view=view))
        latencies.append((shown.get(timeout=PATIENCE_S) - published) * 1000)
        threading.Event().wait(0.013)  # not in step with the window's own beat
    mailbox.wake_runtime = former
    return latencies


# -- what the tests use -----------------------------------------------------------------------------------------------


class Window:
    """The child process, and what it has said so far."""

    def __init__(self, display: str, **environment: str) -> None:
        self.display = display
        env = {k: v for k, v in os.environ.items() if not k.startswith("SDL_")}
        env.update(DISPLAY=display, **environment)
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.app_window_rig"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self._said.put(json.loads(line))
        self._said.put(None)

    def order(self, do: str, **fields: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self.process.stdin.flush()

    def heard(self, kind: str) -> Message:
        """The next message of this kind; what comes before it is passed over."""
        return self.heard_all_until(kind)[-1]

    def heard_all_until(self, kind: str) -> list[Message]:
        messages: list[Message] = []
        while True:
            message = self._said.get(timeout=PATIENCE_S)
            assert message is not None, f"the window ended before {kind}; it said {messages}"
            messages.append(message)
            if message["kind"] == kind:
                return messages

    def keys_until(self, code: str, *, pressed: bool) -> list[tuple[str, bool]]:
        """Key changes up to and with this one."""
        changes: list[tuple[str, bool]] = []
        while not changes or changes[-1] != (code, pressed):
            message = self.heard("KeyChange")
            changes.append((message["code"], message["pressed"]))
        return changes

    def xdotool(self, *words: str) -> str:
        run = subprocess.run(
            ["xdotool", *words],
            env={**os.environ, "DISPLAY": self.display},
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return run.stdout.strip()

    @property
    def id(self) -> int:
        # Not by name: xdotool does not read the names that SDL gives to windows.
        return int(self.xdotool("search", "--sync", "--pid", str(self.process.pid)).split()[0])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def ask_to_close(display: str, window: int) -> None:
    """What a window manager does when the close button is clicked (ICCCM 4.2.8.1, WM_DELETE_WINDOW)."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong

    class ClientMessage(ctypes.Structure):
        _fields_ = [
            ("type", ctypes.c_int),
            ("serial", ctypes.c_ulong),
            ("send_event", ctypes.c_int),
            ("display", ctypes.c_void_p),
            ("window", ctypes.c_ulong),
            ("message_type", ctypes.c_ulong),
            ("format", ctypes.c_int),
            ("data", ctypes.c_long * 5),
            ("padding", ctypes.c_long * 12),
        ]

    connection = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    protocols, delete = (x11.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
    message = ClientMessage(33, 0, 1, connection, window, protocols, 32, (ctypes.c_long * 5)(delete))
    x11.XSendEvent(connection, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))
    x11.XCloseDisplay(connection)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + PATIENCE_S
    pause = threading.Event()
    while not condition():
        assert time.perf_counter() < deadline
        pause.wait(0.01)


if __name__ == "__main__":
    child()
