"""What the store has of earlier: matches as rows, and logs as lines of a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from signaling.keeping import MatchFacts
from signaling.store.interface import AuditLine, Decision, Match

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With one of these in front, spreadsheets calculate what a participant typed as a name."""

AUDIT_COLUMNS = ("number", "time", "by", "action", "target", "outcome", "address", "facts")
DECISION_COLUMNS = ("number", "time", "decision", "match", "proposal", "facts")


class OldSeat(msgspec.Struct, frozen=True, kw_only=True):
    """Who had a seat, as it was called then."""

    seat: int
    participant_id: str
    label: str = ""
    station: str = ""
    bot: bool = False


class OldMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A match that has ended, of this start of the server or of an earlier one."""

    id: str
    reason: str
    condition: str = ""
    seats: tuple[OldSeat, ...] = ()
    started_at: float = 0.0
    """Seconds since 1970."""
    running_for_s: float = 0.0
    verified_frames: int | None = None
    """The least of what its clients told; None if none told it."""
    desyncs: int = 0


def old_match(kept: Match) -> OldMatch:
    """Return what is shown of a kept match; what cannot be read in it is left out."""
    try:
        facts = msgspec.convert(kept.room, MatchFacts)
    except ValueError:  # somebody changed it
        facts = MatchFacts()
    seats = []
    for place, participant in enumerate(kept.seats):
        label, station, bot = facts.labels.get(participant, ("", "", False))
        own = facts.seats.get(participant) or (place,)
        seats.append(OldSeat(seat=own[0], participant_id=participant, label=label, station=station, bot=bot))
    began = kept.started_at or kept.created_at
    frames = [each["verified_frames"] for each in kept.results if _is_count(each.get("verified_frames"))]
    return OldMatch(
        id=kept.id,
        reason=kept.reason,
        condition=facts.condition,
        seats=tuple(seats),
        started_at=began,
        running_for_s=round(max(0.0, (kept.ended_at or began) - began), 1),
        verified_frames=min(frames) if frames else None,
        desyncs=max((each["desyncs"] for each in kept.results if _is_count(each.get("desyncs"))), default=0),
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def lines_of(records: Iterable[AuditLine | Decision], form: str) -> bytes:
    """Return records as lines of a file, ``jsonl`` or ``csv``."""
    if form == "jsonl":
        return b"".join(msgspec.json.encode(each) + b"\n" for each in records)
    return table(_cells(each) for each in records)


def table(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as lines of CSV (RFC 4180) that no spreadsheet takes for formulas."""
    text = io.StringIO()
    csv.writer(text).writerows([_cell(each) for each in row] for row in rows)
    return text.getvalue().encode()


def _cells(record: AuditLine | Decision) -> Sequence[Any]:
    time = datetime.fromtimestamp(record.at, UTC).isoformat(timespec="milliseconds")
    if isinstance(record, Decision):
        facts = dict(record.line)
        what, match, proposal = (facts.pop(key, "") for key in ("decision", "match", "proposal"))
        return record.number, time, what, match, proposal, _text(facts)
    facts = dict(record.facts)
    outcome, address = facts.pop("outcome", ""), facts.pop("address", "")
    return record.number, time, record.by, record.action, record.target, outcome, address, _text(facts)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _text(facts: dict[str, Any]) -> str:
    return msgspec.json.encode(facts).decode() if facts else ""
