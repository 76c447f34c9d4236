"""The console in a real browser: what a researcher does, with mouse, keyboard and phone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from console_rig import PASSWORDS, RehearsedRoom, running_console, store_with_accounts

from p2pclient.common.match_settings import DEFAULT_STUDY
from signaling.actions import EndMatch, Pair, PauseMatch, ProbeRoom, ResumeMatch, Tell
from signaling.store.interface import Match
from signaling.store.memory import MemoryStore

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MATCH = "0003-c4127e5a"


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Any]:
    """Run the system's Chromium; skips with what is missing."""
    playwright = pytest.importorskip("playwright.async_api", reason="the Python package playwright is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium on this machine (Debian's package: chromium)")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    async with playwright.async_playwright() as driver:
        running = await driver.chromium.launch(executable_path=program, args=["--no-sandbox"] if is_root else [])
        try:
            yield running
        finally:
            await running.close()


async def log_in(page: Any, url: str, name: str) -> list[str]:
    """Log in by the form; returns the list to which everything is added that the browser complains of."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    await page.goto(f"{url}/console")
    await page.fill("[name=name]", name)
    await page.fill("[name=password]", PASSWORDS[name][1])
    await page.press("[name=password]", "Enter")
    await page.wait_for_selector(".figure")
    return complaints


async def seen(page: Any, selector: str, words: str) -> None:
    await page.locator(selector, has_text=words).first.wait_for()


async def open_view(page: Any, url: str, view: str) -> None:
    """Go to a view and wait until it is drawn."""
    await page.goto(f"{url}/console#{view}")
    name = view.partition("/")[0].capitalize()
    await page.wait_for_function("name => document.title.replace(/^.*\\) /, '').startsWith(name + ':')", arg=name)


async def measure_the_network(page: Any) -> None:
    """Look at the matrix among the stations, and ask for a new one."""
    fields = page.locator("table.matrix tbody td:not(.self)")
    found = [await fields.nth(at).inner_text() for at in range(6)]
    assert found == ["212 ms10.0 %", "none", "212 ms10.0 %", "3.4 ms", "none", "3.4 ms"]
    title = await fields.nth(1).get_attribute("title")
    assert title.startswith("LAB05 and LAB08: Their computers cannot reach each other.")
    await page.click("text=Measure everyone who does not play")
    await seen(page, ".hint b", "2 of 3 pairs measured.")


async def test_a_researcher_pairs_pauses_messages_and_ends_in_the_browser() -> None:
    room = RehearsedRoom()
    async with asyncio.timeout(120), running_console(room) as url, browser() as running:
        page = await running.new_page(viewport={"width": 1280, "height": 800})
        complaints = await log_in(page, url, "ada")
        await seen(page, ".alerts li", "LAB05 and LAB06: round trip")

        await page.keyboard.press("2")
        await seen(page, ".tile", room.label)  # as text: nothing of it was read as markup
        assert await page.locator("main img").count() == 0
        await measure_the_network(page)
        await page.click(".tile:has-text('LAB08')")
        await page.click(".tile:has-text('LAB07')")
        await seen(page, ".chosen", "2 chosen: LAB08 + LAB07")
        await page.keyboard.press("p")
        await seen(page, ".toast", "Sent: pair for LAB08 + LAB07.")

        await page.goto(f"{url}/console#match/{MATCH}")
        await seen(page, "figure.chart", "Round trip")
        assert await page.locator("figure.chart path.line-1").first.get_attribute("d")
        await page.click("main button:has-text('Pause')")
        await page.click("main button:has-text('Resume')")
        await page.click("main button:has-text('Message')")
        await page.fill("dialog textarea", "Five more minutes.")
        await page.click("dialog button:has-text('Send')")
        await page.click("main button:text-is('End')")
        await page.keyboard.press("Escape")  # it asks first, and can be left
        await page.locator("dialog").wait_for(state="detached")
        await page.click("main button:text-is('End')")
        await page.click("dialog button:has-text('End the match')")
        await seen(page, ".toast", "Sent: end for LAB05 + LAB06.")

        await page.keyboard.press("5")
        await seen(page, "#main td", "done")
        await page.keyboard.press("6")
        await seen(page, "#main td", "Five more minutes.")  # the audit log

        acted = [action for action, _ in room.acted]
        assert acted == [
            ProbeRoom(),
            Pair(participants=("p7", "p6")),
            PauseMatch(match=MATCH),
            ResumeMatch(match=MATCH),
            Tell(text="Five more minutes.", match=MATCH),
            EndMatch(match=MATCH),
        ]
        await page.click("text=Log out")
        await page.wait_for_selector("[name=password]")
        assert complaints == []


async def old_matches(count: int) -> MemoryStore:
    """Return a store with the accounts, and matches that ended on other days."""
    store = await store_with_accounts()
    labels = {"a": ("P-001", "LAB01", False), "b": ("<b>P-002</b>", "", True)}
    facts = {"seats": {"a": [0], "b": [1]}, "labels": labels}
    told = ({"reason": "complete", "verified_frames": 890, "desyncs": 0},)
    await store.write(
        [
            Match(
                id=f"{number:04d}-0abc", study_id=DEFAULT_STUDY, seats=("a", "b"), state="ended", results=told,
                room=facts, reason="left" if number % 9 == 0 else "complete",
                started_at=1.7e9 + 400 * number, ended_at=1.7e9 + 400 * number + 300,
            )
            for number in range(1, count + 1)
        ]
    )  # fmt: skip
    return store


async def test_an_admin_decides_about_accounts_and_sees_matches_of_earlier_days_in_the_browser() -> None:
    store = await old_matches(60)
    async with asyncio.timeout(120), running_console(store=store) as url, browser() as running:
        page = await running.new_page(viewport={"width": 1280, "height": 800})
        complaints = await log_in(page, url, "ada")
        await page.keyboard.press("6")
        await seen(page, "h2", "Data so far: 60 ended, 54 of them complete")
        await seen(page, "#main td", "<b>P-002</b>")
        for shown in (20, 40):
            await page.wait_for_function("most => document.querySelectorAll('#main tr').length > most", arg=shown)
            await page.click("text=Show older matches")
        await seen(page, "#main tr", "0001")
        await page.locator("text=Show older matches").wait_for(state="detached")
        async with page.expect_download() as awaited:
            await page.click("text=Audit log as CSV")
        assert (await awaited.value).suggested_filename == "study-audit.csv"

        await page.keyboard.press("7")
        await seen(page, "#main tr", "olu")
        last_admin = page.locator("tr:has-text('ada') button:enabled")
        assert await last_admin.all_inner_texts() == ["Password"]
        for again in ("12345679", "12345678"):
            await page.click("text=Add an account")
            await page.fill("dialog [name=name]", "eve")
            await page.select_option("dialog select", "operator")
            await page.fill("dialog [name=password]", "12345678")
            await page.fill("dialog [name=again]", again)
            await page.press("dialog [name=again]", "Enter")
        await seen(page, ".toast", "two different passwords")
        await seen(page, "#main tr", "eve")
        await page.click("tr:has-text('eve') button:has-text('Remove')")
        await page.click("dialog button:has-text('Remove')")
        await page.locator("#main tr", has_text="eve").wait_for(state="detached")
        assert [each.name for each in await store.accounts()] == ["ada", "olu", "vi"]
        assert complaints == []


async def test_every_view_fits_a_phone_and_a_viewer_can_press_nothing() -> None:
    room = RehearsedRoom()
    async with asyncio.timeout(120), running_console(room) as url, browser() as running:
        page = await running.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
        complaints = await log_in(page, url, "vi")
        for view in ("overview", "stations", "matches", f"match/{MATCH}", "waiting", "actions", "data", "accounts"):
            await open_view(page, url, view)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view
            assert await page.locator("#main button:enabled:not(.tile)").count() == 0, view
        assert await page.locator("#main button:disabled").count() == 0  # on Data, there is nothing to press
        await open_view(page, url, "actions")
        assert await page.locator("#main button:disabled").count() > 5
        await page.keyboard.press("h")
        await seen(page, ".toast", "Your role may look, not act.")
        assert room.acted == []
        assert complaints == []
