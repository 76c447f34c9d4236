"""Checks TURN servers: asks each for an address, as a client in a match does."""

from __future__ import annotations

import time
from collections.abc import Sequence

from p2pclient.cli.doctor_findings import Finding, good, problem
from p2pclient.common.errors import TransportError
from p2pclient.transport.ice import IceServer
from p2pclient.transport.rtc import RtcTransport
from signaling.turn import IceRules

_MATCH = "doctor"
"""Stands in the user name where a client's has its match."""


async def check_turn(rules: IceRules) -> list[Finding]:
    """Return what is to be said of each TURN server."""
    offer = rules.offer(_MATCH, epoch=time.time())
    servers = [IceServer(each.url, each.username, each.credential) for each in offer.servers if each.username]
    return [await _check(each) for each in servers]


async def _check(server: IceServer) -> Finding:
    began = time.perf_counter()
    transport = RtcTransport(offerer=True, only_turn=True, ice_servers=[server])
    try:
        made = await transport.make_offer()
    except TransportError:
        fix = "does it run, is its address right, do firewalls let it through, and is its static-auth-secret this one?"
        return problem("turn", f"{server.url} gives no address", fix)
    finally:
        await transport.close()
    took = 1000 * (time.perf_counter() - began)
    return good("turn", f"{server.url} gives the address {_address_in(made['sdp'])} ({took:.0f} ms)")


def _address_in(sdp: str) -> str:
    """Return the address on the TURN server from a description in which it is the only candidate."""
    candidates: Sequence[str] = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
    return candidates[0].split()[4] if candidates else "(none)"
