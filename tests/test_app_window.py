"""The real window on a real X server, with real key events."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_window_rig import PATIENCE_S, ROOT, Window, ask_to_close, wait_for


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server of our own, on a display number that it chooses."""
    for program, package in (("Xvfb", "xvfb"), ("xdotool", "xdotool")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; on Debian: apt-get install {package}")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait()


@pytest.fixture
def playing(display: str) -> Iterator[Window]:
    """A window that shows the match and has the keyboard."""
    window = Window(display)
    try:
        window.order("publish", screen="playing")
        window.heard("Shown")
        window.xdotool("windowfocus", "--sync", str(window.id))
        yield window
    finally:
        window.end()


def test_keys_arrive_as_positions_once_each_however_long_they_are_held(playing: Window) -> None:
    playing.xdotool("keydown", "w", "keydown", "Left", "sleep", "0.8", "keyup", "w", "keyup", "Left", "key", "space")
    assert playing.keys_until("Space", pressed=False) == [
        ("KeyW", True),
        ("ArrowLeft", True),
        ("KeyW", False),
        ("ArrowLeft", False),
        ("Space", True),
        ("Space", False),
    ]


def test_losing_the_keyboard_releases_what_is_held(playing: Window) -> None:
    playing.xdotool("keydown", "d", "keydown", "s")
    playing.keys_until("KeyS", pressed=True)
    root = playing.xdotool("search", "--maxdepth", "0", ".*").split()[0]
    playing.xdotool("windowfocus", root)
    messages = playing.heard_all_until("FocusChange")
    playing.xdotool("keyup", "d", "keyup", "s")
    released = [m["code"] for m in messages if m["kind"] == "KeyChange" and not m["pressed"]]
    assert released == ["KeyD", "KeyS"]
    assert messages[-1]["focused"] is False


def test_while_a_computer_is_checked_each_picture_is_answered_with_its_time(playing: Window, tmp_path: Path) -> None:
    playing.order("publish", screen="checking")
    measured, first = playing.heard_all_until("BeatShown")[-2:]
    assert (measured["kind"], measured["width"], measured["height"]) == ("DisplayMeasured", 1280, 1024)
    assert first["beat"] == 48
    playing.order("publish", screen="waiting")
    playing.order("snapshot", path=str(tmp_path / "waiting.png"))
    wait_for((tmp_path / "waiting.png").exists)
    playing.order("publish", screen="checking")
    again = playing.heard_all_until("BeatShown")
    assert [m["kind"] for m in again] == ["DisplayMeasured", "BeatShown"], "asked anew, measured anew"
    assert again[-1]["at"] > first["at"]


def test_figures_key_stays_in_the_window(playing: Window) -> None:
    playing.xdotool("key", "F3", "key", "Escape")
    assert playing.keys_until("Escape", pressed=False) == [("Escape", True), ("Escape", False)]


def test_full_screen_and_back(playing: Window, tmp_path: Path) -> None:
    import pygame

    def shown_size() -> tuple[int, int]:
        picture = tmp_path / f"{time.perf_counter_ns()}.png"
        playing.order("snapshot", path=str(picture))
        wait_for(picture.exists)
        return pygame.image.load(picture).get_size()

    before = shown_size()
    playing.xdotool("key", "F11")
    wait_for(lambda: shown_size() == (1280, 1024))
    playing.xdotool("windowfocus", "--sync", str(playing.id), "key", "F11")
    wait_for(lambda: shown_size() == before)
    assert playing.process.poll() is None


def test_close_button_asks_and_the_window_stays_until_the_runtime_has_finished(playing: Window, tmp_path: Path) -> None:
    ask_to_close(playing.display, playing.id)
    playing.heard("CloseRequest")
    playing.order("snapshot", path=str(tmp_path / "leaving.png"))
    playing.order("publish", screen="playing")
    wait_for(lambda: (tmp_path / "leaving.png").exists())
    assert playing.process.poll() is None
    playing.order("close")
    playing.heard("ended")
    assert playing.process.wait(PATIENCE_S) == 0


def test_interrupt_asks_once_and_a_second_one_ends_at_once(playing: Window) -> None:
    playing.process.send_signal(signal.SIGINT)
    playing.heard("CloseRequest")
    playing.process.send_signal(signal.SIGINT)
    assert "CloseRequest" not in [m["kind"] for m in playing.heard_all_until("ended")]
    assert playing.process.wait(PATIENCE_S) == 0


def test_window_ends_by_itself_when_the_runtime_does_not(display: str) -> None:
    window = Window(display, LEAVE_TIMEOUT="0.3")
    try:
        window.order("publish", screen="waiting")
        ask_to_close(display, window.id)
        window.heard("CloseRequest")
        window.heard("ended")
        assert window.process.wait(PATIENCE_S) == 0
    finally:
        window.end()


def test_enter_answers_a_screen_that_offers_to_go_on(playing: Window) -> None:
    playing.xdotool("key", "Return")
    assert "Continue" not in [m["kind"] for m in playing.heard_all_until("KeyChange")]
    playing.order("publish", screen="results")
    # Several times: what is pressed in the first moment is held to be meant for the match.
    playing.xdotool("key", "--repeat", "8", "--delay", "100", "Return")
    assert playing.heard("Continue")["at"] > 0


@pytest.mark.alone
def test_views_are_shown_within_a_frame_of_being_published(playing: Window) -> None:
    playing.order("measure")
    latencies = sorted(playing.heard("latencies")["ms"])
    assert len(latencies) == 60
    assert latencies[30] < 16.7


def test_picture_on_request_is_what_the_runtime_published(playing: Window, tmp_path: Path) -> None:
    import pygame

    from p2pclient.app.gallery import presentations
    from p2pclient.app.screens import Local, render_presentation

    target = tmp_path / "shown.png"
    playing.order("snapshot", path=str(target))
    wait_for(target.exists)
    shown = pygame.image.load(target)
    expected = render_presentation(presentations()["playing"][0], shown.get_size(), local=Local(focused=True))
    assert pygame.image.tobytes(shown, "RGB") == pygame.image.tobytes(expected, "RGB")


def test_no_display_is_said_in_a_sentence_that_helps() -> None:
    code = (
        "from p2pclient.app.mailbox import Mailbox; from p2pclient.app.window import run_window; run_window(Mailbox())"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env["SDL_VIDEODRIVER"] = "x11"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert "DisplayError: no display: " in run.stderr
    assert "--headless" in run.stderr
