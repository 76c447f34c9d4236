"""What is kept of the room, as records for the store: made whenever something has changed, before anybody is told.

Pure. Participants and matches say themselves that they may have changed (``touch``); what is the same as what was kept
last is not kept again. Everything else that the room needs after a restart follows from these records: the order of the
queue, who has played with whom, how many matches each condition has, and the number of the next match.

What lasts for seconds is not kept: proposals (who was proposed waits on), reports, and who is connected. Reservations
are: a researcher made them. What was asked of clients is in the audit log, but not what became of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from p2pclient.common.lobby_messages import MatchSettings
from p2pclient.common.stages import Stage
from signaling.effects import Effect, Kept
from signaling.room_state import Participant, RoomState, RunningMatch
from signaling.store import interface as store

STARTS = "starts"
"""The counter of the server's starts on one store."""
HELD = "held"
"""The counter that is 1 while the researcher lets nobody be matched."""

_MAX_TEXT = 1000


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """With whom somebody is to play as soon as all can; kept with each of them. Times are seconds since 1970."""

    members: tuple[str, ...]
    why: str = ""
    until: float = 0.0
    action: str = ""
    """The researcher's action that asked for it."""


class ParticipantFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the room needs of a participant beyond what a researcher reads. Times are seconds since 1970."""

    here: bool = True
    """False once it is gone for good."""
    ready: bool = True
    let_in: bool = False
    """It was screened, and need not be again."""
    ours: bool = False
    """A bot that ends with the server's process."""
    place: int = 0
    """In the queue: who has the lowest is next."""
    match_id: str = ""
    waiting_since: float | None = None
    reserved: Reserved | None = None
    barred: str = ""
    """What it was told when it was excluded for good."""
    signed: bool = False
    """Label and attributes are those of a personal link."""
    link: str = ""
    """The id of the link for one use that it has used."""


class MatchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the room needs of a match beyond what a researcher reads."""

    seats: dict[str, tuple[int, ...]] = {}
    labels: dict[str, tuple[str, str, bool]] = {}
    open: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    condition: str = ""
    waited: tuple[float, ...] = ()
    """Seconds that its players had waited."""
    spectators: int = 0
    """So many were let in: no id is given twice."""
    through: tuple[str, ...] = ()
    granted: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class KeptRoom:
    """All that a store has of one study's room."""

    study: store.Study | None = None
    participants: Sequence[store.Participant] = ()
    matches: Sequence[store.Match] = ()
    starts: int = 0
    """Of the server, before this one."""
    is_held: bool = False
    asked: Sequence[store.AuditLine] = ()
    """The last actions of researchers that were not refused, the newest last."""
    used_links: Mapping[str, str] = field(default_factory=dict)
    """Who used each link for one use, by the link's id."""


