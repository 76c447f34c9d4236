"""Two clients in two real windows, played by real key events, and what one shows when the other is killed."""

from __future__ import annotations

import itertools
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from app_window_rig import ask_to_close
from window_rig import (
    Desk,
    Tandem,
    desk_or_skip,
    frames,
    picture_area,
    presses,
    run_of,
    straight_picture,
    wait_for,
    wait_for_frames,
)

from p2pclient.recorder.reading import RunReader
from p2pclient.runtime.presenter import key_help

KITCHEN = "cogrid:Overcooked-CrampedRoom-V0"
WALK = "test:counter_v0"


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    yield from desk_or_skip()


# -- two people at one keyboard ---------------------------------------------------------------------------------------


def two_windows(desk: Desk, out: Path, *length: str) -> Tandem:
    options = ("--two-windows", *length, "--latency-ms", "150", "--seed", "3", "--json", "--out", str(out))
    return Tandem(desk, "demo", KITCHEN, *options, folder=out, name="demo", watched=False)


def test_two_windows_at_one_keyboard_show_the_same_confirmed_picture(desk: Desk, tmp_path: Path) -> None:
    demo = two_windows(desk, tmp_path, "--seconds", "600", "--max-steps", "9000")  # it ends when a window is closed
    try:
        runs = [run_of(tmp_path / f"client-{number}") for number in (1, 2)]
        windows = [desk.window_of(client_of(demo, number)) for number in (1, 2)]
        for active, keys in ((0, ("a", "Up", "w", "Left", "space")), (1, ("d", "Down", "Return", "s", "Right"))):
            desk.activate(windows[active])
            for key in keys:
                desk.press(key)
                wait_for_frames(runs[0], 2)
            if active == 0:
                # From here on both have the keyboard, in whichever window; inputs on their way do not know yet.
                focused = [len(frames(run)) + 10 for run in runs]
        for run in runs:
            wait_for_frames(run, 15)  # nothing is pressed any more, and all that was is confirmed
        assert_both_pictures_are_right(desk, windows, runs)
        for run, begin in zip(runs, focused, strict=True):
            wait_for_frames(run, begin + 15, more=False)
            assert all(all(frame.focus) for frame in frames(run)[begin:])

        ask_to_close(desk.display, windows[0])
        played = [wait_for_the_end(run) for run in runs]
        assert [reader.manifest["outcome"]["reason"] for reader in played] == ["left", "partner-left"]
        assert all(reader.manifest["outcome"]["counters"]["rollbacks"] > 0 for reader in played)
        by_label = {b["label"]: int(b["input"], 16) for b in played[0].manifest["env"]["controls"]["bindings"]}
        first = ("left", "up", "pick up or put down", "right", "down")
        second = ("up", "left", "down", "pick up or put down", "right")
        for run in runs:
            assert [presses(run, 0), presses(run, 1)] == [[by_label[n] for n in names] for names in (first, second)]
        wait_for(lambda: press_and_look(desk, demo), "the end of the demo")
        assert demo.ended() == 1  # it was not played to its end
    finally:
        demo.close()


def test_two_windows_play_for_as_long_as_asked_for_and_enter_ends_both(desk: Desk, tmp_path: Path) -> None:
    demo = two_windows(desk, tmp_path, "--seconds", "3")
    try:
        played = [wait_for_the_end(run_of(tmp_path / f"client-{number}")) for number in (1, 2)]
        assert [reader.recorded for reader in played] == [45, 45]
        # Enter, until both have gone on from their results: the window that is left gets the keyboard by itself.
        wait_for(lambda: press_and_look(desk, demo), "the end of the demo")
        assert demo.ended() == 0
    finally:
        demo.close()


def client_of(demo: Tandem, number: int) -> int:
    for process in psutil.Process(demo.process.pid).children():
        command = process.cmdline()
        if f"client {number}" in command:
            return process.pid
    raise AssertionError(f"client {number} does not run")


