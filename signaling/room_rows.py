"""From what the room knows to what the console shows."""

from __future__ import annotations

from collections import Counter

from msgspec import structs

from p2pclient.common.room_messages import Health
from p2pclient.common.stages import Stage
from signaling.lifecycle import Presence
from signaling.room_state import Participant, PendingMatch, RoomState, RunningMatch
from signaling.rows import ActionRow, MatchRow, ParticipantRow, RoomRow, SeatRow

SILENT_S = 5.0
"""A client that plays and has told nothing for this long is an alert."""
SLOW_RTT_MS = 250.0
LOSSY = 0.1

SETTINGS_FIELDS = ("study", "env", "seats", "rate_hz", "episodes", "frames", "on_drop", "spectators")


def room_row(state: RoomState, *, now: float, epoch: float) -> RoomRow:
    """Return everything at once.

    Args:
        epoch: seconds since 1970 at ``now``.
    """
    ago = epoch - now
    waiting = [each for each in state.queue if state.participants[each].stage is Stage.WAITING]
    places = {each: place for place, each in enumerate(waiting, start=1)}
    participants = tuple(
        _participant_row(state, each, places.get(each.id), now) for each in state.participants.values()
    )
    proposed = (_pending_row(state, each, now, ago) for each in state.pending.values())
    running = (_match_row(state, each, now, ago) for each in state.matches.values())
    ended = (_match_row(state, each, now, ago) for each in state.ended)
    matches = (*proposed, *running, *ended)
    counts = Counter(each.state for each in participants)
    for stage, number in state.departed.items():
        counts[stage] += number
    counts["problems"] = sum(len(each.alerts) for each in matches)
    counts["matches"] = len(state.matches)
    counts["matches_made"] = state.matches_made
    return RoomRow(
        server_version=state.version,
        at=epoch,
        title=state.rules.title,
        settings={
            **{name: getattr(state.settings, name) for name in SETTINGS_FIELDS},
            "matching": state.rules.matcher.name,
            "grace_s": state.rules.grace_s,
            "confirm_within_s": state.rules.confirm_within_s,
            "wait_limit_s": state.rules.wait_limit_s,
        },
        counts=dict(counts),
        median_wait_s=state.median_wait(),
        participants=participants,
        matches=matches,
        events=tuple(structs.replace(each, at=each.at + ago) for each in state.events),
        actions=tuple(
            ActionRow(
                id=each.id,
                kind=each.kind,
                by=each.by,
                target=each.target,
                state=each.state,
                detail=each.detail,
                at=each.at + ago,
            )
            for each in state.asks
        ),
        probes=state.probes.rows(now=now, epoch=epoch),
        matching_problem=state.matching_problem,
        paused=state.is_held,
    )


def _participant_row(state: RoomState, each: Participant, place: int | None, now: float) -> ParticipantRow:
    match = state.matches.get(each.match_id)
    seats = match.seats.get(each.id) if match is not None else None
    is_away = each.presence is Presence.AWAY
    return ParticipantRow(
        id=each.id,
        label=each.label,
        station=each.station,
        bot=each.bot,
        state="away" if is_away and each.stage is not Stage.EXCLUDED else each.stage.value,
        state_for_s=round(max(0.0, now - each.since), 1),
        connected=each.connection is not None,
        address=each.address,
        app_version=each.app_version,
        rtt_ms=each.rtt_ms,
        match_id=each.match_id,
        seat=seats[0] if seats else None,
        position=place,
        reason=_reason(state, each),
        note=each.note,
    )


def _reason(state: RoomState, each: Participant) -> str:
    if each.presence is Presence.AWAY and each.is_ours:
        return "The bot is being started."
    if each.presence is Presence.AWAY:
        return "Its connection is lost; its place is kept for a while."
    if each.stage is Stage.WAITING and not each.ready:
        return "Its environment is being loaded."
    if each.stage is Stage.WAITING and each.booking:
        return "It is reserved, and waits for the others."
    if each.stage is Stage.WAITING and state.is_held:
        return "Matching is on hold."
    return each.reason


def _pending_row(state: RoomState, each: PendingMatch, now: float, ago: float) -> MatchRow:
    seats = []
    for seat, member in enumerate(each.members):
        known = state.participants[member]
        seats.append(SeatRow(seat=seat, participant_id=member, label=known.label, station=known.station, bot=known.bot))
    missing = [state.name(member) for member in each.members if member not in each.confirmed]
    return MatchRow(
        id=each.id,
        state=each.state.value,
        reason=f"Not confirmed yet: {', '.join(missing)}.",
        env=state.settings.env,
        seats=tuple(seats),
        started_at=each.since + ago,
        running_for_s=round(now - each.since, 1),
    )


def _match_row(state: RoomState, match: RunningMatch, now: float, ago: float) -> MatchRow:
    settings = match.settings
    is_over = bool(match.ended)
    seats = []
    for player, own in match.seats.items():
        label, station, bot = match.labels[player]
        health, at = match.health.get(player, (None, 0.0))
        seats.append(
            SeatRow(
                seat=own[0],
                participant_id=player,
                label=label,
                station=station,
                bot=bot,
                present=player in match.open and state.is_present(player),
                health=health,
                health_ago_s=None if health is None else round(now - at, 1),
            )
        )
    return MatchRow(
        id=match.id,
        state=match.state.value,
        reason=match.reason,
        env=settings.env,
        seats=tuple(seats),
        started_at=match.began + ago,
        running_for_s=round((match.ended if is_over else now) - match.began, 1),
        length_s=(settings.frames + match.extended) / settings.rate_hz if settings.frames else 0.0,
        spectators=len(match.spectators),
        alerts=() if is_over else tuple(_alerts(state, match, now)),
    )


def _alerts(state: RoomState, match: RunningMatch, now: float) -> list[str]:
    found = []
    for player in match.open:
        name = match.labels[player][0] or player
        if not state.is_present(player):
            found.append(f"{name} is not connected to the server.")
            continue
        health, at = match.health.get(player, (None, now))
        if health is None:
            continue
        if now - at > SILENT_S:
            found.append(f"{name} has told nothing for {now - at:.0f} s.")
        else:
            found += [f"{name}: {text}" for text in _complaints(health)]
    return sorted(found)


def _complaints(health: Health) -> list[str]:
    found = []
    if health.desyncs:
        found.append("the games differed.")
    if health.phase == "stalled":
        found.append("the game stands still.")
    for peer in health.peers:
        if peer.rtt_ms is not None and peer.rtt_ms > SLOW_RTT_MS:
            found.append(f"{peer.rtt_ms:.0f} ms to its partner.")
        if peer.loss is not None and peer.loss > LOSSY:
            found.append(f"{100 * peer.loss:.0f} % of its partner's packets are lost.")
        if peer.silent_s > 1:
            found.append(f"its partner has been silent for {peer.silent_s:.0f} s.")
    return found
