"""The lives of participants, connections and matches, as tables of what may follow what.

A step that is not in a table is a bug here, never somebody's doing: it raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.stages import Stage

S = TypeVar("S", bound=Enum)


class Presence(Enum):
    """Whether a participant's client is there. A lost connection is a lease that runs out, not an end."""

    PRESENT = "present"
    AWAY = "away"
    GONE = "gone"


class MatchState(Enum):
    """Where a match is, from the proposal to its end."""

    MATCHED = "matched"
    """Proposed: not all have confirmed."""
    VALIDATING = "validating"
    """All have confirmed; they connect and compare what they have."""
    PLAYING = "playing"
    PAUSED = "paused"
    ENDED = "ended"


PARTICIPANT_STEPS: Mapping[Stage, frozenset[Stage]] = {
    Stage.IDLE: frozenset({Stage.SCREENING, Stage.WAITING, Stage.WATCHING, Stage.EXCLUDED, Stage.GONE}),
    Stage.SCREENING: frozenset({Stage.IDLE, Stage.WAITING, Stage.EXCLUDED, Stage.GONE}),
    Stage.WAITING: frozenset({Stage.IDLE, Stage.MATCHED, Stage.FINISHED, Stage.EXCLUDED, Stage.GONE}),
    Stage.MATCHED: frozenset({Stage.WAITING, Stage.IDLE, Stage.CONNECTING}),
    Stage.CONNECTING: frozenset({Stage.PLAYING, Stage.FINISHED, Stage.IDLE}),
    Stage.PLAYING: frozenset({Stage.FINISHED, Stage.IDLE}),
    Stage.WATCHING: frozenset({Stage.IDLE}),
    Stage.FINISHED: frozenset({Stage.SCREENING, Stage.WAITING, Stage.WATCHING, Stage.EXCLUDED, Stage.GONE}),
    Stage.EXCLUDED: frozenset({Stage.GONE}),
    Stage.GONE: frozenset(),
}
"""Who is excluded or goes leaves its match first, and the waiting room from a proposal first: by way of ``IDLE``."""

PRESENCE_STEPS: Mapping[Presence, frozenset[Presence]] = {
    Presence.PRESENT: frozenset({Presence.AWAY, Presence.GONE}),
    Presence.AWAY: frozenset({Presence.PRESENT, Presence.GONE}),
    Presence.GONE: frozenset(),
}

MATCH_STEPS: Mapping[MatchState, frozenset[MatchState]] = {
    MatchState.MATCHED: frozenset({MatchState.VALIDATING, MatchState.ENDED}),
    MatchState.VALIDATING: frozenset({MatchState.PLAYING, MatchState.PAUSED, MatchState.ENDED}),
    MatchState.PLAYING: frozenset({MatchState.PAUSED, MatchState.ENDED}),
    MatchState.PAUSED: frozenset({MatchState.PLAYING, MatchState.ENDED}),
    MatchState.ENDED: frozenset(),
}

KEEPS_ITS_PLACE = frozenset({Stage.WAITING, Stage.CONNECTING, Stage.PLAYING})
"""Stages in which a lost connection is waited for. In the others there is nothing to come back to."""


def step(table: Mapping[S, frozenset[S]], old: S, new: S) -> S:
    """Return ``new`` if it may follow ``old``.

    Raises:
        LocalMisuseError: it may not.
    """
    if new not in table[old]:
        raise LocalMisuseError(f"{type(old).__name__}: {new.value} never follows {old.value}")
    return new
