"""Alerts: what a researcher should look at now, as sentences. Pure.

Each rule looks at one :class:`RoomRow` and gives findings: a key, a sentence, and a level, where 1 is the limit. An
alert is raised when its level has been at the limit or above for a while, and cleared when it has been well below for
a while, so that a value that wavers around its limit makes one alert and not twenty. Its sentence gives the last value
that was at the limit or above.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from p2pclient.common.room_messages import Health, PeerHealth
from signaling.rows import ActionRow, MatchRow, ParticipantRow, RoomRow, SeatRow

CLEAR_BELOW = 0.8
"""Share of the limit below which an alert may be cleared. In between, it stays as it is."""

Key = tuple[str, ...]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at now. ``id`` stays the same while it lasts."""

    id: str
    severity: str
    """``warning`` or ``problem``."""
    text: str
    match_id: str = ""
    participant_id: str = ""
    since: float = 0.0
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class AlertLimits:
    """Where alerts begin. Times are seconds."""

    rtt_ms: float = 150.0
    loss: float = 0.05
    jitter_ms: float = 40.0
    silent_s: float = 1.0
    unheard_s: float = 5.0
    """Since the last report of a client that plays."""
    rate_share: float = 0.92
    """Of the nominal frame rate."""
    stalls: int = 3
    """More of them within ``stalls_within_s`` than a link has that is only now and then bad."""
    stalls_within_s: float = 10.0
    waiting_s: float = 120.0
    action_shown_s: float = 60.0
    """How long a failed or unanswered action is pointed out."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One value held against its limit."""

    key: Key
    level: float
    """1 at the limit."""
    text: str
    severity: str = "warning"
    raise_after_s: float = 2.0
    clear_after_s: float = 4.0
    match_id: str = ""
    participant_id: str = ""


@dataclass(slots=True)
class _Held:
    bad_since: float
    alert: Alert | None = None
    good_since: float | None = None


