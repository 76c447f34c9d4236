"""The WebRTC transport: connecting, ending, odd loops, machines without a network, paths that lose and die."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import time
from typing import Any

import pytest
from transport_pairs import make_pair, opened, still_works, transport_of

from p2pclient.common.errors import ConfigurationError, LocalMisuseError, TransportError
from p2pclient.transport import association, ice, rtc
from p2pclient.transport.base import CONTROL, INPUTS, Closed, Failed, Opened
from p2pclient.transport.conformance import Listener
from p2pclient.transport.ice import LOOPBACK, IceServer, choose_addresses
from p2pclient.transport.rtc import RtcTransport

# Connecting


def run_in_new_loop(main: Any, time_of_loop: Any) -> None:
    class OddLoop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return float(time_of_loop())

    with asyncio.Runner(loop_factory=OddLoop) as runner:
        runner.run(main())


def test_a_loop_with_another_clock() -> None:
    async def main() -> None:
        async with opened() as (a, b):
            await still_works(a, b)

    run_in_new_loop(main, time.perf_counter)


async def test_a_datagram_leaves_within_the_call() -> None:
    async with opened() as (a, _):
        sent: list[bytes] = []
        pair = transport_of(a)._path._connection._nominated[1]
        real = pair.protocol.transport.sendto

        def send_and_note(data: bytes, address: Any) -> None:
            sent.append(data)
            real(data, address)

        pair.protocol.transport.sendto = send_and_note
        a.transport.send_datagram(b"now")
        assert len(sent) == 1


async def test_an_address_can_be_chosen() -> None:
    async with opened(addresses=[LOOPBACK]) as (a, b):
        for end in (a, b):
            stats = end.transport.stats()
            assert stats.connection == "loopback"
            assert stats.local_address.startswith("127.0.0.1:")
        assert a.transport.stats().local_address == b.transport.stats().remote_address


@pytest.mark.parametrize("addresses", [[], ["eth0"], ["10.0.0.1", ""]])
async def test_a_wrong_address_is_named(addresses: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="addresses"):
        RtcTransport(offerer=True, addresses=addresses)


async def test_no_usable_address_says_what_to_check() -> None:
    # For documentation only (RFC 5737), so no machine has it.
    a = RtcTransport(offerer=True, addresses=["203.0.113.77"])
    with pytest.raises(TransportError, match="network"):
        await a.make_offer()
    await a.close()


def test_loopback_is_used_only_when_there_is_nothing_else() -> None:
    assert choose_addresses(["10.0.0.1", "fd00::1"], None) == ["10.0.0.1", "fd00::1"]
    assert choose_addresses([], None) == [LOOPBACK]
    assert choose_addresses(["10.0.0.1"], ["10.0.0.2"]) == ["10.0.0.2"]


@pytest.mark.parametrize("url", ["http://example.org", "stun:", "example.org:3478", ""])
def test_a_wrong_ice_server_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ice_servers"):
        IceServer(url)


async def test_steps_out_of_turn_are_bugs() -> None:
    a, b = RtcTransport(offerer=True), RtcTransport(offerer=False)
    offer = await a.make_offer()
    for step in (a.make_offer, b.make_offer, lambda: a.accept_offer(offer)):
        with pytest.raises(LocalMisuseError):
            await step()
    answer = await b.accept_offer(offer)
    with pytest.raises(LocalMisuseError):
        await b.accept_answer(answer)
    await a.close()
    await b.close()


async def test_before_it_is_open_datagrams_are_dropped_and_control_refused() -> None:
    a = RtcTransport(offerer=True)
    a.send_datagram(b"early")
    assert a.stats().dropped_by_reason == {"not-open": 1}
    with pytest.raises(TransportError):
        a.send_control(b"early")
    await a.close()
    with pytest.raises(TransportError):
        await a.make_offer()


async def test_an_answer_that_never_connects_fails_in_time() -> None:
    a = RtcTransport(offerer=True, connect_timeout=0.2)
    b = RtcTransport(offerer=False)
    answer = await b.accept_offer(await a.make_offer())
    await b.close()
    listener = Listener(a)
    await a.accept_answer(answer)
    await listener.until(lambda: bool(listener.events))
    assert listener.events == [Failed(rtc.NO_PATH)]
    await a.close()


@pytest.mark.parametrize("step", ["new", "offered", "answered", "connecting"])
async def test_closing_at_any_step_leaves_nothing(step: str) -> None:
    a, b = RtcTransport(offerer=True), RtcTransport(offerer=False)
    if step != "new":
        offer = await a.make_offer()
        if step != "offered":
            answer = await b.accept_offer(offer)
            if step == "connecting":
                await a.accept_answer(answer)
                await asyncio.sleep(0.01)
    await a.close()
    await b.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert a.take_events()[-1] == Closed(by_peer=False)


async def test_closing_while_the_handshake_runs_tells_only_an_end() -> None:
    for delay in (0.0, 0.015, 0.02, 0.021, 0.022, 0.023, 0.024, 0.025, 0.03):
        a, b = await make_pair(connect_timeout=0.1)
        listener = Listener(b)
        await asyncio.sleep(delay)
        await a.close()
        await listener.until(lambda listener=listener: bool(set(listener.events) - {Opened()}))  # type: ignore[misc]
        await b.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_lost_socket_is_a_failure_not_a_close() -> None:
    async with opened() as (a, _):
        transport_of(a)._path._connection._nominated[1].protocol.transport.abort()
        await a.until(lambda: len(a.events) > 1)
        assert a.events == [Opened(), Failed(rtc.LOST)]


async def test_sending_while_the_path_vanishes_raises_nothing() -> None:
    async with opened() as (a, b):
        pairs = transport_of(a)._path._connection._nominated
        pair = pairs.pop(1)
        a.transport.send_datagram(b"into the void")
        a.transport.send_control(b"into the void")
        pairs[1] = pair
        await still_works(a, b)


@pytest.mark.alone
async def test_a_killed_association_is_told_at_once() -> None:
    async with opened() as (a, b):
        start = time.perf_counter()
        await transport_of(a)._connection.sctp.stop()  # type: ignore[union-attr]
        await b.until(lambda: Closed(by_peer=True) in b.events)
        assert time.perf_counter() - start < 1.0


# Machines without a network

SCRIPT = """
import asyncio
from p2pclient.transport.conformance import Listener
from p2pclient.transport.rtc import RtcTransport, connect_pair
async def main():
    a, b = RtcTransport(offerer=True), RtcTransport(offerer=False)
    await connect_pair(a, b)
    ends = Listener(a), Listener(b)
    for end in ends:
        await end.until_open()
    a.send_datagram(b"hello")
    await ends[1].until(lambda: bool(ends[1].received))
    print(a.stats().connection, a.stats().local_address)
    await a.close()
    await b.close()
