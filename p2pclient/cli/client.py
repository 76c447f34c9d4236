"""Runs a client in this process: the runtime in its thread with a window on the main one, or the runtime alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol

from p2pclient.common.errors import RecordingError, TandemError
from p2pclient.recorder.crash import write_crash_report
from p2pclient.recorder.manifest import collect_versions
from p2pclient.runtime.logs import log_tail, toggle_debug
from p2pclient.runtime.loop import fine_timers, make_loop
from p2pclient.runtime.person import Person
from p2pclient.runtime.playing import ClientCrash, Played
from p2pclient.runtime.presenter import NoWindow, WindowLink
from p2pclient.runtime.results import error_screen

log = logging.getLogger("tandem.client")

_END_SECONDS = 8.0
"""Time for the goodbye after the window is closed."""


class Client(Protocol):
    """What both kinds of client offer."""

    @property
    def played(self) -> list[Played]:
        """The matches so far."""

    async def run(self) -> None:
        """Play until done."""

    def close(self) -> None:
        """Leave politely."""


MakeClient = Callable[[WindowLink], Client]


def run_headless(make_client: MakeClient, *, out: Path) -> int:
    """Run a client without a window; Ctrl-C and SIGTERM leave politely.

    Returns:
        The exit code: 0 only if every match that began was finished.
    """
    outcome: list[BaseException] = []
    played: list[Played] = []

    async def main() -> None:
        client = make_client(NoWindow())
        with _signals_close(client):
            try:
                await client.run()
            except Exception as error:  # noqa: BLE001 - reported to the person and in the exit code
                outcome.append(error)
            played.extend(client.played)

    with fine_timers():
        _run(main())
    if outcome:
        return _tell(outcome[0], _report_of(outcome[0], out))
    return 0 if all(each.ended.is_complete for each in played) else 1


def run_with_window(
    make_client: MakeClient, *, out: Path, title: str, side: str | None = None, error_s: float | None = None
) -> int:
    """Run a client with a window on this, the main, thread, if asked on one ``side`` of it. Returns the exit code.

    Args:
        error_s: how long an error stays on the screen; None: until the person has read it.

    Raises:
        ConfigurationError: there is no display.
    """
    from p2pclient.app.mailbox import Mailbox
    from p2pclient.app.window import run_window

    mailbox = Mailbox()
    started = threading.Event()
    running: dict[str, Any] = {}
    outcome: list[tuple[BaseException, Path | None]] = []

    async def main() -> None:
        client = make_client(mailbox)
        running.update(client=client, loop=asyncio.get_running_loop())
        started.set()
        try:
            await client.run()
        except Exception as error:  # noqa: BLE001 - shown to the person and in the exit code
            outcome.append((error, _report_of(error, out)))
            await _show_error(mailbox, *outcome[0], at_most=error_s)

    def runtime() -> None:
        try:
            with fine_timers():
                _run(main())
        finally:
            started.set()
            mailbox.close()

    thread = threading.Thread(target=runtime, name="runtime", daemon=True)
    thread.start()
    try:
        run_window(mailbox, title=title, side=side)
    finally:
        started.wait()
        if thread.is_alive() and "loop" in running:
            with contextlib.suppress(RuntimeError):  # its loop closed in between: it is done
                running["loop"].call_soon_threadsafe(running["client"].close)
        thread.join(_END_SECONDS)
    return _tell(*outcome[0]) if outcome else 0


async def _show_error(
    window: WindowLink, error: BaseException, report: Path | None, *, at_most: float | None = None
) -> None:
    """Show what happened until the person has read it, for ``at_most`` seconds."""
    window.publish(error_screen(error, report))
    person = Person(window)
    closing = asyncio.Event()
    person.on_close = closing.set
    watching = asyncio.create_task(person.watch())
    waits = [asyncio.create_task(closing.wait()), asyncio.create_task(person.wait_for_continue())]
    await asyncio.wait(waits, timeout=at_most, return_when=asyncio.FIRST_COMPLETED)
    for task in (watching, *waits):
        task.cancel()


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main)


@contextlib.contextmanager
def _signals_close(client: Client) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, lambda *_: loop.call_soon_threadsafe(client.close))
    toggle = getattr(signal, "SIGUSR1", None)
    if toggle is not None:
        before[toggle] = signal.signal(toggle, lambda *_: toggle_debug())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report_of(error: BaseException, out: Path) -> Path | None:
    """A bug leaves a report; an error that the person can mend needs none, and a crash in a match wrote its own."""
    if isinstance(error, TandemError):
        return None
    try:
        return write_crash_report(out, error, log_tail(), collect_versions(), {})
    except RecordingError as failure:
        log.error("no crash report: %s", failure)
        return None


def _tell(error: BaseException, report: Path | None) -> int:
    if isinstance(error, TandemError):
        print(f"tandem: {error}", file=sys.stderr)
        return 3 if isinstance(error, ClientCrash) else 1
    log.error("bug", exc_info=error)
    where = f" A report is in {report}." if report else ""
    print(f"tandem: something went wrong in the program: {error!r}.{where}", file=sys.stderr)
    return 3
