"""What two machines measured between them, and what is to be said of it: pure.

On each side there are two sockets. The *sink* only ever answers, so that what arrives there came in uninvited. The
*pair* sends from the first moment, as players do: a firewall that lets answers in lets it through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import msgspec

from p2pclient.cli.doctor_findings import Finding, firewall_fix, good, note, problem, warning

DOCTOR_VERSION = 1
SMALL, LARGE = 100, 1200
"""Bytes of a datagram; the larger is what the largest of a match takes."""
PATHS = ("sink-small", "sink-large", "pair-small", "pair-large")

LOSSY, VERY_LOSSY = 0.01, 0.05
SLOW_MS, JITTERY_MS = 100.0, 15.0
FAR_OFF_S = 2.0

Text = Annotated[str, msgspec.Meta(max_length=64, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Counts = Annotated[dict[str, Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]], msgspec.Meta(max_length=len(PATHS))]


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="hello"):
    """The first word of each side."""

    doctor: int = DOCTOR_VERSION
    name: Text
    system: Text
    """``linux``, ``win32`` or ``darwin``."""
    versions: Annotated[dict[Text, Text], msgspec.Meta(max_length=20)]
    protocol: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
    token: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    """What datagrams to this side must carry."""
    sink: Port
    pair: Port
    tcp: Port
    """Where the other side tries a connection back."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="ready"):
    """Both sides begin to send when they have said and heard this."""

    connected_back: bool | None = None
    """Whether the one who was called could call back; None from the caller, who has shown it by calling."""


class Report(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="report"):
    """What one side sent and received."""

    sent: Counts
    received: Counts


@dataclass(frozen=True, slots=True)
class Timing:
    """What the answers to this side's own datagrams on the pair took."""

    rtts_ms: tuple[float, ...] = ()
    offset_s: float | None = None
    """The other side's clock minus ours."""


def share_lost(sent: Counts, received: Counts, path: str) -> float | None:
    """Return the share of datagrams of one path that did not arrive; None if none were sent."""
    count = sent.get(path, 0)
    return None if not count else max(0.0, 1.0 - received.get(path, 0) / count)


def compare(
    own: Hello, other: Hello, mine: Report, theirs: Report, timing: Timing, *, back: bool, caller: bool
) -> list[Finding]:
    """Return one side's findings.

    Args:
        back: whether the one who was called could connect back to the caller.
        caller: whether this side is the caller.
    """
    return [
        *compare_versions(own, other),
        _tcp(own, other, back=back, caller=caller),
        *_direction(own.system, f"from {other.name} to here", theirs.sent, mine.received, here=True),
        *_direction(other.system, f"from here to {other.name}", mine.sent, theirs.received, here=False),
        *_timing(timing, other.name),
    ]


def compare_versions(own: Hello, other: Hello) -> list[Finding]:
    if own.protocol != other.protocol:
        older = "this computer" if own.protocol < other.protocol else other.name
        text = f"the programs speak versions {own.protocol} (here) and {other.protocol} ({other.name})"
        return [problem("versions", text, f"upgrade the program on {older}")]
    differing = [
        f"{key} {own.versions.get(key, 'none')} here and {other.versions.get(key, 'none')} there"
        for key in sorted({*own.versions, *other.versions})
        if own.versions.get(key) != other.versions.get(key)
    ]
    if differing:
        fix = "install the same on both; what must agree before a match is named then, field by field"
        return [warning("versions", f"they differ: {'; '.join(differing)}", fix)]
    return [good("versions", ", ".join(f"{key} {value}" for key, value in own.versions.items()) + " on both")]


def _tcp(own: Hello, other: Hello, *, back: bool, caller: bool) -> Finding:
    if back:
        return good("TCP", f"works both ways between here and {other.name}")
    text = f"works {'to' if caller else 'from'} {other.name}, but not the other way"
    blocked = own if caller else other
    where = "here" if caller else f"on {other.name}"
    fix = f"needed only {where}, if the server is to run there: {firewall_fix(blocked.system, 'TCP 8765')}"
    return warning("TCP", text, fix)


def _direction(system: str, way: str, sent: Counts, received: Counts, *, here: bool) -> list[Finding]:
    lost = {path: share_lost(sent, received, path) for path in PATHS}
    if all(each in (None, 1.0) for each in lost.values()):
        fix = (
            f"allow it in the firewall {'here' if here else 'there'}: {firewall_fix(system, 'all UDP of this program')}"
        )
        return [problem("UDP", f"{way} is blocked, so that no match can be played", fix)]
    pair = [each for each in (lost["pair-small"], lost["pair-large"]) if each is not None]
    if pair and lost["pair-small"] not in (None, 1.0) and lost["pair-large"] == 1.0:
        fix = "switch off a VPN or tunnel, or raise the MTU of the network to 1280 bytes or more"
        return [problem("UDP", f"{way}: datagrams of {LARGE} bytes are lost, small ones arrive", fix)]
    found = []
    if lost["sink-small"] == 1.0 or all(each == 1.0 for each in pair):
        fix = (
            f"allow it in the firewall {'here' if here else 'there'}: {firewall_fix(system, 'all UDP of this program')}"
        )
        text = f"{way} gets through only as an answer; matches may connect, but need not"
        found.append(warning("UDP", text, fix))
    total = sum(pair) / len(pair) if pair else 1.0
    text = f"{way}: {total:.1%} of {sum(sent.get(each, 0) for each in PATHS if 'pair' in each)} datagrams lost"
    if total > LOSSY:
        fix = "use a cable instead of Wi-Fi, or another cable or switch port; end downloads on this network"
        found.append(problem("UDP", text, fix) if total > VERY_LOSSY else warning("UDP", text, fix))
    elif not found:
        found.append(good("UDP", text))
    return found


def _timing(timing: Timing, name: str) -> list[Finding]:
    if not timing.rtts_ms:
        return []
    ranked = sorted(timing.rtts_ms)
    middle = ranked[len(ranked) // 2]
    jitter = _jitter(timing.rtts_ms)
    high = ranked[int(len(ranked) * 0.95)]
    text = f"{middle:.1f} ms in the middle, {high:.1f} ms at the 95th percentile, jitter {jitter:.1f} ms"
    found = [good("round trip", text)]
    if middle > SLOW_MS or jitter > JITTERY_MS:
        fix = "use cables instead of Wi-Fi, end other programs and downloads"
        found = [warning("round trip", text, fix)]
    if timing.offset_s is not None:
        offset = (
            f"the clock of {name} is {abs(timing.offset_s) * 1e3:.0f} ms {'ahead' if timing.offset_s > 0 else 'behind'}"
        )
        if abs(timing.offset_s) > FAR_OFF_S:
            fix = "set both by the same source; play does not need it, but the dates in recordings do"
            found.append(warning("clock", offset, fix))
        else:
            found.append(note("clock", offset))
    return found


def _jitter(rtts: Sequence[float]) -> float:
    """Mean difference of one round trip to the next (RFC 3550 smooths the same)."""
    steps = [abs(b - a) for a, b in pairwise(rtts)]
    return sum(steps) / len(steps) if steps else 0.0
