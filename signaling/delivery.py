"""In which order effects are carried out, and who waits for what.

1. Nothing is carried out before every record decided before it is durable.
2. What is carried out is carried out in the order of the decisions, seen from each client.
3. What rests on no record (a description from player to player, a report) waits for no disk, unless something for the
   same client does.
4. Whoever decided something waits until that is carried out, and for nothing that was decided later.

Two lines, each with one task of its own while there is anything in it: what is to be kept first, and what may go out.
So the disk is busy with the next records while those before are told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

from signaling.decisions import DecisionLog
from signaling.durable import DurableEffects, Parcel
from signaling.effects import Decided, Disconnect, Effect, Send

_log = logging.getLogger("tandem.signaling")


class Delivery:
    """See the module's docstring for the rules.

    Args:
        carry_out: carries out one effect; records are no business of its.
        durable: keeps the records; None: there is no store.
        log: the file of decisions; None: there is none.
    """

    def __init__(
        self, carry_out: Callable[[Effect], Awaitable[None]], *, durable: DurableEffects | None, log: DecisionLog | None
    ) -> None:
        self._carry_out = carry_out
        self._durable = durable
        self._log = log
        self._unkept: deque[Parcel] = deque()
        self._unkept_for: Counter[str] = Counter()
        """How much of what is not durable yet is for each client."""
        self._going_out: deque[Parcel] = deque()
        self._keeping: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    @property
    def is_due(self) -> bool:
        """Is it time to try again what could not be kept."""
        return self._durable is not None and self._durable.is_due

    @property
    def is_idle(self) -> bool:
        """Is there nothing to be kept or carried out; what is held because it cannot be kept does not count."""
        return not self._unkept and not self._going_out and all(map(_is_over, (self._keeping, self._telling)))

    def put(self, effects: Sequence[Effect], *, rests_on_records: bool = True) -> Parcel:
        """Take what was decided now; returns it with what to wait for.

        Args:
            rests_on_records: False if it may be told although earlier decisions are not durable yet.
        """
        parcel = Parcel(effects, asyncio.get_running_loop().create_future())
        if parcel.has_records or not self._may_overtake(parcel, rests_on_records):
            self._unkept.append(parcel)
            self._unkept_for.update(_clients(parcel))
        else:
            self._going_out.append(parcel)
        self.go_on()
        return parcel

    def go_on(self) -> None:
        """Do what is due, in tasks of its own."""
        if (self._unkept or self.is_due) and _is_over(self._keeping):
            self._keeping = asyncio.create_task(self._keep(), name="keeping decisions")
        if self._going_out and _is_over(self._telling):
            self._telling = asyncio.create_task(self._tell(), name="carrying out decisions")

    def _may_overtake(self, parcel: Parcel, rests_on_records: bool) -> bool:
        nothing_before = not self._unkept and _is_over(self._keeping)
        return nothing_before or not (rests_on_records or any(self._unkept_for[each] for each in _clients(parcel)))

    async def _keep(self) -> None:
        while self._unkept or self.is_due:
            # All at once: what came while the disk was busy is written together.
            taken = list(self._unkept)
            self._unkept.clear()
            passed = set(await self._passed(taken))
            for parcel in taken:
                if parcel not in passed:
                    parcel.tell(False)
            self.go_on()

    async def _passed(self, taken: Sequence[Parcel]) -> Sequence[Parcel]:
        """Let go out what is durable now, be it of these or of what was held before; returns it."""
        try:
            passed = taken if self._durable is None else await self._durable.passed(taken)
            lines = [each.line for parcel in passed for each in parcel.effects if isinstance(each, Decided)]
            if lines and self._log is not None:
                await self._log.write(lines)
        except Exception:  # noqa: BLE001 - a mistake of ours: whoever waits must hear of it, rather than wait for ever
            _log.exception("%d decisions are lost", len(taken))
            self._forget(taken)
            return ()
        self._forget(passed)
        self._going_out += passed
        return passed

    def _forget(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            self._unkept_for -= Counter(_clients(parcel))

    async def _tell(self) -> None:
        while self._going_out:
            parcel = self._going_out.popleft()
            for each in parcel.effects:
                try:
                    await self._carry_out(each)
                except Exception:  # noqa: BLE001 - what one client does not get must not take the others' with it
                    _log.exception("%s could not be carried out", type(each).__name__)
            parcel.tell(True)


def _clients(parcel: Parcel) -> list[str]:
    return [each.client for each in parcel.effects if isinstance(each, Send | Disconnect)]


def _is_over(task: asyncio.Task[None] | None) -> bool:
    return task is None or task.done()
