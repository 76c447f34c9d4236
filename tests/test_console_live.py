"""The console over a real server and real clients: what the page says is what happened to them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from play_rig import Tandem, assert_whole, join, settings
from signaling_rig import listening_server
from test_console_browser import browser

from signaling.room_state import Rules
from signaling.server import Listening

WITHIN_MS = 60_000
BAD_LINK = ("--latency-ms", "300", "--loss", "0.2")


async def shows(page: Any, selector: str, *words: str) -> None:
    """Wait until there is an element with all of these words."""
    found = page.locator(selector)
    for each in words:
        found = found.filter(has_text=each)
    await found.first.wait_for()


async def do(page: Any, button: str, *, answer: str = "", text: str = "") -> None:
    """Press a button of the view at hand, and answer the dialog that follows, if one does."""
    await page.click(f"#main button:text-is('{button}')")
    if text:
        await page.fill("dialog textarea, dialog input", text)
    if answer:
        await page.click(f"dialog button:text-is('{answer}')")


async def pair(page: Any, *names: str) -> None:
    for name in names:
        await page.click(f".tile:has(b:text-is('{name}'))")
    await page.click("#bar button:text-is('Pair')")


async def of_all(clients: tuple[Tandem, ...], event: str) -> list[dict[str, Any]]:
    return [await each.until(event, within=60) for each in clients]


async def log_in(page: Any, listening: Listening) -> None:
    """Log in as somebody who has read what the server prints at its first start."""
    page.set_default_timeout(WITHIN_MS)
    await page.goto(listening.console_urls[0])
    await page.fill("[name=name]", "admin")
    await page.fill("[name=password]", listening.first_password)
    await page.press("[name=password]", "Enter")
    await page.wait_for_selector(".figure")


async def test_two_matches_are_paired_watched_paused_extended_and_ended(tmp_path: Path) -> None:
    length = settings(rate_hz=30.0, frames=30 * 600, env_args={"max_steps": 36_000})
    held = Rules(starts_held=True)
    async with AsyncExitStack() as stack:
        page = await (await stack.enter_async_context(browser())).new_page(viewport={"width": 1280, "height": 800})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        serving = listening_server(length, rules=held, data=tmp_path / "data")
        listening = await stack.enter_async_context(serving)

        def client(name: str, *flags: str) -> Any:
            flags = ("--station", name, "--env-inline", *flags)
            return stack.enter_async_context(join(listening.urls[0], tmp_path / name, *flags))

        started = (client("A"), client("B"), client("C"), client("D", *BAD_LINK))
        a, b, c, d, _ = await asyncio.gather(*started, log_in(page, listening))
        await page.keyboard.press("4")
        await shows(page, "#main h2", "4 waiting")
        await page.wait_for_function("() => !document.querySelector('#main').innerText.includes('being loaded')")
        await shows(page, "#main tbody tr", "4", "Matching is on hold")  # and each has its place in the queue
        await page.keyboard.press("2")
        await pair(page, "A", "B")
        await shows(page, ".toast", "Done: pair for A + B.")
        await pair(page, "C", "D")
        await of_all((a, b, c, d), "playing")

        await page.keyboard.press("1")
        await shows(page, ".card", "playing", "A + B", "RTT")
        await shows(page, ".card", "playing", "C + D", "round trip 3")
        await shows(page, ".alerts li", "C and D: round trip 3")
        await page.click(".card:has-text('A + B')")
        await page.locator("figure.chart > svg path.line-1[d*='L']").first.wait_for(state="attached")
        assert await page.locator(".alerts li").count() == 0, "of the other match"

        await do(page, "Pause")
        await shows(page, "h2.match", "paused")
        pauses = await of_all((a, b), "pause")
        assert pauses[0]["frame"] == pauses[1]["frame"]
        await shows(page, ".views td", "paused")
        await do(page, "Resume")
        await of_all((a, b), "resume")
        await shows(page, "h2.match", "playing")
        await do(page, "Extend", answer="Extend", text="60")
        await of_all((a, b), "extend")
        await shows(page, "h2.match", "of 11:00")
        await do(page, "Message", answer="Send", text="Five more minutes.")
        assert [each["text"] for each in await of_all((a, b), "said")] == ["Five more minutes."] * 2
        await do(page, "End", answer="End the match")
        ended = await of_all((a, b), "played")
        await shows(page, "h2.match", "ended by researcher")
        assert [each["reason"] for each in ended] == ["ended-by-researcher"] * 2
        assert not c.of("pause") + c.of("played"), "the other match goes on"

        await page.keyboard.press("5")
        for kind in ("pair", "pause", "resume", "extend", "tell", "end"):
            await shows(page, "#main tr", kind, "done")
        assert complaints == []
        for each in (c, d):
            each.kill()
        runs = [assert_whole(each.run_folders()[0], least=pauses[0]["frame"]) for each in (a, b)]
        assert [f.inputs for f in runs[0].frames()] == [f.inputs for f in runs[1].frames()]