asyncio.run(main())
"""


def run_isolated(setup: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a new network namespace after ``setup``, or skip with the reason."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Network namespaces are a feature of Linux.")
    for tool, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if shutil.which(tool) is None:
            pytest.skip(f"The command {tool} is missing: install the package {package}.")
    unshare = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        unshare = ["unshare", "--net"]
        probe = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
        if probe.returncode:
            pytest.skip(f"This system does not let us make a network namespace ({probe.stderr.strip()}).")
    command = [*unshare, "sh", "-ec", f'{setup}\nexec "$0" -c "$1"', sys.executable, SCRIPT]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_with_only_the_loopback_interface_up_it_connects() -> None:
    done = run_isolated("ip link set lo up")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("loopback 127.0.0.1:")
    assert not done.stderr


# Consent


def lose_stun(end: Listener) -> None:
    def lose(message: Any, address: Any) -> None:
        del message, address

    transport_of(end)._path._connection._nominated[1].protocol.send_stun = lose


@pytest.fixture
def hasty_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "CONSENT_INTERVAL_S", 0.02)
    monkeypatch.setattr(ice, "CONSENT_FAILURES", 2)


@pytest.mark.usefixtures("hasty_consent")
async def test_a_silent_path_is_lost() -> None:
    async with opened() as (a, _):
        lose_stun(a)
        await a.until(lambda: len(a.events) > 1)
        assert a.events == [Opened(), Failed(rtc.LOST)]


@pytest.mark.usefixtures("hasty_consent")
async def test_messages_keep_a_path_alive_whose_checks_are_lost() -> None:
    async with opened() as (a, b):
        lose_stun(a)
        loop = asyncio.get_running_loop()
        end = loop.time() + 2.0
        while loop.time() < end:
            await still_works(a, b)
            await asyncio.sleep(0.01)
        assert b.events == [Opened()]
        assert a.events == [Opened()]


# Heavy loss


@pytest.mark.alone
async def test_what_arrives_through_loss_is_never_late() -> None:
    delay, loss, hz, seconds = 0.05, 0.3, 60, 2.0
    async with opened() as (a, b):
        loop, rng = asyncio.get_running_loop(), random.Random(5)
        paths = [transport_of(end)._path._connection._nominated[1].protocol for end in (a, b)]

        def impair(path: Any) -> None:
            async def send_later(data: bytes, address: Any) -> None:
                if rng.random() >= loss:
                    loop.call_later(delay, send_if_open, path.transport, data, address)

            path.send_data = send_later

        def send_if_open(transport: Any, data: bytes, address: Any) -> None:
            if not transport.is_closing():
                transport.sendto(data, address)

        for path in paths:
            impair(path)
        latencies: list[float] = []

        def take() -> None:
            now = loop.time()
            latencies.extend(now - float(data[:20]) for _, data in b.transport.take_received())

        b.transport.wakeup = take
        start, unsettled = loop.time(), 0
        for number in range(int(hz * seconds)):
            # 1,000 bytes: with aiortc's own congestion window the queue would grow to a second and more.
            a.transport.send_datagram((b"%020.9f" % loop.time()).ljust(1000, b"."))
            b.transport.send_datagram(b"the other way")
            unsettled = max(unsettled, len(transport_of(a)._association._sctp._sent_queue))
            await asyncio.sleep(max(0.0, start + (number + 1) / hz - loop.time()))
        # What is in flight for a round trip or two. One hole given up per round trip would let this grow for ever.
        assert unsettled < 40, unsettled
        assert len(latencies) > 0.5 * hz * seconds
        assert sorted(latencies)[int(0.9 * len(latencies))] < delay + 0.1
        assert "congested" not in a.transport.stats().dropped_by_reason
        for path in paths:
            del path.send_data


async def test_a_dead_path_drops_inputs_instead_of_hoarding_them() -> None:
    async with opened() as (a, _):
        path = transport_of(a)._path._connection._nominated[1].protocol

        async def swallow(data: bytes, address: Any) -> None:
            del data, address

        path.send_data = swallow
        for _ in range(1000):
            a.transport.send_datagram(bytes(1000))
        stats = a.transport.stats()
        assert stats.dropped_by_reason["congested"] > 800
        assert stats.buffered_bytes < 200_000
        del path.send_data


# Coming back after an outage


def cut(end: Listener) -> Any:
    """Lose all that an end sends; returns what ends that."""
    path = transport_of(end)._path._connection._nominated[1].protocol

    async def swallow(data: bytes, address: Any) -> None:
        del data, address

    path.send_data = swallow
    return lambda: path.__dict__.pop("send_data")


async def test_control_of_an_outage_leaves_at_once_when_the_peer_is_heard_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(association, "RETURN_AFTER_S", 0.02)
    async with opened() as (a, b):
        sctp = transport_of(a)._association._sctp
        await still_works(a, b)
        mend = cut(a)
        a.transport.send_control(b"said in the outage")
        a.transport.send_datagram(b"an input")
        # As long as an outage makes it: the timer is not what brings the message.
        sctp._t3_cancel()
        sctp._t3_handle = asyncio.get_running_loop().call_later(3600, sctp._t3_expired)
        await asyncio.sleep(0.05)
        mend()
        b.transport.send_datagram(b"back")
        await b.until(lambda: (CONTROL, b"said in the outage") in b.received)
        assert (INPUTS, b"an input") not in b.received
        await still_works(a, b)


async def test_an_outage_is_not_taken_for_a_round_trip() -> None:
    async with opened() as (a, b):
        await still_works(a, b)
        sctp = transport_of(a)._association._sctp
        for _ in range(20):
            sctp._update_rto(20.0)
        assert sctp._rto <= association.LONGEST_RTO_S
        for _ in range(100):
            sctp._update_rto(0.01)
        assert sctp._rto == 1.0


@pytest.mark.parametrize(("keep_s", "checks"), [(None, 6), (10.0, 6), (70.0, 14)])
async def test_a_path_is_kept_for_as_long_as_its_owner_waits(keep_s: float | None, checks: int) -> None:
    transport = RtcTransport(offerer=True, keep_s=keep_s)
    assert transport._path._most_failures == checks
    await transport.close()
