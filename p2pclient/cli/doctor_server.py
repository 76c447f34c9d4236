"""Checks of the way to a server: name, TCP, HTTP, WebSocket, versions, round trips, clock."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from p2pclient import __version__
from p2pclient.cli.doctor_findings import Finding, good, note, problem, warning
from p2pclient.common import tls_errors
from p2pclient.common.discovery_messages import FACTS_PATH, ServerFacts, facts_of
from p2pclient.common.errors import RemoteProtocolError, SignalingError
from p2pclient.common.lobby_messages import LOBBY_PROTOCOL
from p2pclient.runtime.signaling_link import SignalingLink, tls_code

SLOW_MS, FAR_OFF_S = 100.0, 2.0
_ROUNDS = 15
_TIMEOUT_S = 5.0
_MAX_BYTES = 8192

_REACH = "is it started (tandem serve), is the address right, and does its firewall let this port in?"


async def check_server(urls: Sequence[str], trust: ssl.SSLContext | None = None) -> list[Finding]:
    """Return what is to be said of the way to the server at the first of ``urls`` that answers."""
    findings: list[Finding] = []
    for url in urls:
        findings = await _check(url, trust)
        if findings[0].level.value != "problem":
            break
    return findings


async def _check(url: str, trust: ssl.SSLContext | None) -> list[Finding]:
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError, UnicodeError) as error:
        return [problem("server", f"no connection to {url}: {error or 'no answer'}", _REACH)]
    writer.close()
    found = [good("server", f"TCP to {url} works")]
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    connector = aiohttp.TCPConnector(ssl=True if trust is None else trust)
    async with aiohttp.ClientSession(connector=connector, trust_env=False, timeout=timeout) as session:
        try:
            found += await _check_http(session, url)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError, RemoteProtocolError) as error:
            link = await _check_websocket(url, trust)
            if tls_code(error) or link.topic == "https":
                return [*found, link]
            fix = "check the address and the port; another program may listen there"
            return [*found, problem("server", f"what answers is no Tandem server ({error!r})", fix)]
    return [*found, await _check_websocket(url, trust)]


async def _check_http(session: aiohttp.ClientSession, url: str) -> list[Finding]:
    said: dict[str, Any] = {}
    rtts, offsets = [], []
    for _ in range(_ROUNDS):
        started, epoch = time.perf_counter(), time.time()
        async with session.get(url + FACTS_PATH, allow_redirects=False) as answer:
            said = json.loads(await answer.content.read(_MAX_BYTES))
        rtt = time.perf_counter() - started
        facts = facts_of(said)
        rtts.append(rtt * 1e3)
        stamp = said.get("time")
        if isinstance(stamp, float) and math.isfinite(stamp):
            offsets.append((rtt, stamp - (epoch + rtt / 2)))
    return [*check_facts(facts), check_rtts(rtts[1:]), *check_offset(min(offsets)[1] if offsets else None)]


def check_facts(facts: ServerFacts) -> list[Finding]:
    """Compare what the server says of itself with this program."""
    found = [good("server", f"the room {facts.room!r} on {facts.computer or 'a computer'}, version {facts.version}")]
    if facts.protocol != LOBBY_PROTOCOL:
        text = f"the server speaks version {facts.protocol} of the protocol, this program {LOBBY_PROTOCOL}"
        older = "this program" if facts.protocol > LOBBY_PROTOCOL else "the server's"
        found.append(problem("versions", text, f"upgrade {older}"))
    elif facts.version and facts.version != __version__:
        text = f"the server is {facts.version}, this program {__version__}"
        found.append(warning("versions", text, "install the same version on all computers of a study"))
    else:
        found.append(good("versions", f"both {__version__}"))
    return found


def check_rtts(rtts: Sequence[float]) -> Finding:
    ranked = sorted(rtts)
    text = f"round trip {ranked[len(ranked) // 2]:.1f} ms in the middle, {ranked[-1]:.1f} ms at most"
    if ranked[len(ranked) // 2] > SLOW_MS:
        return warning("round trip", text, "use a cable instead of Wi-Fi, and end downloads on this network")
    return good("round trip", text)


def check_offset(offset: float | None, who: str = "the server's") -> list[Finding]:
    """``offset``: their clock minus ours, seconds; None if it is not known."""
    if offset is None:
        return []
    text = f"{who} clock is {abs(offset) * 1e3:.0f} ms {'ahead of' if offset > 0 else 'behind'} this one"
    if abs(offset) > FAR_OFF_S:
        fix = "set the clocks of both by the same source; play does not need it, but the dates in recordings do"
        return [warning("clock", text, fix)]
    return [note("clock", text)]


async def _check_websocket(url: str, trust: ssl.SSLContext | None) -> Finding:
    try:
        link = await SignalingLink.open(url, on_event=lambda event, payload: None, on_lost=lambda: None, trust=trust)
    except SignalingError as error:
        if error.code in tls_errors.SENTENCES:
            what, _, fix = str(error).partition(". ")
            return problem("https", what, fix or "give the server another certificate")
        fix = (
            "HTTP works, so that something between lets no WebSocket through: a proxy, or a virus scanner that looks in"
        )
        return problem("WebSocket", str(error), fix)
    await link.close()
    return good("WebSocket", "a client can connect")
