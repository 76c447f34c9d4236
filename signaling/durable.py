"""What comes first: records are written before any effect after them is carried out.

While the store cannot write, nothing is told that rests on what it did not take: those effects are held, and go out in
their order when it can again. What needs no record, such as descriptions between players of a match, goes on meanwhile.
The order in which all of it goes out is :mod:`signaling.delivery`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from p2pclient.common.errors import LocalMisuseError, StoreError
from signaling.effects import Decided, Effect, Kept
from signaling.keeping import HELD, STARTS, KeptRoom, clean
from signaling.store.interface import MAX_BATCH_RECORDS, AuditLine, Decision, Record, Store

_log = logging.getLogger("tandem.signaling")

LINES_LOOKED_AT = 500
"""Of the audit log, for what was asked of the room last."""
AGAIN_AFTER_S = 0.5
"""How long a store that failed is left alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """What came of one event: effects in their order, for whoever waits until they are carried out."""

    effects: Sequence[Effect]
    done: asyncio.Future[bool]
    """True once they are carried out; False as soon as they are held, because the store takes nothing."""

    @property
    def has_records(self) -> bool:
        """Must something be durable before this may be told."""
        return any(isinstance(each, Kept | Decided) for each in self.effects)

    def tell(self, was_carried_out: bool) -> None:
        """Let whoever waits go on; harmless twice."""
        if not self.done.done():
            self.done.set_result(was_carried_out)


class DurableEffects:
    """Lets effects pass when their records are kept.

    Args:
        on_trouble: told what is wrong, and that it is well again, in a sentence.
    """

    def __init__(self, store: Store, study: str, *, on_trouble: Callable[[str], None]) -> None:
        self._store = store
        self._study = study
        self._on_trouble = on_trouble
        self._held: list[Parcel] = []
        self._again_at = 0.0
        self.problem = ""
        """Why the store does not write at the moment; empty if it does."""

    @property
    def is_due(self) -> bool:
        """Is it time to try again what the store did not take."""
        return bool(self._held) and perf_counter() >= self._again_at

    async def passed(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Return what may be carried out now, in order; the rest is held. Never fails."""
        if not self._held:
            return await self._kept(parcels)
        self._held += [each for each in parcels if each.has_records]
        free = [each for each in parcels if not each.has_records]
        if not self.is_due:
            return free
        waiting, self._held = self._held, []
        return [*await self._kept(waiting), *free]

    async def _kept(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        records = [record for each in parcels for effect in each.effects for record in self._records(effect)]
        try:
            for at in range(0, len(records), MAX_BATCH_RECORDS):
                await self._write(records[at : at + MAX_BATCH_RECORDS])
        except StoreError as error:
            self._held = [*parcels, *self._held]
            self._again_at = perf_counter() + AGAIN_AFTER_S
            if not self.problem:
                self._on_trouble(f"What happens cannot be kept, and nothing new is begun: {error}")
            self.problem = str(error)
            return ()
        if self.problem and records:
            self.problem = ""
            self._on_trouble("What happens is kept again.")
        return parcels

    async def _write(self, records: Sequence[Record]) -> None:
        try:
            await self._store.write(records)
        except LocalMisuseError:
            # A mistake of ours in one of them: the others are not lost with it.
            for each in records:
                try:
                    await self._store.write([each])
                except LocalMisuseError:
                    _log.exception("a record could not be kept")

    def _records(self, effect: Effect) -> list[Record]:
        match effect:
            case Kept(record):
                return [record]
            case Decided(line):
                return [Decision(study_id=self._study, at=round(time.time(), 3), line=clean(line))]
            case _:
                return []


async def read_room(store: Store, study: str) -> KeptRoom:
    """Return what is kept of a study's room.

    Raises:
        StoreError: it cannot be read.
    """
    counters = await store.counters(study)
    return KeptRoom(
        study=next((each for each in await store.studies() if each.id == study), None),
        participants=await store.participants(study),
        matches=await store.matches(study),
        starts=counters.get(STARTS, 0),
        is_held=counters.get(HELD, 0) > 0,
        asked=await _asked(store, study),
        used_links=await store.used_links(),
    )


async def _asked(store: Store, study: str) -> list[AuditLine]:
    """Return the last actions on a study's room that were not refused."""
    lines = await store.audit(limit=LINES_LOOKED_AT)
    return [
        each
        for each in lines
        if each.facts.get("outcome") == "ok" and each.facts.get("study") == study and "action" in each.facts
    ]
