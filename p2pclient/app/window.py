"""The window's loop, on the main thread: events in, pictures out.

Rules of this file. Events are pumped by ``pygame.event.wait(timeout)`` and then ``pygame.event.get(pump=False)``, never
by a plain ``get`` or ``pump``: those hold the interpreter's lock while a window is dragged on Windows, and the match
would stop. pygame's ``wait`` looks once a millisecond: 0.5 ms until a new picture is noticed, for 1.7 % of a core. That
is right while playing, and while it is measured how evenly pictures come; on all other screens the loop sleeps on the
mailbox instead, looks 30 times a second, and moves the bar in every second look.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pygame

from p2pclient.app import keys, screens
from p2pclient.app.display import Display
from p2pclient.app.draw import Painter
from p2pclient.app.keys import Keyboard
from p2pclient.app.mailbox import Mailbox
from p2pclient.app.scene import Scene
from p2pclient.app.screens import Local
from p2pclient.common.presentation import BeatShown, CloseRequest, Continue, Presentation, Screen, Shown, View

_log = logging.getLogger(__name__)

_WAKE = pygame.event.custom_type()
_PLAYING_BEAT_MS = 100
"""Longest wait while playing: what bounds how late Ctrl-C is noticed."""
_QUIET_BEAT_S = 0.033
_MOVING_BEAT_S = 0.045
"""The bar stands at least this long: in every second look it moves, 15 times a second."""
_MOVING_PERIOD_S = 3.6
"""One round of the moving bar. Never more than a fifth of its own length at once."""
_CONTINUE_GUARD_S = 0.3
"""A key that was meant for the match does not answer the screen that has just replaced it."""
_SLEEP_ALLOWED = frozenset({Screen.RESULTS, Screen.EXCLUDED, Screen.ERROR})
_UNUSED_EVENTS = (
    pygame.MOUSEMOTION,
    pygame.MOUSEWHEEL,
    pygame.TEXTINPUT,
    pygame.TEXTEDITING,
    pygame.WINDOWMOVED,
    pygame.FINGERMOTION,
)


def run_window(
    mailbox: Mailbox,
    *,
    title: str = "Tandem",
    size: tuple[int, int] = (960, 720),
    side: str | None = None,
    vsync: bool = False,
    leave_timeout: float = 3.0,
) -> None:
    """Open a window and draw what the mailbox holds until it is closed. Call this on the main thread.

    ``side`` is the half of the desktop to open it on, ``left`` or ``right``; anywhere if ``None``.

    The close button, Ctrl-C and a polite kill send one :class:`CloseRequest`; the window then says that it is leaving,
    and stays alive until the runtime calls ``mailbox.close()``, for ``leave_timeout`` seconds at most. A second request
    ends it at once. ``mailbox.close()`` ends it at any time. Signal handlers and the screensaver are restored.

    Raises:
        DisplayError: there is no display. The message is for people.
    """
    # Signals first: SDL leaves them alone if they have a handler already.
    with _interrupts() as interrupts:
        display = Display(title, size, side=side, vsync=vsync)
        try:
            mailbox.attach(_post_wake)
            _Window(mailbox, display, title, leave_timeout, interrupts).run()
        finally:
            mailbox.attach(None)
            display.close()


def _post_wake() -> None:
    try:
        pygame.event.post(pygame.event.Event(_WAKE))
    except pygame.error:
        # The queue is full: then the window is about to look anyway.
        pass


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that grows with every Ctrl-C (or polite kill). A handler must not do more: it may interrupt anything."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may have handlers; a window elsewhere is a test's
    previous = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Window:
    """The state of one open window; none of it is the match's."""

    def __init__(
        self, mailbox: Mailbox, display: Display, title: str, leave_timeout: float, interrupts: list[int]
    ) -> None:
        self._mailbox = mailbox
        self._display = display
        self._leave_timeout = leave_timeout
        self._interrupts = interrupts
        self._interrupts_seen = 0
        self._painter = Painter()
        self._scene = Scene()
        self._phase = 0.0
        self._moved_at = 0.0
        self._keyboard = Keyboard()
        self._presentation = Presentation(Screen.LOADING, title=title, message="Starting…")
        self._offered_at: float | None = None
        self._shown_view: View | None = None
        self._shown_beat: int | None = None
        self._figures = False
        self._visible = True
        self._leaving_since: float | None = None
        self._over = False
        pygame.event.set_blocked(_UNUSED_EVENTS)

    def run(self) -> None:
        self._draw(now=time.perf_counter())
        while not self._is_over(now=time.perf_counter()):
            events = self._take_events()
            at = time.perf_counter()
            for event in events:
                if event.type != _WAKE:
                    self._receive(event, at=at)
            if len(self._interrupts) > self._interrupts_seen:
                self._interrupts_seen = len(self._interrupts)
                self._request_close(at=at)
            self._draw(now=time.perf_counter())

    # -- events in ----------------------------------------------------------------------------------------------------

    def _take_events(self) -> list[pygame.Event]:
        is_played = self._presentation.screen is Screen.PLAYING or self._presentation.beat is not None
        if is_played and self._leaving_since is None:
            first = pygame.event.wait(_PLAYING_BEAT_MS)
        else:
            self._mailbox.wait(_QUIET_BEAT_S)
            # An event is there at once: ``wait`` takes in what the system has, and does not sleep again.
            _post_wake()
            first = pygame.event.wait(1)
        return [first, *pygame.event.get(pump=False)]

    def _receive(self, event: pygame.Event, *, at: float) -> None:
        if event.type == pygame.QUIT:
            self._request_close(at=at)
        elif event.type in (pygame.WINDOWEXPOSED, pygame.WINDOWSIZECHANGED, pygame.WINDOWRESTORED, pygame.WINDOWSHOWN):
            self._visible = True
            self._painter.invalidate()
        elif event.type in (pygame.WINDOWMINIMIZED, pygame.WINDOWHIDDEN):
            self._visible = False
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == pygame.BUTTON_LEFT:
            self._continue(at=at)
        elif event.type == pygame.KEYDOWN:
            self._receive_window_key(keys.code_of(event), at=at)
        for intent in self._keyboard.receive(event, at=at):
            self._mailbox.send(intent)

    def _receive_window_key(self, code: str | None, *, at: float) -> None:
        if code == keys.OVERLAY_KEY:
            self._figures = not self._figures
        elif code == keys.FULLSCREEN_KEY or (code == "Escape" and self._display.is_fullscreen):
            self._display.toggle_fullscreen(now=at)
            self._painter.invalidate()
        elif code in keys.CONTINUE_KEYS:
            self._continue(at=at)

    def _continue(self, *, at: float) -> None:
        if self._leaving_since is None and self._offered_at is not None and at >= self._offered_at + _CONTINUE_GUARD_S:
            self._mailbox.send(Continue(at))

    def _request_close(self, *, at: float) -> None:
        if self._leaving_since is not None:
            self._over = True
            return
        self._leaving_since = at
        for intent in self._keyboard.release_all(at=at):
            self._mailbox.send(intent)
        self._mailbox.send(CloseRequest(at))

    def _is_over(self, *, now: float) -> bool:
        waited = 0.0 if self._leaving_since is None else now - self._leaving_since
        return self._over or self._mailbox.is_closed or waited > self._leave_timeout

    # -- pictures out -------------------------------------------------------------------------------------------------

    def _draw(self, *, now: float) -> None:
        latest = self._mailbox.latest()
        self._display.settle(now=now)
        if self._leaving_since is not None:
            latest = screens.LEAVING
        if latest is not None and latest is not self._presentation:
            self._take_presentation(latest, now=now)
        if self._visible:
            self._show(now=now)
        for path in self._mailbox.take_snapshot_requests():
            self._save(path)

    def _take_presentation(self, latest: Presentation, *, now: float) -> None:
        if not latest.can_continue:
            self._offered_at = None
        elif self._offered_at is None or latest.screen is not self._presentation.screen:
            self._offered_at = now
        self._presentation = latest
        self._display.keep_awake(latest.screen not in _SLEEP_ALLOWED)

    def _show(self, *, now: float) -> None:
        changed = self._paint(now=now)
        if changed:
            self._display.show(changed)
        self._answer_beat()
        if not changed:
            return
        view = self._presentation.view
        if self._presentation.screen is Screen.PLAYING and view is not None and view is not self._shown_view:
            self._shown_view = view
            self._mailbox.send(Shown(view.episode, view.frame, time.perf_counter()))

    def _answer_beat(self) -> None:
        """Tell what is shown now to whoever measures how evenly it comes."""
        beat = self._presentation.beat
        if beat == self._shown_beat:
            return
        if beat is not None:
            if self._shown_beat is None or beat < self._shown_beat:
                self._mailbox.send(self._display.measure())
            self._mailbox.send(BeatShown(beat, time.perf_counter()))
        self._shown_beat = beat

    def _paint(self, *, now: float) -> list[pygame.Rect]:
        surface = self._display.surface
        if now - self._moved_at >= _MOVING_BEAT_S:
            self._phase, self._moved_at = now % _MOVING_PERIOD_S / _MOVING_PERIOD_S, now
        local = Local(self._phase, self._figures, self._keyboard.is_focused)
        return self._painter.paint(surface, self._scene.parts(self._presentation, surface.get_size(), local))

    def _save(self, path: Path) -> None:
        """Write what is shown. A picture that cannot be written is no reason to end a match."""
        partial = path.with_name(f".{path.stem}.{os.getpid()}.png")
        try:
            self._paint(now=time.perf_counter())
            pygame.image.save(self._display.surface, str(partial))
            partial.replace(path)
        except (OSError, pygame.error) as error:
            _log.warning("the picture %s was not written: %s", path, error)