def assert_both_pictures_are_right(desk: Desk, windows: list[int], runs: list[Path]) -> None:
    """What is seen in both windows against each other, and against a straight run of the recorded inputs."""
    controls = RunReader(runs[0]).manifest["env"]["controls"]
    pixels, _ = straight_picture(runs[0])
    for window, keys in zip(windows, ("first", "second"), strict=True):
        seen, expected = picture_area(desk.picture(window), pixels, key_help(controls, keys))
        assert seen.shape == expected.shape
        assert int((seen != expected).any(axis=2).sum()) == 0, f"the window of the {keys} player shows something else"


def wait_for_the_end(run: Path) -> RunReader:
    wait_for(lambda: RunReader(run).was_finished, f"the end of {run}")
    return RunReader(run)


def press_and_look(desk: Desk, demo: Tandem) -> bool:
    desk.press("Return")
    return demo.process.poll() is not None


# -- a partner is killed ----------------------------------------------------------------------------------------------


@pytest.fixture
def pair(desk: Desk, tmp_path: Path) -> Iterator[tuple[Tandem, Tandem, Tandem]]:
    """A server, a client with a window, and its partner: a bot without one."""
    server = Tandem(
        desk,
        *(
            "serve",
            WALK,
            "--if-lost",
            "end",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--rate",
            "30",
            "--max-steps",
            "100000",
        ),
        *("--drop-after", "4"),
        folder=tmp_path,
        name="server",
        watched=False,
    )
    started = [server]
    try:
        found = re.search(r"http://\S+", server.line("tandem join"))
        assert found is not None
        url = found.group()
        person = Tandem(desk, "join", url, "--json", "--out", str(tmp_path / "person"), folder=tmp_path)
        started.append(person)
        person.screen("waiting")
        bot = Tandem(
            desk,
            *("join", url, "--bot", "seeker", "--headless", "--out", str(tmp_path / "bot")),
            folder=tmp_path,
            name="bot",
            watched=False,
        )
        started.append(bot)
        person.screen("playing")
        wait_for_frames(run_of(tmp_path / "person"), 10)
        yield server, person, bot
    finally:
        for process in reversed(started):
            process.close()


@pytest.mark.alone
def test_window_says_within_three_seconds_that_its_partner_was_killed(
    desk: Desk, pair: tuple[Tandem, Tandem, Tandem], tmp_path: Path
) -> None:
    server, person, bot = pair
    # The server goes first, so that nobody can tell but by the silence: a match goes on without it.
    server.process.send_signal(signal.SIGKILL)
    wait_for_frames(run_of(tmp_path / "person"), 10)
    killed = time.perf_counter()
    bot.process.send_signal(signal.SIGKILL)
    lost = person.screen("partner lost")
    assert lost["at"] - killed < 3.0
    over = person.screen("results")
    assert over["at"] - killed < 4.0 + 2.0  # that long may a partner be silent, then the goodbye
    shown = [fact["screen"] for fact in person.facts("screen") if fact["at"] >= lost["at"]]
    assert shown == ["partner lost", "results"]
    assert_alive(person, since=killed)
    assert wait_for_the_end(run_of(tmp_path / "person")).manifest["outcome"]["reason"] == "partner-gone"


@pytest.mark.alone
def test_window_goes_on_playing_when_a_silent_partner_is_back(
    desk: Desk, pair: tuple[Tandem, Tandem, Tandem], tmp_path: Path
) -> None:
    _, person, bot = pair
    stopped = time.perf_counter()
    bot.process.send_signal(signal.SIGSTOP)
    try:
        lost = person.screen("partner lost")
        assert lost["at"] - stopped < 3.0
    finally:
        bot.process.send_signal(signal.SIGCONT)
    person.screen("playing", after=lost["at"])
    wait_for_frames(run_of(tmp_path / "person"), 20)
    assert_alive(person, since=stopped)


def assert_alive(client: Tandem, *, since: float) -> None:
    """The window's loop has gone on all the time, and still does."""
    count = len(client.facts("window-beat"))
    wait_for(lambda: len(client.facts("window-beat")) >= count + 2, "two beats", client)
    beats = [beat["at"] for beat in client.facts("window-beat") if beat["at"] > since]
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < 1.0