@dataclass(slots=True)
class Alerts:
    """The alerts of one room; :meth:`update` is called about once a second with the newest row."""

    limits: AlertLimits = field(default_factory=AlertLimits)
    _held: dict[Key, _Held] = field(default_factory=dict)
    _stalls: dict[Key, deque[tuple[float, int]]] = field(default_factory=dict)

    def update(self, row: RoomRow, *, now: float) -> tuple[Alert, ...]:
        """Return the alerts that hold now, problems first, then the oldest first."""
        found = {each.key: each for each in self._findings(row, now)}
        for key in [key for key in self._held if key not in found]:
            del self._held[key]
        for finding in found.values():
            self._hold(finding, row.at, now)
        raised = [held.alert for held in self._held.values() if held.alert is not None]
        return tuple(sorted(raised, key=lambda alert: (alert.severity != "problem", alert.since, alert.id)))

    def _hold(self, finding: Finding, at: float, now: float) -> None:
        held = self._held.get(finding.key)
        if held is None:
            if finding.level < 1:
                return
            held = self._held[finding.key] = _Held(now)
        if finding.level >= 1:
            held.good_since = None
            if held.alert is not None:
                held.alert = replace(held.alert, text=finding.text, severity=finding.severity)
            elif now - held.bad_since >= finding.raise_after_s:
                held.alert = _alert(finding, at)
        elif held.alert is None or self._is_over(held, finding, now):
            del self._held[finding.key]

    def _is_over(self, held: _Held, finding: Finding, now: float) -> bool:
        if finding.level >= CLEAR_BELOW:
            held.good_since = None
            return False
        if held.good_since is None:
            held.good_since = now
        return now - held.good_since >= finding.clear_after_s

    # -- rules --------------------------------------------------------------------------------------------------------

    def _findings(self, row: RoomRow, now: float) -> Iterator[Finding]:
        """Yield every value at its limit or above; of what has an alert or may soon, every value.

        Of 500 matches, almost all are well: for these, no sentence is made.
        """
        nominal = row.settings.get("rate_hz")
        rate_hz = float(nominal) if isinstance(nominal, int | float) and nominal > 0 else 0.0
        running = [match for match in row.matches if match.state != "ended"]
        self._forget_stalls({match.id for match in running})
        held = {key[1] for key in self._held if len(key) > 1}
        for match in running:
            least = -math.inf if match.id in held else 1.0
            yield from self._of_links(match, least)
            for seat in match.seats:
                if seat.present:
                    yield from self._of_seat(match, seat, rate_hz, now, least)
        if row.matching_problem:
            text = f"Nobody is matched: {row.matching_problem}"
            yield Finding(("matching",), 1.0, text, severity="problem", raise_after_s=0.0)
        for participant in row.participants:
            yield from self._of_participant(participant)
        for action in row.actions:
            if row.at - action.at <= self.limits.action_shown_s and action.state in ("unanswered", "failed"):
                yield self._of_action(action, row.matches)

    def _of_links(self, match: MatchRow, least: float) -> Iterator[Finding]:
        """Both ends report a link: it is one finding, with the worse of the two."""
        worst: dict[Key, Finding] = {}
        seats = {seat.seat: seat for seat in match.seats}
        for seat, health in _reporting(match.seats, self.limits.unheard_s):
            for peer in health.peers:
                there = [seats[number] for number in peer.seats if number in seats and seats[number].present]
                for each in self._of_peer(match, seat, peer, there, least) if there else ():
                    if each.key not in worst or each.level > worst[each.key].level:
                        worst[each.key] = each
        yield from worst.values()

    def _of_peer(
        self, match: MatchRow, seat: SeatRow, peer: PeerHealth, there: list[SeatRow], least: float
    ) -> Iterator[Finding]:
        limits = self.limits
        rtt, loss, jitter = peer.rtt_ms or 0.0, peer.loss or 0.0, peer.jitter_ms or 0.0
        if (level := rtt / limits.rtt_ms) >= least:
            text = f"{_between(seat, there)}: round trip {rtt:.0f} ms; the limit is {limits.rtt_ms:.0f} ms."
            yield _of(match, "rtt", _pair(seat, peer), level, text)
        if (level := loss / limits.loss) >= least:
            text = f"{_between(seat, there)}: {loss:.0%} of datagrams are lost; the limit is {limits.loss:.0%}."
            yield _of(match, "loss", _pair(seat, peer), level, text)
        if (level := jitter / limits.jitter_ms) >= least:
            text = f"{_between(seat, there)}: jitter {jitter:.0f} ms; the limit is {limits.jitter_ms:.0f} ms."
            yield _of(match, "jitter", _pair(seat, peer), level, text)
        # Before it plays, links are still being made.
        if match.state in ("playing", "paused") and (level := peer.silent_s / limits.silent_s) >= least:
            text = f"{seat_name(seat)} has heard nothing of {seat_name(there[0])} for {peer.silent_s:.1f} s."
            silence = _of(match, "silent", f"{seat.seat}-{_pair(seat, peer)}", level, text)
            yield dataclasses.replace(silence, severity="problem", raise_after_s=0.0)

    def _of_seat(self, match: MatchRow, seat: SeatRow, rate_hz: float, now: float, least: float) -> Iterator[Finding]:
        limits, number, ago = self.limits, str(seat.seat), seat.health_ago_s
        under_way = match.state in ("playing", "paused")
        if ago is not None and under_way and (level := ago / limits.unheard_s) >= least:
            yield _of(match, "unheard", number, level, f"{seat_name(seat)} has not reported for {ago:.0f} s.")
        health = seat.health
        if health is None:
            return
        if health.desyncs:
            many = "s" * (health.desyncs > 1)
            text = f"{seat_name(seat)} differs from the others: {health.desyncs} desync{many}."
            yield dataclasses.replace(_of(match, "desync", number, 1.0, text), severity="problem", raise_after_s=0.0)
        stalls = self._stalls_lately((match.id, number), health.stalls, now)
        if (level := stalls / limits.stalls) >= least:
            within = f"{stalls} times in {limits.stalls_within_s:.0f} s"
            text = f"{seat_name(seat)} stalled {within}: it waits for its partner's inputs."
            yield _of(match, "stalls", number, level, text)
        plays = rate_hz > 0 and match.state == "playing" and health.phase == "playing" and health.rate_hz > 0
        if not plays or ago is None or ago > limits.unheard_s:
            return
        if (level := (1 - health.rate_hz / rate_hz) / (1 - limits.rate_share)) >= least:
            text = f"{seat_name(seat)} runs at {health.rate_hz:.1f} frames per second instead of {rate_hz:g}."
            yield dataclasses.replace(_of(match, "rate", number, level, text), raise_after_s=3.0)

    def _of_participant(self, who: ParticipantRow) -> Iterator[Finding]:
        if who.state == "away":
            text = f"{participant_name(who)} is away: its connection is lost since {who.state_for_s:.0f} s."
            yield Finding(("away", who.id), 1.0, text, "problem", 0.0, match_id=who.match_id, participant_id=who.id)
        if who.state == "waiting" and not who.bot and who.state_for_s >= self.limits.waiting_s:
            reason = f" {who.reason}" if who.reason else ""
            text = f"{participant_name(who)} has waited for {_minutes(who.state_for_s)}.{reason}"
            level = who.state_for_s / self.limits.waiting_s
            yield Finding(("waiting", who.id), level, text, raise_after_s=0.0, participant_id=who.id)

    def _of_action(self, action: ActionRow, matches: Iterable[MatchRow]) -> Finding:
        match = next((each for each in matches if each.id == action.target), None)
        whom = action.target or "everyone" if match is None else " and ".join(map(seat_name, match.seats))
        became = "was not answered" if action.state == "unanswered" else "failed"
        text = f"“{action.kind}” for {whom} {became}.{f' {action.detail}' if action.detail else ''}"
        key, match_id = ("action", action.id), match.id if match is not None else ""
        return Finding(key, 1.0, text, raise_after_s=0.0, match_id=match_id)

    def _stalls_lately(self, key: Key, total: int, now: float) -> int:
        seen = self._stalls.setdefault(key, deque(maxlen=128))
        if seen and total < seen[-1][1]:  # a client that came back counts anew
            seen.clear()
        seen.append((now, total))
        while len(seen) > 1 and now - seen[0][0] > self.limits.stalls_within_s:
            seen.popleft()
        return total - seen[0][1]

    def _forget_stalls(self, running: set[str]) -> None:
        for key in [key for key in self._stalls if key[0] not in running]:
            del self._stalls[key]


