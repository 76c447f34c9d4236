"""From what the server said to what the match needs, and from its end to what the server is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from p2pclient import __version__
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.if_lost import LossPolicy
from p2pclient.common.lobby_messages import Admitted, Matched, MatchResult
from p2pclient.common.presentation import FocusChange, KeyChange
from p2pclient.common.seeds import derive_seed
from p2pclient.match.plan import (
    PREDICTIONS,
    ConnectionChanged,
    Desync,
    MatchChanged,
    MatchEvent,
    MatchPlan,
    PeerRejoined,
    PeerSilence,
    Phase,
    PhaseChanged,
)
from p2pclient.runtime.playing import Played


def make_plan(matched: Matched, ready: Mapping[str, Any], *, bot: str | None, seed: int, render: bool) -> MatchPlan:
    """Return the plan of a match that the server made.

    Args:
        ready: what the environment's host said of itself.
        bot: name of the bot in our seats, None for a person.
        seed: of the bot.

    Raises:
        ConfigurationError: the environment has another number of seats, or no such bot.
    """
    check_bot(bot, ready)
    return replace(
        _plan(matched, ready, render=render),
        local_seats=tuple(matched.own_seats),
        peers={peer.seats[0]: tuple(peer.seats) for peer in matched.peers},
        own_id=matched.own_seats[0],
        observe=matched.settings.record_observations,
        bots={seat: (bot, derive_seed(seed, "bot", seat)) for seat in matched.own_seats} if bot else {},
    )


def make_watch_plan(admitted: Admitted, ready: Mapping[str, Any], *, render: bool) -> MatchPlan:
    """Return the plan of a match that is watched: that of the players, without a seat.

    Raises:
        ConfigurationError: the environment has another number of seats.
    """
    return replace(_plan(admitted, ready, render=render), own_id=admitted.spectator)


def _plan(given: Matched | Admitted, ready: Mapping[str, Any], *, render: bool) -> MatchPlan:
    """Return what the server says of a match, for whoever has no seat in it yet."""
    settings = given.settings
    if ready["seats"] != settings.seats:
        raise ConfigurationError("seats", settings.seats, f"{ready['seats']} for {settings.env}")
    check_prediction(settings.prediction, ready)
    for name in LossPolicy.parse(settings.on_drop).bots:
        check_bot(name, ready)
    return MatchPlan(
        match_id=given.match_id,
        seed=given.seed,
        env=ready,
        local_seats=(),
        rate_hz=settings.rate_hz,
        window=settings.window,
        input_delay=settings.input_delay,
        delay_range=settings.delay_range,
        prediction=settings.prediction,
        on_desync=settings.on_desync,
        on_drop=settings.on_drop,
        may_return=settings.may_return,
        on_away=settings.on_away,
        away_limit=settings.away_limit_s,
        tell_away=settings.tell_away,
        check_tries=settings.check_tries,
        most_rtt=None if settings.max_rtt_ms is None else settings.max_rtt_ms / 1000,
        most_loss=settings.max_loss,
        has_arbiter=True,
        episodes=settings.episodes,
        frames=settings.frames,
        drop_after=settings.drop_after_s,
        render=render,
        allow_mixed_hosts=settings.allow_mixed_hosts,
        version=__version__,
    )


def check_bot(bot: str | None, ready: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if the environment has no bot of that name."""
    if bot is not None and bot not in ready["bots"]:
        known = ", ".join(ready["bots"]) or "none; this environment has no bots"
        raise ConfigurationError("bot", bot, known)


def check_prediction(names: Sequence[str], ready: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if missing inputs cannot be predicted so."""
    known = [*PREDICTIONS, *ready["predictors"]]
    for name in names:
        if name not in known:
            raise ConfigurationError("prediction", name, ", ".join(known))


def players(matched: Matched, *, label: str, bot: str | None) -> list[dict[str, Any]]:
    """Return who sits where, by seat, for the manifest."""
    by_seat: dict[int, dict[str, Any]] = {
        seat: {"seat": seat, "local": True, "label": label, "bot": bot} for seat in matched.own_seats
    }
    for peer in matched.peers:
        theirs = {"local": False, "client": peer.client_id, "bot": peer.bot}
        by_seat.update({seat: {"seat": seat, **theirs} for seat in peer.seats})
    return [by_seat[seat] for seat in sorted(by_seat)]


def match_result(played: Played) -> MatchResult:
    """Return what the server is told of a match's end."""
    counters = played.outcome["counters"]
    reason = "complete" if played.ended.reason == "finished" else played.ended.reason
    return MatchResult(
        reason=reason,
        episodes=len(played.totals),
        frames=counters["confirmed_frames"],
        verified_frames=counters["verified_frames"],
        desyncs=counters["desyncs"],
    )


def event_report(event: MatchEvent) -> dict[str, Any] | None:
    """Return what the command line is told of an event of the match, None if it need not know."""
    match event:
        case PhaseChanged(Phase.PLAYING, episode):
            return {"event": "playing", "episode": episode}
        case PeerSilence(peer, level):
            return {"event": "silence", "peer": peer, "level": level}
        case PeerRejoined(peer, episode, frame, is_own):
            return {"event": "rejoined", "peer": peer, "own": is_own, "episode": episode, "frame": frame}
        case ConnectionChanged(peer, connection, why):
            return {"event": "connection", "peer": peer, "connection": connection, "why": why}
        case Desync(peer, episode, frame):
            return {"event": "desync", "peer": peer, "episode": episode, "frame": frame}
        case MatchChanged(kind, episode, frame, reason):
            return {"event": kind, "episode": episode, "frame": frame, "reason": reason}
    return None


def played_report(played: Played) -> dict[str, Any]:
    """Return what the command line is told of a match's end."""
    return {
        "event": "played",
        "folder": str(played.folder),
        "reason": played.ended.reason,
        "text": played.ended.text,
        "unverified": played.ended.unverified,
        "outcome": played.outcome,
    }


def intent_report(intent: KeyChange | FocusChange) -> dict[str, Any]:
    """Return what is reported of a key or focus change, for a second window at the same keyboard."""
    if isinstance(intent, KeyChange):
        return {"event": "key", "code": intent.code, "pressed": intent.pressed}
    return {"event": "focus", "focused": intent.focused}
