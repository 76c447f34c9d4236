"""Two clients that measure the network between them, over real data channels in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from signaling_rig import running_server

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Join, Matched
from p2pclient.common.probe_messages import ProbeCancel, ProbeResult, ProbeSignal, ProbeStart
from p2pclient.protocol.probe import NONCE_BYTES, ProbeSide
from p2pclient.runtime.probing import MAX_REFUSALS, Prober, _Ended, measure
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.transport.impairment import ImpairmentSpec
from p2pclient.transport.memory import memory_pair
from signaling.effects import Effect, Send
from signaling.matching.rtt import RttAware
from signaling.probe_records import Failed, Measured, ProbeRules
from signaling.probes import Probes
from signaling.room_state import Rules

QUICK = ProbeRules(samples=10, interval_ms=5)


class Exchange:
    """A coordinator and its clients, with nothing between them but the loop."""

    def __init__(self, rules: ProbeRules = QUICK) -> None:
        self.probes = Probes(rules)
        self.clients: dict[str, Prober] = {}
        self.told: list[tuple[str, ProbeSignal | ProbeResult]] = []
        self.said: list[Effect] = []
        self.changed = asyncio.Event()

    def add(
        self, name: str, *, delay_ms: float = 0.0, loss: float = 0.0, is_busy: Callable[[], bool] = lambda: False
    ) -> Prober:
        async def send(message: ProbeSignal | ProbeResult) -> None:
            await asyncio.sleep(0)
            self.told.append((name, message))
            now = asyncio.get_running_loop().time()
            take = self.probes.signal if isinstance(message, ProbeSignal) else self.probes.result
            self.carry_out(take(name, message, now=now))  # type: ignore[operator]

        spec = ImpairmentSpec(delay_ms=delay_ms, loss=loss)
        self.clients[name] = Prober(send, is_busy=is_busy, impairment=spec, seed=len(self.clients))
        return self.clients[name]

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.said.append(effect)
            if isinstance(effect, Send) and effect.client in self.clients:
                message = effect.message
                assert isinstance(message, ProbeStart | ProbeCancel | ProbeSignal)
                self.clients[effect.client].take(message)
        self.changed.set()

    async def until(self, condition: Callable[[], object], within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def want(self, *pairs: tuple[str, str]) -> None:
        self.carry_out(self.probes.want(pairs, now=asyncio.get_running_loop().time()))

    async def close(self) -> None:
        for each in self.clients.values():
            await each.close()


async def test_two_clients_measure_their_impairment_and_close_everything() -> None:
    exchange = Exchange()
    exchange.add("a", delay_ms=30)
    exchange.add("b", delay_ms=30)
    exchange.want(("a", "b"))
    await exchange.until(lambda: exchange.probes.outcome_of("a", "b"))
    outcome = exchange.probes.outcome_of("a", "b")
    assert isinstance(outcome, Measured), exchange.told
    assert outcome.rtt_ms >= 60.0
    assert outcome.path in {"direct", "loopback"}
    assert not exchange.probes.running
    await exchange.close()
    assert not any(each.is_probing for each in exchange.clients.values())
    kinds = [type(message).__name__ for _, message in exchange.told]
    assert kinds == ["ProbeSignal", "ProbeSignal", "ProbeResult", "ProbeResult"]


class Candidate:
    """A client of a real server that is ready to play, and waits."""

    def __init__(self, seed: int) -> None:
        self.client = SignalingClient(wakeup=self.take)
        self.prober = Prober(self.client.probe, is_busy=lambda: False, seed=seed)
        self.probes: list[str] = []
        self.matched = asyncio.Event()

    def take(self) -> None:
        for message in self.client.take_messages():
            if isinstance(message, ProbeStart | ProbeCancel | ProbeSignal):
                self.probes.append(type(message).__name__)
                self.prober.take(message)
            elif isinstance(message, Matched):
                self.matched.set()


async def test_candidates_of_a_server_measure_each_other_and_are_matched() -> None:
    async with running_server(rules=Rules(matcher=RttAware(limit_ms=1000.0))) as url:
        both = [Candidate(1), Candidate(2)]
        for each in both:
            await each.client.connect(url)
            await each.client.join(Join(ready=False))
        for each in both:
            await each.client.ready()
        async with asyncio.timeout(20):
            await asyncio.gather(*(each.matched.wait() for each in both))
        for each in both:
            assert each.probes == ["ProbeStart", "ProbeSignal"]
            await each.prober.close()
            await each.client.close()


async def test_a_client_that_plays_says_that_it_is_busy() -> None:
    exchange = Exchange()
    exchange.add("a")
    exchange.add("b", is_busy=lambda: True)
    exchange.want(("a", "b"))
    await exchange.until(lambda: exchange.probes.outcome_of("a", "b"))
    outcome = exchange.probes.outcome_of("a", "b")
    assert isinstance(outcome, Failed)
    assert outcome.reason == "refused"
    assert not exchange.clients["a"].is_probing  # told that it is over
    await exchange.close()


async def test_a_match_that_begins_ends_a_probe() -> None:
    exchange = Exchange()
    a, b = exchange.add("a"), exchange.add("b")
    exchange.want(("a", "b"))
    assert a.is_probing
    a.stop()
    assert not a.is_probing
    await exchange.until(lambda: exchange.probes.outcome_of("a", "b"))
    outcome = exchange.probes.outcome_of("a", "b")
    assert isinstance(outcome, Failed)
    assert outcome.reason == "refused"
    assert not b.is_probing
    a.stop()
    await exchange.close()
    assert [message for name, message in exchange.told if name == "a" and isinstance(message, ProbeResult)] == [
        ProbeResult(probe_id="probe-1", failure="busy")
    ]


async def test_only_so_many_refusals_are_on_their_way() -> None:
    held, tried = asyncio.Event(), []

    async def send(message: ProbeSignal | ProbeResult) -> None:
        tried.append(message)
        await held.wait()
        raise SignalingError("connection-lost", "It is gone.")

    prober = Prober(send, is_busy=lambda: True)
    for number in range(100):
        prober.take(ProbeStart(probe_id=f"p{number}", peer="x", make_offer=True))
    await asyncio.sleep(0)
    assert len(tried) == MAX_REFUSALS
    held.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert prober._refusing == 0
    prober.take(ProbeStart(probe_id="again", peer="x", make_offer=True))
    await asyncio.sleep(0)
    assert len(tried) == MAX_REFUSALS + 1
    await prober.close()


async def test_a_description_that_is_none_is_no_path() -> None:
    told: list[ProbeSignal | ProbeResult] = []
    answered = asyncio.Event()

    async def send(message: ProbeSignal | ProbeResult) -> None:
        told.append(message)
        answered.set()

    prober = Prober(send, is_busy=lambda: False)
    prober.take(ProbeStart(probe_id="p", peer="x", make_offer=False))
    offer = {"probe_id": "p", "description": {"type": "offer", "sdp": "v=0 nonsense"}}
    prober.take(ProbeCancel(probe_id="another"))  # not ours: changes nothing
    prober.take(msgspec.convert({"event": "probe-signal", **offer}, ProbeSignal))
    async with asyncio.timeout(10):
        await answered.wait()
    assert told == [ProbeResult(probe_id="p", failure="no-path")]
    await prober.close()


async def test_nobody_on_the_other_side_ends_in_time() -> None:
    told: list[ProbeSignal | ProbeResult] = []
    answered = asyncio.Event()

    async def send(message: ProbeSignal | ProbeResult) -> None:
        told.append(message)
        answered.set()

    prober = Prober(send, is_busy=lambda: False)
    prober.take(ProbeStart(probe_id="p", peer="x", make_offer=False, connect_within_s=0.5))
    async with asyncio.timeout(10):
        await answered.wait()
    assert told == [ProbeResult(probe_id="p", failure="timeout")]
    assert not prober.is_probing
    await prober.close()


def side(samples: int = 5) -> ProbeSide:
    now = asyncio.get_running_loop().time()
    return ProbeSide(samples=samples, interval_s=0.005, nonces=bytes(samples * NONCE_BYTES), now=now)


async def test_both_sides_wait_for_each_other() -> None:
    ours, theirs = memory_pair(asyncio.get_running_loop())
    a, b = side(), side()
    async with asyncio.timeout(10):
        await asyncio.gather(measure(ours, a, within_s=60.0), measure(theirs, b, within_s=60.0))
    assert a.may_close
    assert b.may_close
    await ours.close()


async def test_the_other_side_going_away_ends_the_measurement() -> None:
    ours, theirs = memory_pair(asyncio.get_running_loop())
    running = asyncio.create_task(measure(ours, side(), within_s=10.0))
    await asyncio.sleep(0)
    await theirs.close()
    with pytest.raises(_Ended) as ended:
        await running
    assert ended.value.failure == "left"


async def test_what_was_measured_stands_if_the_other_side_never_finishes() -> None:
    ours, _ = memory_pair(asyncio.get_running_loop())
    measuring = side()
    for number in range(6):
        now = asyncio.get_running_loop().time() + number
        for data in measuring.datagrams_to_send(now=now):
            measuring.receive_datagram(data[:1] + b"\x02" + data[2:], now=now + 0.01)
    await measure(ours, measuring, within_s=0.05)
    assert measuring.is_over
    assert not measuring.may_close
    network = measuring.network()
    assert network is not None
    assert network.echoes == 5
    await ours.close()


async def test_a_silent_other_side_is_a_time_out() -> None:
    ours, _ = memory_pair(asyncio.get_running_loop())
    with pytest.raises(_Ended) as ended:
        await measure(ours, side(100), within_s=0.05)
    assert ended.value.failure == "timeout"
    await ours.close()
