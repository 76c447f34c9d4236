"""What the server must not lose, as records, and what every store of them does.

Rules, for every implementation (:mod:`signaling.store.conformance` holds them against each):

1. Records are plain data. A record of something that has a key (``Participant``, ``Match``) replaces the one before it
   whole; lines (``Decision``, ``AuditLine``) are only ever added, numbered from 1, and never changed or removed.
2. ``write`` takes a batch, and all of it is kept or nothing. When it returns, the batch is durable: neither ``kill -9``
   nor a power cut takes it back. So a client is told that something is settled only after ``write`` has returned.
3. Batches are kept in the order in which ``write`` was called, and the calls return in that order. What is read comes
   after every batch that was handed over before.
4. What only the store can decide, because two could ask for it (the last place under a cap, a link for one use), is a
   record, too; a batch whose record cannot be granted is refused by :class:`~p2pclient.common.errors.StoreRefusal`.
5. Secrets are never kept, only their hashes.

Times are seconds since 1970. The fields that are dicts hold what JSON can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec

from p2pclient.common.errors import StoreRefusal
from p2pclient.common.room_messages import Name

Text = Annotated[str, msgspec.Meta(max_length=1000)]
Hash = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""SHA-256 of a secret with at least 128 bits of entropy, in hex."""
Whole = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
Role = Literal["viewer", "operator", "admin"]


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """What is served under one name. Everything else belongs to one study."""

    id: Name
    name: Text = ""
    settings: dict[str, Any] = {}
    created_at: float = 0.0


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """One participant, bots among them."""

    id: Name
    study_id: Name
    token_hash: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""
    """Of the token by which it gets its place back (a ``Hash``), never the token; empty for none."""
    label: Text = ""
    station: Text = ""
    bot: bool = False
    attributes: dict[str, Any] = {}
    """From a signed link, or of the study's own rules."""
    state: Text = "idle"
    """One of ``signaling.rows.PARTICIPANT_STATES``."""
    reason: Text = ""
    finished: bool = False
    """It has taken part to the end."""
    locked: bool = False
    """It takes no further part: excluded, or removed."""
    created_at: float = 0.0
    changed_at: float = 0.0
    room: dict[str, Any] = {}
    """What the waiting room needs beyond that to go on after a restart."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One match, from its making to its end."""

    id: Name
    study_id: Name
    seed: Whole = 0
    settings: dict[str, Any] = {}
    seats: tuple[Name, ...] = ()
    """Ids of the participants, in the order of their seats."""
    state: Text = "matched"
    """One of ``signaling.rows.MATCH_STATES``."""
    reason: Text = ""
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    results: tuple[dict[str, Any], ...] = ()
    """What the clients told when they finished."""
    room: dict[str, Any] = {}
    """What the waiting room needs beyond that to go on after a restart."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of the matcher: who waited, who was chosen and why, who was rejected and why. Only added."""

    study_id: Name
    at: float
    line: dict[str, Any] = {}
    number: Whole = 0
    """Given by the store."""


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what when. Only added. Never holds a password or a token."""

    at: float
    by: Text
    """An account's name, or ``server``."""
    action: Text
    target: Text = ""
    facts: dict[str, Any] = {}
    number: Whole = 0
    """Given by the store."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who may log in to the console."""

    name: Text
    password_hash: Text
    """See :mod:`signaling.passwords`."""
    role: Role = "viewer"
    created_at: float = 0.0
    changed_at: float = 0.0


class ConsoleSession(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is logged in. Refused with ``no-account`` if there is no such account."""

    token_hash: Hash
    account: Text
    created_at: float = 0.0
    expires_at: float = 0.0
    address: Text = ""


class LinkUse(msgspec.Struct, frozen=True, kw_only=True):
    """A signed link for one use was used. Refused with ``link-used`` if another participant has used it."""

    link_id: Name
    participant_id: Name
    at: float = 0.0


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Add ``by`` to a counter that begins at 0; refused with ``counter-limit`` if that leaves 0 to ``cap``."""

    study_id: Name
    name: Text
    by: Whole = 1
    cap: Whole | None = None


class AccountRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """An account is gone, and all its sessions are. Harmless twice."""

    name: Text


class SessionEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody logged out. Harmless twice."""

    token_hash: Hash


class SessionsEnded(msgspec.Struct, frozen=True, kw_only=True):
    """All sessions of ``account`` (all accounts, if it is None) that expire at ``before`` or sooner are over."""

    before: float
    account: Text | None = None


Put = Study | Participant | Match | Decision | AuditLine | Account | ConsoleSession | LinkUse
Change = Count | AccountRemoved | SessionEnded | SessionsEnded
Record = Put | Change

MAX_BATCH_RECORDS = 10_000
_REFUSALS = {
    "no-account": "There is no such account any more.",
    "link-used": "This link has been used already, and it is good for one use. Ask for a new one.",
    "counter-limit": "No place is left under the cap of this condition.",
}


def store_refusal(code: str) -> StoreRefusal:
    """Return the error for a stable ``code``."""
    return StoreRefusal(code, _REFUSALS[code])


class Store(Protocol):
    """See the module's docstring for the rules. All methods belong to one event loop.

    Every method raises :class:`~p2pclient.common.errors.StoreError` when the disk fails; what was not acknowledged is
    then not kept, and nothing may be told to clients as if it were.
    """

    async def write(self, records: Sequence[Record]) -> None:
        """Keep a batch, whole; returns when it is durable.

        A call that is cancelled may have been kept, or not.

        Raises:
            StoreRefusal: ``no-account``, ``link-used`` or ``counter-limit``; nothing of the batch is kept.
            LocalMisuseError: a record is not what its type says; nothing of the batch is kept.
        """

    async def flush(self) -> None:
        """Return when every batch that was handed over before is durable or refused."""

    async def close(self) -> None:
        """Flush and let go of everything. Harmless twice; anything else raises StoreError afterwards."""

    async def studies(self) -> tuple[Study, ...]:
        """Return all studies, in the order in which they were first written."""

    async def participants(self, study_id: str) -> tuple[Participant, ...]:
        """Return all participants of a study, in the order in which they were first written."""

    async def matches(self, study_id: str, *, running_only: bool = False) -> tuple[Match, ...]:
        """Return the matches of a study, in the order in which they were first written."""

    async def ended_matches(self, study_id: str, *, before: str | None = None, limit: int = 50) -> tuple[Match, ...]:
        """Return the last ``limit`` matches of a study that have ended, the newest first.

        Args:
            before: only those first written before the match of this id; there are none before one that is unknown.
        """

    async def ended_counts(self, study_id: str) -> dict[str, int]:
        """Return how many matches of a study have ended, by reason."""

    async def counters(self, study_id: str) -> dict[str, int]:
        """Return the counters of a study by name."""

    async def decisions(self, study_id: str, *, after: int = 0, limit: int = 1000) -> tuple[Decision, ...]:
        """Return the first ``limit`` decisions of a study whose number is above ``after``."""

    async def audit(self, *, before: int | None = None, limit: int = 200) -> tuple[AuditLine, ...]:
        """Return the last ``limit`` audit lines whose number is below ``before``, the newest last."""

    async def accounts(self) -> tuple[Account, ...]:
        """Return all accounts, by name."""

    async def account(self, name: str) -> Account | None:
        """Return one account; None if there is none of this name."""

    async def session(self, token_hash: str, *, now: float) -> ConsoleSession | None:
        """Return a session that has not expired; None if there is none."""

    async def used_links(self) -> dict[str, str]:
        """Return who used each link for one use: the participant's id by the link's."""
