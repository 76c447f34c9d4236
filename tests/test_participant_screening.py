"""Whole clients of a server with rules: what they are shown and record, and that functions do the server no harm."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from play_rig import BOT, ENV
from signaling_rig import listening_server
from test_play_return import Recorder

from p2pclient.common.lobby_messages import MatchSettings
from p2pclient.common.presentation import Screen
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.verify import verify_folders
from p2pclient.runtime.participant import Participant
from p2pclient.runtime.participant_settings import ParticipantSettings
from signaling.room_state import Rules
from signaling.screening_file import parse_rules
from signaling.screening_hooks import ScreeningHook
from signaling.server import Listening

SETTINGS = MatchSettings(env=ENV, rate_hz=30.0, frames=3000)
PATIENCE_S = 30.0


class Guest:
    """One client that runs in this loop, with a window of which every screen is kept."""

    def __init__(self, listening: Listening, out: Path, label: str) -> None:
        self.window, self.reports = Recorder(), list[Any]()
        settings = ParticipantSettings(
            url=f"http://127.0.0.1:{listening.port}",
            out=out / label,
            label=label,
            bot=BOT,
            host_options={"inline": True},
            linger=False,
            headless=True,
        )
        self.client = Participant(settings, self.window, report=self.reports.append)

    async def run(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.client.run()

    def told(self, event: str) -> Any:
        (found,) = [each for each in self.reports if each["event"] == event]
        return found

    @property
    def screens(self) -> list[Screen]:
        """What was shown, each once in a row."""
        kinds = [each.screen for each in self.window.shown]
        return [kind for number, kind in enumerate(kinds) if number == 0 or kinds[number - 1] is not kind]


def with_rules(**table: Any) -> Rules:
    return Rules(screening=parse_rules(table))


async def test_who_is_let_in_is_measured_first_and_waits_then(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    rules = with_rules(entry={"bots": True, "environment": {}, "custom": {"hook": "rules:admit", "timeout_s": 30}})
    hook = ScreeningHook("rules:admit", seen.append, timeout_s=PATIENCE_S)
    async with listening_server(SETTINGS, rules=rules, hooks={"entry": hook}) as listening:
        guest = Guest(listening, tmp_path, "Ann")
        running = asyncio.create_task(guest.run())
        async with asyncio.timeout(PATIENCE_S):
            await guest.window.until(lambda shown: shown.screen is Screen.WAITING)
        assert len(listening.server.room.waiting) == 1
        guest.client.close()
        await running
    (facts,) = seen
    assert facts["label"] == "Ann"
    assert facts["environment"]["digest"]
    assert facts["ping"]["samples"] == 8
    assert facts["unknown"] == {"display": "There is no window.", "pacing": "There is no window."}
    assert [kind for kind in guest.screens if kind is not Screen.LOADING] == [Screen.CHECKING, Screen.WAITING]


async def test_who_is_not_let_in_reads_why_and_its_client_ends(tmp_path: Path) -> None:
    rules = with_rules(entry={"bots": True, "display": {"min_width": 800}})
    async with listening_server(SETTINGS, rules=rules) as listening:
        guest = Guest(listening, tmp_path, "Ann")
        await guest.run()
    last = guest.window.shown[-1]
    assert (last.screen, last.title) == (Screen.EXCLUDED, "Thank you for coming")
    assert "There is no window." in last.message
    assert guest.told("removed")["text"] == last.message
    assert Screen.WAITING not in guest.screens


async def test_a_function_that_hangs_does_not_hold_the_server_up(tmp_path: Path) -> None:
    let_go = threading.Event()
    custom = {"hook": "rules:admit", "on_error": "exclude", "message": "Please ask Eva."}
    rules = with_rules(entry={"bots": True, "custom": custom})
    hook = ScreeningHook("rules:admit", lambda facts: let_go.wait(PATIENCE_S) and None, timeout_s=0.1)
    try:
        async with listening_server(SETTINGS, rules=rules, hooks={"entry": hook}) as listening:
            guests = [Guest(listening, tmp_path, label) for label in ("Ann", "Bob")]
            await asyncio.gather(*(guest.run() for guest in guests))
            assert [guest.window.shown[-1].message for guest in guests] == ["Please ask Eva."] * 2
            events = listening.server.room.row(now=0.0, epoch=0.0).events
    finally:
        let_go.set()
    assert sum("longer than 0.1 s" in each.text for each in events if each.severity == "problem") == 2


async def test_who_is_excluded_in_mid_match_and_its_partner_both_keep_their_data_and_are_told(tmp_path: Path) -> None:
    def watch(facts: dict[str, Any]) -> str | None:
        return "Please play." if facts["label"] == "Bob" else None

    custom = {"hook": "rules:watch", "every_s": 1, "exclude_after_s": 0, "patience_s": 0}
    rules = with_rules(playing={"bots": True, "grace_s": 0, "partner_message": "It was not you.", "custom": custom})
    hook = ScreeningHook("rules:watch", watch, timeout_s=PATIENCE_S)
    async with listening_server(SETTINGS, rules=rules, hooks={"playing": hook}) as listening:
        bob, ann = (Guest(listening, tmp_path, label) for label in ("Bob", "Ann"))
        await asyncio.gather(bob.run(), ann.run())
    assert "Please play." in {shown.hud.notice for shown in bob.window.shown}, "warned first"
    assert not any("Please play." in shown.hud.notice + shown.message for shown in ann.window.shown)
    last = bob.window.shown[-1]
    assert (last.screen, last.title, last.message) == (Screen.EXCLUDED, "Thank you for taking part", "Please play.")
    assert (ann.window.shown[-1].screen, ann.window.shown[-1].message) == (Screen.RESULTS, "It was not you.")
    folders = [Path(guest.told("played")["folder"]) for guest in (bob, ann)]
    outcomes = [RunReader(folder).manifest["outcome"] for folder in folders]
    assert [(each["reason"], each["text"]) for each in outcomes] == [
        ("excluded", "Please play."),
        ("partner-excluded", "It was not you."),
    ]
    assert all(RunReader(folder).was_finished for folder in folders)
    verdict = verify_folders(*folders)
    assert verdict.frames > 0
    assert verdict.field is None, "the shorter one is the beginning of the longer one"
