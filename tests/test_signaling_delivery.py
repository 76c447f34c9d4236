"""In which order decisions are carried out while the disk is slow, or takes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from p2pclient.common.errors import StoreError
from p2pclient.common.lobby_messages import Waiting
from signaling import durable as durable_module
from signaling.decisions import DecisionLog
from signaling.delivery import Delivery
from signaling.durable import DurableEffects
from signaling.effects import Decided, Effect, Kept, Send
from signaling.store.interface import Participant, Record
from signaling.store.memory import MemoryStore


class SlowStore(MemoryStore):
    """Writes when it is told to, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = asyncio.Semaphore(0)
        self.is_full = False
        self.batches: list[list[str]] = []

    async def write(self, records: Sequence[Record]) -> None:
        await self.may_write.acquire()
        if self.is_full:
            raise StoreError("The disk is full.")
        await super().write(records)
        self.batches.append([str(getattr(each, "id", type(each).__name__)) for each in records])


class Edge:
    """Carries effects out by writing down to whom each message went."""

    def __init__(self, *, log: DecisionLog | None = None) -> None:
        self.store = SlowStore()
        self.told: list[tuple[str, int]] = []
        self.troubles: list[str] = []
        self.durable = DurableEffects(self.store, "study", on_trouble=self.troubles.append)
        self.delivery = Delivery(self._carry_out, durable=self.durable, log=log)

    async def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            assert isinstance(effect.message, Waiting)
            if effect.message.position == 13:
                raise ZeroDivisionError
            self.told.append((effect.client, effect.message.position))


def to(client: str, number: int) -> Send:
    return Send(client, Waiting(position=number, waiting=1, needed=1))


def kept(name: str) -> Kept:
    return Kept(Participant(id=name, study_id="study"))


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nothing_is_told_before_what_was_decided_before_it_is_durable() -> None:
    edge = Edge()
    first = edge.delivery.put([kept("p1"), to("a", 1)])
    second = edge.delivery.put([to("b", 2)])
    await turns()
    assert (edge.told, first.done.done(), second.done.done()) == ([], False, False)
    edge.store.may_write.release()
    assert await first.done
    assert await second.done
    assert edge.told == [("a", 1), ("b", 2)]
    assert [each.id for each in await edge.store.participants("study")] == ["p1"]


async def test_nobody_waits_for_what_was_decided_later() -> None:
    edge = Edge()
    first = edge.delivery.put([kept("p1"), to("a", 1)])
    await turns()
    later = [edge.delivery.put([kept(f"q{number}"), to("a", number)]) for number in (2, 3)]
    edge.store.may_write.release()
    assert await first.done
    await turns()
    assert edge.told == [("a", 1)]
    assert not any(each.done.done() for each in later)
    edge.store.may_write.release()
    await later[1].done
    assert edge.told == [("a", 1), ("a", 2), ("a", 3)]
    assert edge.store.batches == [["p1"], ["q2", "q3"]], "what came while the disk was busy is written together"
    await turns()
    assert edge.delivery.is_idle


async def test_what_rests_on_no_record_waits_for_no_disk_unless_the_same_client_does() -> None:
    edge = Edge()
    edge.delivery.put([kept("p1"), to("a", 1)])
    await turns()
    relayed = edge.delivery.put([to("b", 2)], rests_on_records=False)
    behind = edge.delivery.put([to("a", 3)], rests_on_records=False)
    assert await relayed.done
    assert edge.told == [("b", 2)]
    await turns()
    assert not behind.done.done()
    edge.store.may_write.release()
    assert await behind.done
    assert edge.told == [("b", 2), ("a", 1), ("a", 3)]
    free_again = edge.delivery.put([kept("p2"), to("c", 4)])
    await edge.delivery.put([to("a", 5)], rests_on_records=False).done
    assert edge.told[-1] == ("a", 5)
    assert not free_again.done.done()
    edge.store.may_write.release()
    await free_again.done


async def test_without_anything_to_be_kept_no_disk_is_waited_for() -> None:
    edge = Edge()
    assert await edge.delivery.put([to("a", 1)]).done
    assert edge.told == [("a", 1)]


async def test_what_cannot_be_kept_is_held_and_goes_out_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge()
    edge.store.is_full = True
    first = edge.delivery.put([kept("p1"), to("a", 1)])
    edge.store.may_write.release()
    assert not await first.done
    second = edge.delivery.put([kept("p2"), to("a", 2)])
    free = edge.delivery.put([to("b", 3)])
    assert not await second.done
    assert await free.done
    assert (edge.told, len(edge.troubles)) == ([("b", 3)], 1)
    monkeypatch.setattr(durable_module, "perf_counter", lambda: edge.durable._again_at + 1)
    assert edge.delivery.is_due
    edge.store.is_full = False
    edge.store.may_write.release()
    edge.delivery.go_on()
    await turns()
    assert edge.told == [("b", 3), ("a", 1), ("a", 2)]
    assert edge.store.batches == [["p1", "p2"]]
    assert not edge.delivery.is_due
    await edge.delivery.put([to("a", 4)], rests_on_records=False).done
    assert edge.told[-1] == ("a", 4)


async def test_one_effect_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    edge = Edge()
    assert await edge.delivery.put([to("a", 13), to("b", 2)]).done
    assert edge.told == [("b", 2)]
    assert "Send could not be carried out" in caplog.text


async def test_decision_is_in_the_file_before_anybody_is_told(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    edge = Edge(log=log)
    parcels = [edge.delivery.put([Decided({"decision": each}), to(each, 1)]) for each in ("a", "b\ud800")]
    await turns()
    assert (log.path.read_text(), edge.told) == ("", [])
    edge.store.may_write.release()
    for parcel in parcels:
        await parcel.done
    lines = [json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines()]
    assert [each["decision"] for each in lines] == ["a", "b?"]
    assert all(each["time"] > 0 for each in lines)
    assert [each.line for each in await edge.store.decisions("study")] == [{"decision": "a"}, {"decision": "b?"}]
    log.close()
