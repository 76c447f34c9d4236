"""The console in a real browser: what a researcher does, with mouse, keyboard and phone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from console_rig import PASSWORDS, RehearsedRoom, running_console

from signaling.actions import EndMatch, Pair, PauseMatch, ProbeRoom, ResumeMatch, Tell

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


async def test_every_view_fits_a_phone_and_a_viewer_can_press_nothing() -> None:
    room = RehearsedRoom()
    async with asyncio.timeout(120), running_console(room) as url, browser() as running:
        page = await running.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
        complaints = await log_in(page, url, "vi")
        for view in ("overview", "stations", "matches", f"match/{MATCH}", "waiting", "actions", "data"):
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