def seat_name(seat: SeatRow) -> str:
    """Return what people call who sits there."""
    return seat.station or seat.label or f"seat {seat.seat + 1}"


def participant_name(who: ParticipantRow) -> str:
    """Return what people call this participant."""
    return who.station or who.label or who.id


def with_alerts(row: RoomRow, alerts: Iterable[Alert]) -> RoomRow:
    """Return the row with each match's alerts in it, and their number under ``problems``."""
    alerts = tuple(alerts)
    by_match: dict[str, list[str]] = {}
    for alert in alerts:
        by_match.setdefault(alert.match_id, []).append(alert.text)
    matches = row.matches
    if by_match:
        matches = tuple(
            replace(match, alerts=tuple(by_match[match.id])) if match.id in by_match else match for match in matches
        )
    return replace(row, matches=matches, counts={**row.counts, "problems": len(alerts)})


def _reporting(seats: tuple[SeatRow, ...], within_s: float) -> Iterator[tuple[SeatRow, Health]]:
    """Yield who is there and has reported lately: an old report says nothing about the link as it is now."""
    for seat in seats:
        if seat.present and seat.health is not None and (seat.health_ago_s or 0.0) <= within_s:
            yield seat, seat.health


def _between(seat: SeatRow, there: list[SeatRow]) -> str:
    return " and ".join(seat_name(each) for each in sorted([seat, *there], key=lambda each: each.seat))


def _pair(seat: SeatRow, peer: PeerHealth) -> str:
    return "-".join(str(number) for number in sorted({seat.seat, *peer.seats}))


def _of(match: MatchRow, kind: str, which: str, level: float, text: str) -> Finding:
    return Finding((kind, match.id, which), level, text, match_id=match.id)


def _alert(finding: Finding, at: float) -> Alert:
    return Alert(
        id=" ".join(finding.key),
        severity=finding.severity,
        text=finding.text,
        match_id=finding.match_id,
        participant_id=finding.participant_id,
        since=at,
    )


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
