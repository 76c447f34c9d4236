"""``tandem play`` in a real window, played by real key events."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
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
    times,
    wait_for,
    wait_for_frames,
)

from p2pclient.app.screens import Local, render_presentation
from p2pclient.common.presentation import Hud, Presentation, Screen, View
from p2pclient.recorder.reading import RunReader
from p2pclient.runtime.presenter import key_help, seat_colours

KITCHEN = "cogrid:Overcooked-CrampedRoom-V0"
WALK = "test:counter_v0"
LONG_S = 600
"""Far longer than a slow machine takes for all that is done in a match; who plays ends it."""


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    yield from desk_or_skip()


def play(desk: Desk, folder: Path, *arguments: str) -> Tandem:
    client = Tandem(desk, "play", *arguments, "--json", "--out", str(folder / "runs"), folder=folder)
    desk.activate(client.window)
    client.screen("playing")
    return client


def test_keys_act_and_what_is_shown_is_a_straight_run_of_what_was_recorded(desk: Desk, tmp_path: Path) -> None:
    length = ("--seconds", str(LONG_S), "--max-steps", str(15 * LONG_S))  # it ends when the window is closed
    client = play(desk, tmp_path, KITCHEN, *length)
    try:
        run = run_of(tmp_path / "runs")
        for key in ("a", "Up", "d", "space", "Return", "w", "Left"):
            desk.press(key)
            wait_for_frames(run, 2)
        desk.press("s", "d")  # both within a frame: neither is lost
        wait_for_frames(run, 5)
        shown = desk.picture(client.window)
        actions = RunReader(run).manifest["env"]["controls"]["bindings"]
        by_label = {binding["label"]: int(binding["input"], 16) for binding in actions}
        names = ("left", "up", "right", "pick up or put down", "pick up or put down", "up", "left", "down", "right")
        assert presses(run, 0) == [by_label[name] for name in names]
        assert_shows_straight_run(shown, run)
        ask_to_close(desk.display, client.window)
        assert client.ended() == 0
        reader = RunReader(run)
        assert reader.was_finished
        assert reader.manifest["outcome"]["reason"] == "left"
        assert reader.recorded >= 5
    finally:
        client.close()


def test_a_match_has_the_length_asked_for_and_enter_begins_another_one(desk: Desk, tmp_path: Path) -> None:
    client = play(desk, tmp_path, KITCHEN, "--seconds", "3")
    try:
        over = client.screen("results")["at"]
        wait_for(lambda: client.facts("window-beat")[-1]["at"] > over + 0.4, "the guard of the results screen")
        desk.press("Return")
        again = client.screen("playing", after=over)["at"]
        client.screen("results", after=again)
        wait_for(lambda: len(client.reports("played")) == 2, "the reports", client)
        lengths = [report["outcome"]["counters"]["confirmed_frames"] for report in client.reports("played")]
        assert lengths == [45, 45]
        ask_to_close(desk.display, client.window)
        assert client.ended() == 0
        runs = [RunReader(run_of(tmp_path / "runs", number)) for number in (0, 1)]
        assert [(reader.was_finished, reader.recorded) for reader in runs] == [(True, 45)] * 2
    finally:
        client.close()


def assert_shows_straight_run(shown: np.ndarray, run: Path) -> None:
    """The whole window, pixel by pixel: picture, scores, time and help."""
    env = RunReader(run).manifest["env"]
    pixels, totals = straight_picture(run)
    assert_same(*picture_area(shown, pixels, key_help(env["controls"], "all")))
    candidates = []
    left = LONG_S - len(frames(run)) // 15  # about: the picture was taken a moment before
    for seconds in range(left - 1, left + 15):
        hud = Hud(tuple(totals), 0, colours=seat_colours(env), seconds_left=float(seconds))
        keys = key_help(env["controls"], "all")
        playing = Presentation(Screen.PLAYING, view=View(0, 0, pixels), hud=hud, keys=keys)
        surface = render_presentation(playing, (shown.shape[1], shown.shape[0]), local=Local(focused=True))
        import pygame

        candidates.append(pygame.surfarray.array3d(surface).swapaxes(0, 1))
    differing = [int((candidate != shown).any(axis=2).sum()) for candidate in candidates]
    assert min(differing) == 0, f"pixels that differ, by seconds left: {differing}"
    assert sorted(differing)[1] > 0, "the time is not shown"


def assert_same(area: np.ndarray, expected: np.ndarray) -> None:
    assert area.shape == expected.shape
    assert int((area != expected).any(axis=2).sum()) == 0


def test_losing_the_focus_releases_keys_and_is_recorded(desk: Desk, tmp_path: Path) -> None:
    client = play(desk, tmp_path, WALK, "--env-arg", "max_steps=100000", "--rate", "30")
    try:
        run = run_of(tmp_path / "runs")
        wait_for_frames(run, 5)
        desk.key("d", True)
        wait_for_frames(run, 10)
        other = Tandem(desk, "play", WALK, "--out", str(tmp_path / "other"), folder=tmp_path, name="other")
        try:
            desk.activate(other.window)
            wait_for_frames(run, 10)
            desk.key("d", False)
            unfocused = frames(run)[-1]
            desk.activate(client.window)
            desk.press("a")
            wait_for_frames(run, 5)
        finally:
            other.close()
        assert (unfocused.focus[0], unfocused.actions[0]) == (False, 0)
        held = [frame for frame in frames(run) if frame.actions[0] == 2]
        assert len(held) >= 8
        assert all(frame.focus[0] for frame in held)
        after = frames(run)[-1]
        assert after.focus[0] is True
        assert [f.actions[0] for f in frames(run) if f.frame > unfocused.frame].count(1) >= 1
    finally:
        client.close()


@pytest.mark.alone
def test_a_minimised_or_dragged_window_does_not_stop_the_match(desk: Desk, tmp_path: Path) -> None:
    client = play(desk, tmp_path, WALK, "--env-arg", "max_steps=100000", "--rate", "30")
    try:
        run = run_of(tmp_path / "runs")
        window = client.window
        wait_for_frames(run, 5)
        desk.xdotool("windowminimize", "--sync", str(window))
        hidden = len(wait_for_frames(run, 3))
        wait_for_frames(run, 45)  # the display is waited for during a second at most, then frames count as not shown
        desk.activate(window)
        wait_for(lambda: times(run)[-1].shown_at is not None, "a shown frame", client)
        wait_for_frames(run, 10)
        left, top, width, _ = desk.place_of(window)
        desk.xdotool("mousemove", str(left + width // 3), str(top - 8), "mousedown", "1")
        for step in range(10):
            desk.xdotool("mousemove_relative", "--", "5", "3" if step % 2 else "-2")
            wait_for_frames(run, 1)
        desk.xdotool("mouseup", "1")
        assert desk.place_of(window)[0] > left
        wait_for_frames(run, 40)
        timing = times(run)
        assert any(time.shown_at is None for time in timing if hidden <= time.frame < hidden + 40)
        applied = [time.applied_at for time in timing]
        gaps = sorted(later - earlier for earlier, later in itertools.pairwise(applied))
        assert gaps[-1] < 0.5, "the match stood still"
    finally:
        client.close()