class Keeping:
    """Makes the records of one room.

    Args:
        study: under which they are kept; None keeps nothing.
        epoch: seconds since 1970 at second 0 of the room's clock.
    """

    def __init__(self, state: RoomState, study: str | None, epoch: float) -> None:
        self._state = state
        self.study = study
        self.epoch = epoch
        self.was_held = False

    def changes(self) -> list[Effect]:
        """Return what is to be kept of what has changed since the last call."""
        state = self._state
        participants, matches = list(state.touched.values()), list(state.touched_matches.values())
        state.touched.clear()
        state.touched_matches.clear()
        if self.study is None:
            return []
        effects: list[Effect] = []
        for match in matches:
            of_match = self.match_record(match)
            if of_match != match.kept:
                match.kept = of_match
                effects.append(Kept(of_match))
        for participant in participants:
            of_participant = self.participant_record(participant)
            if of_participant != participant.kept:
                participant.kept = of_participant
                effects.append(Kept(of_participant))
        if state.is_held != self.was_held:
            self.was_held = state.is_held
            effects.append(Kept(store.Count(study_id=self.study, name=HELD, by=1 if state.is_held else -1)))
        return effects

    def participant_record(self, known: Participant) -> store.Participant:
        """Return what is kept of a participant."""
        stage = Stage.WAITING if known.stage is Stage.MATCHED else known.stage
        state = stage.value
        if stage is Stage.GONE:
            state = "excluded" if known.locked else "finished" if known.finished else "idle"
        waits = stage is Stage.WAITING
        since = self.time(known.since)
        if waits and known.kept is not None and known.kept.state == state:
            since = known.kept.changed_at  # a proposal that came to nothing is no change
        facts = ParticipantFacts(
            here=stage is not Stage.GONE,
            ready=known.ready,
            let_in=known.was_let_in,
            ours=known.is_ours,
            place=known.place if waits else 0,
            match_id=known.match_id if stage in (Stage.CONNECTING, Stage.PLAYING) else "",
            reserved=self._reserved(known),
            waiting_since=None if known.ready_since is None or not waits else self.time(known.ready_since),
            barred=_text(known.barred),
            signed=known.is_signed,
            link=known.link_id,
        )
        return store.Participant(
            id=known.id,
            study_id=self.study or "",
            token_hash=known.token_hash,
            label=_text(known.kept_label or known.label),
            station=_text(known.station),
            bot=known.bot,
            attributes=clean(known.attributes),
            state=state,
            # Of who waits it is the matcher's last word, which changes all the time and is in the decisions.
            reason="" if waits else _text(known.reason),
            finished=known.finished,
            locked=known.locked,
            created_at=self.time(known.came),
            changed_at=since,
            room=msgspec.to_builtins(facts),
        )

    def _reserved(self, known: Participant) -> Reserved | None:
        booking = self._state.bookings.get(known.booking)
        if booking is None or known.stage is Stage.GONE:
            return None
        why, until = _text(booking.why), self.time(booking.until)
        return Reserved(members=booking.members, why=why, until=until, action=booking.action)

    def match_record(self, match: RunningMatch) -> store.Match:
        """Return what is kept of a match."""
        facts = MatchFacts(
            seats=match.seats,
            labels={each: (_text(label), _text(station), bot) for each, (label, station, bot) in match.labels.items()},
            open=tuple(each for each in match.seats if each in match.open),
            gone=tuple(sorted(match.gone)),
            condition=_text(match.condition),
            waited=match.waited,
            spectators=match.let_in,
            through=tuple(sorted(match.through)),
            granted=tuple(tuple(sorted(side)) for side in match.sides.granted),
        )
        return store.Match(
            id=match.id,
            study_id=self.study or "",
            seed=match.seed,
            settings=clean(msgspec.to_builtins(match.settings)),
            seats=tuple(match.seats),
            state=match.state.value,
            reason=_text(match.reason),
            created_at=self.time(match.began),
            started_at=self.time(match.began),
            ended_at=self.time(match.ended) if match.ended else None,
            results=tuple(clean(each) for each in match.told),
            room=msgspec.to_builtins(facts),
        )

    def start_records(self, kept: KeptRoom, settings: MatchSettings, now: float) -> list[Effect]:
        """Return what is kept of the start of a server on what an earlier one has kept."""
        if self.study is None:
            return []
        created = self.time(now) if kept.study is None else kept.study.created_at
        name = self._state.rules.title or (settings.env if kept.study is None else kept.study.name)
        plain = clean(msgspec.to_builtins(settings))
        study = store.Study(id=self.study, name=_text(name), settings=plain, created_at=created)
        return [Kept(study), Kept(store.Count(study_id=self.study, name=STARTS))]

    def time(self, moment: float) -> float:
        """Return a moment of the room's clock in seconds since 1970."""
        return round(moment + self.epoch, 3)


def clean(value: Any) -> Any:
    """Return plain data as every store can keep it: what clients sent may hold text that no file can."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {clean(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _text(value: str) -> str:
    return value.encode(errors="replace").decode()[:_MAX_TEXT]
