"""What the telemetry of a match makes of what it is told, and of the endpoints that it reads."""

from __future__ import annotations

import json
import random
import tracemalloc
from dataclasses import dataclass

import pytest

from p2pclient.match.plan import Phase
from p2pclient.protocol.endpoint import Endpoint, EndpointConfig
from p2pclient.telemetry.counters import PeerCounters
from p2pclient.telemetry.histogram import Summary
from p2pclient.telemetry.match import MatchTelemetry
from p2pclient.telemetry.trace import PLAY

FRAME = 1 / 60


@dataclass(frozen=True)
class Decided:
    """A session's decision, as telemetry sees it."""

    advanced: int = 1
    stalled: bool = False
    depth: int = 0
    resimulated: int = 0
    cause: tuple[int, ...] = ()


STALLED = Decided(advanced=0, stalled=True)


def make_endpoint(now: float = 0.0) -> Endpoint:
    return Endpoint(
        EndpointConfig(connection=7, local_width=2, remote_widths=(2,), is_valid=lambda seat, value: True), now=now
    )


def make_telemetry(*, tracing: bool = False, phase: str = PLAY) -> MatchTelemetry:
    telemetry = MatchTelemetry({1: make_endpoint()}, phase=phase, now=0.0)
    if tracing:
        telemetry.start_trace(1, now=0.0)
    return telemetry


def play(telemetry: MatchTelemetry, decided: Decided = Decided(), *, now: float, frame: int = 10, **given: int) -> None:
    telemetry.tick(now=now)
    figures = {"confirmed": frame - 3, "window": 8, "delay": 0, **given}
    telemetry.played(decided, frame=frame, **figures)


# -- the session's decisions ------------------------------------------------------------------------------------


def test_rollbacks_are_counted_by_depth_and_by_the_seats_that_caused_them() -> None:
    telemetry = make_telemetry()
    play(telemetry, now=0.0)
    play(telemetry, Decided(depth=3, resimulated=3, cause=(1,)), now=0.1)
    play(telemetry, Decided(depth=3, resimulated=7, cause=(1, 4)), now=0.2)
    play(telemetry, Decided(depth=8, resimulated=8, cause=(4,)), now=0.3)
    counters = telemetry.counters
    assert (counters.frames, counters.rollbacks, counters.resimulated, counters.max_depth) == (4, 3, 18, 8)
    assert counters.depths == {3: 2, 8: 1}
    assert counters.rollback_causes == {1: 2, 4: 2}
    assert counters.resimulated_by_cause == {1: 10, 4: 15}
    report = telemetry.report(now=1.0)
    assert (report.rollbacks_per_100, report.resimulated_per_100) == (75.0, 450.0)
    assert (report.depth.count, report.depth.median, report.depth.most) == (3, 3.0, 8.0)


def test_frames_that_make_up_for_a_hitch_are_counted_apart() -> None:
    telemetry = make_telemetry()
    for frames in (4, 1, 2):
        telemetry.tick(now=0.0, owed=frames)
        telemetry.played(Decided(advanced=frames), frame=4, confirmed=3, window=8, delay=0)
    assert (telemetry.counters.frames, telemetry.counters.fast_forwarded, telemetry.counters.late_ticks) == (7, 4, 2)


def test_stalls_are_counted_in_ticks_in_runs_and_in_seconds() -> None:
    telemetry = make_telemetry()
    for now, decided in enumerate([Decided(), STALLED, STALLED, STALLED, Decided(), Decided(), STALLED, Decided()]):
        play(telemetry, decided, now=float(now))
    counters = telemetry.counters
    assert (counters.stalls, counters.stall_spells) == (4, 2)
    assert (counters.stalled_seconds, counters.longest_stall) == (4.0, 3.0)
    assert telemetry.report(now=60.0).stalls_per_minute == 2.0


def test_stall_ends_with_the_phase() -> None:
    telemetry = make_telemetry()
    play(telemetry, STALLED, now=1.0)
    telemetry.now = 3.0
    telemetry.phase("ended", 0)
    telemetry.tick(now=9.0)
    assert telemetry.counters.stalled_seconds == 2.0
    assert telemetry.report(now=9.0).counters["longest_stall"] == 2.0


def test_stall_at_hand_is_in_the_report_and_counted_once() -> None:
    telemetry = make_telemetry()
    play(telemetry, STALLED, now=1.0)
    reports = [telemetry.report(now=now).counters for now in (1.5, 2.0)]
    assert [report["stalled_seconds"] for report in reports] == [0.5, 1.0]
    assert [report["longest_stall"] for report in reports] == [0.5, 1.0]
    play(telemetry, now=3.0)
    assert telemetry.counters.stalled_seconds == telemetry.report(now=5.0).counters["stalled_seconds"] == 2.0


def test_lag_is_what_is_simulated_and_not_confirmed() -> None:
    telemetry = make_telemetry()
    for confirmed in (9, 8, 4):
        play(telemetry, now=0.0, frame=10, confirmed=confirmed)
    play(telemetry, now=0.0, frame=10, confirmed=13)  # under an input delay it is ahead
    assert telemetry.lag.summary() == Summary(4, 1.5, 0.0, 1.0, 5.0, 5.0, 5.0)


def test_windows_and_delays_are_counted_by_the_ticks_that_they_held() -> None:
    telemetry = make_telemetry()
    for window, delay in ((8, 0), (8, 0), (7, 2), (8, 2)):
        play(telemetry, now=0.0, window=window, delay=delay)
    data = telemetry.counters.as_data()
    assert data["windows"] == {"7": 1, "8": 3}
    assert data["delays"] == {"0": 2, "2": 2}


def test_withdrawn_frames_are_not_confirmed_any_more() -> None:
    telemetry = make_telemetry()
    telemetry.counters.confirmed_frames = 100
    telemetry.counters.count_withdrawn(12)
    assert (telemetry.counters.confirmed_frames, telemetry.counters.withdrawn_frames) == (88, 12)


# -- times ------------------------------------------------------------------------------------------------------


def test_name_of_play_is_the_one_of_the_match() -> None:
    assert Phase.PLAYING.value == PLAY


def test_seconds_are_kept_by_phase_over_all_episodes() -> None:
    telemetry = make_telemetry(phase="handshaking")
    for now, name in ((1.0, "resetting"), (1.5, PLAY), (4.5, "resetting"), (5.0, PLAY), (6.0, "ended")):
        telemetry.now = now
        telemetry.phase(name, 0)
    report = telemetry.report(now=8.0)
    assert report.phase_seconds == {"handshaking": 1.0, "resetting": 1.0, PLAY: 4.0, "ended": 2.0}
    assert report.seconds == 8.0


def test_what_is_reported_between_two_times_happened_at_the_first() -> None:
    telemetry = make_telemetry(tracing=True)
    trace = telemetry.trace
    assert trace is not None
    telemetry.tick(now=1.0)
    telemetry.sent(1, b"d")
    telemetry.received(1, "inputs", b"d", now=2.0)
    telemetry.sent(1, b"d")
    telemetry.batch_back(now=3.0)
    telemetry.mark("peer-left", {"peer": 1})
    assert [event.ts for event in trace.take_events() if event.ph == "i"] == [
        1_000_000,
        2_000_000,
        2_000_000,
        3_000_000,
    ]


def test_rate_is_that_of_play_alone() -> None:
    telemetry = make_telemetry(phase="handshaking")
    telemetry.now = 10.0
    telemetry.phase(PLAY, 0)
    for frame in range(120):
        play(telemetry, now=10 + frame * FRAME)
    telemetry.now = 12.0
    telemetry.phase("ended", 0)
    assert telemetry.report(now=99.0).frames_per_s == 60.0


def test_times_between_ticks_are_of_play_alone_and_not_across_a_pause() -> None:
    telemetry = make_telemetry(phase="barrier")
    telemetry.tick(now=0.0)
    telemetry.now = 0.5
    telemetry.phase(PLAY, 0)
    for now in (1.0, 1.25, 1.75):
        telemetry.tick(now=now)
    telemetry.now = 2.0
    telemetry.phase("resetting", 1)
    telemetry.tick(now=3.0)
    telemetry.tick(now=7.0)
    telemetry.now = 8.0
    telemetry.phase(PLAY, 1)
    telemetry.tick(now=9.0)
    summary = telemetry.report(now=10.0).tick_ms
    assert (summary.count, summary.least, summary.most) == (2, 250.0, 500.0)


def test_batches_of_play_are_timed_and_those_of_a_reset_are_not() -> None:
    telemetry = make_telemetry(phase="resetting")
    telemetry.batch_out([["reset", 1]])
    telemetry.batch_back(now=3.0, costs_us=[2_900_000])
    telemetry.now = 3.0
    telemetry.phase(PLAY, 0)
    telemetry.now = 4.0
    telemetry.batch_out([["step", 0]])
    telemetry.batch_back(now=4.004, costs_us=[2000, 1000])
    telemetry.now = 5.0
    telemetry.batch_out([["step", 1]])
    telemetry.batch_back(now=5.002)  # the host did not say what it took
    report = telemetry.report(now=6.0)
    assert (report.batch_ms.count, report.batch_ms.least, report.batch_ms.most) == (2, 2.0, 4.0)
    assert (report.host_ms.count, report.host_ms.most) == (1, 3.0)


def test_commands_of_play_are_timed_each_by_its_name() -> None:
    telemetry = make_telemetry(phase="resetting")
    telemetry.batch_out([["reset", 1], ["save", 0], ["render"]])
    telemetry.batch_back(now=1.0, costs_us=[900, 800, 700])
    telemetry.phase(PLAY, 0)
    for _ in range(1000):
        telemetry.batch_out([["load", 0], ["step", 0], ["save", 1], ["step", 1], ["render"]])
        telemetry.batch_back(now=2.0, costs_us=[3, 20, 5, 40, 6])
    found = telemetry.report(now=3.0).as_data()["command_us"]
    assert list(found) == ["load", "render", "save", "step"]
    assert {name: each["count"] for name, each in found.items()} == {
        "load": 1000,
        "render": 1000,
        "save": 1000,
        "step": 2000,
    }
    assert [found[name]["median"] for name in ("load", "render", "save")] == [3, 6, 5]
    assert (found["step"]["least"], found["step"]["mean"], found["step"]["p99"]) == (20, 30, 40)


def test_reply_that_nobody_waits_for_is_not_timed() -> None:
    telemetry = make_telemetry()
    telemetry.batch_back(now=1.0, costs_us=[5])
    assert telemetry.report(now=1.0).batch_ms == telemetry.report(now=1.0).host_ms == Summary(0)
    telemetry.now = 2.0
    telemetry.batch_out([["step", 0]])
    telemetry.batch_back(now=2.5)
    telemetry.batch_back(now=9.0)
    assert telemetry.report(now=9.0).batch_ms.most == 500.0
    assert telemetry.report(now=9.0).batch_ms.count == 1


def test_overruns_are_counted() -> None:
    telemetry = make_telemetry()
    for _ in range(3):
        telemetry.overrun()
    assert telemetry.counters.overruns == 3


def test_report_of_no_time_at_all_has_no_rates() -> None:
    report = MatchTelemetry({}, phase=PLAY, now=5.0).report(now=5.0)
    assert (report.frames_per_s, report.messages_per_s, report.stalls_per_minute) == (0.0, 0.0, 0.0)
    assert report.peers == {}


# -- peers ------------------------------------------------------------------------------------------------------


def converse(ours: Endpoint, theirs: Endpoint, telemetry: MatchTelemetry, *, frames: int, loss: float) -> None:
    """Two endpoints play; ours is watched. 40 ms one way, without a queue."""
    generator = random.Random(3)
    under_way: list[tuple[float, Endpoint, bytes]] = []
    for frame in range(frames):
        now = frame * FRAME
        for _, to, data in [each for each in under_way if each[0] <= now]:
            if to is ours:
                telemetry.received(1, "inputs", data, now=now)
            to.receive_datagram(data, now=now)
        under_way = [each for each in under_way if each[0] > now]
        for side, other in ((ours, theirs), (theirs, ours)):
            side.take_events()
            side.limit = frame + 256
            side.queue_input(frame, bytes([0, frame % 5]))
            side.lead = float(frame - side.newest_heard)
            for data in side.datagrams_to_send(now=now):
                if side is ours:
                    telemetry.sent(1, data)
                if generator.random() >= loss:
                    under_way.append((now + 0.04, other, data))
        play(telemetry, now=now, frame=frame + 1)


@pytest.mark.parametrize("tracing", [False, True])
def test_conversation_is_reported_as_the_endpoint_measured_it(tracing: bool) -> None:
    ours, theirs = make_endpoint(), make_endpoint()
    telemetry = MatchTelemetry({1: ours}, phase=PLAY, now=0.0)
    if tracing:
        telemetry.start_trace(1, now=0.0)
    ours.receive_datagram(b"noise", now=0.0)
    converse(ours, theirs, telemetry, frames=900, loss=0.2)
    report = telemetry.report(now=15.0)
    peer = report.peers["1"]
    assert peer.sent["inputs"].messages == telemetry.counters.datagrams_sent == 900
    assert peer.sent["inputs"].bytes == telemetry.counters.datagram_bytes_sent > 900 * 15
    assert (peer.sent["keep-alive"].messages, peer.sent["control"].messages) == (0, 0)
    assert peer.received["datagrams"].messages == ours.stats.datagrams_received
    assert 80 < peer.lost < 280
    assert peer.drops == dict(ours.drops)
    assert sum(peer.drops.values()) == 1
    assert peer.rtt_ms.median == pytest.approx(100, abs=2)  # 40 ms each way, each seen at the tick after
    assert 600 < peer.rtt_ms.count < 800  # a tick before which nothing arrived has no new time
    assert peer.loss.median == pytest.approx(0.2, abs=0.08)
    assert peer.loss.count == peer.jitter_ms.count == 900 // 16
    assert peer.lead.median == pytest.approx(3, abs=1)
    assert peer.ahead.median == pytest.approx(0, abs=0.75)
    assert report.messages_per_s == 60.0
    assert report.bytes_per_s == pytest.approx(peer.sent["inputs"].bytes / 15, abs=1e-3)


def test_control_messages_count_among_what_is_sent() -> None:
    telemetry = make_telemetry()
    telemetry.sent_control(1, b"x" * 50)
    telemetry.sent(1, b"y" * 20)
    telemetry.received(1, "control", b"z", now=0.0)
    report = telemetry.report(now=2.0)
    assert (report.counters["control_sent"], report.counters["control_bytes_sent"]) == (1, 50)
    assert (report.messages_per_s, report.bytes_per_s) == (1.0, 35.0)


def test_figures_that_are_not_known_are_not_sampled() -> None:
    endpoint = make_endpoint()
    peer = PeerCounters(endpoint)
    turns = [peer.sample() for _ in range(32)]
    assert [number for number, turn in enumerate(turns, 1) if turn] == [16, 32]
    assert [h.count for h in (peer.lead, peer.ahead, peer.rtt_ms, peer.jitter_ms)] == [0, 0, 0, 0]
    endpoint.lead = 2.0
    endpoint.stats.datagrams_received = 1  # something came, and told no time yet
    peer.sample()
    assert [h.count for h in (peer.lead, peer.ahead, peer.rtt_ms)] == [1, 0, 0]
    endpoint.peer_lead = 1.0
    peer.sample()
    assert (peer.ahead.count, peer.ahead.mean) == (1, 0.5)


def test_round_trips_of_all_peers_are_taken_together() -> None:
    endpoints = {1: make_endpoint(), 2: make_endpoint()}
    telemetry = MatchTelemetry(endpoints, phase=PLAY, now=0.0)
    for number, endpoint in endpoints.items():
        endpoint.stats.datagrams_received = 1
        endpoint.stats.take_rtt(number / 100)
    play(telemetry, now=0.0)
    assert telemetry.rtt_ms.count == 2
    assert (telemetry.rtt_ms.quantile(0.0), telemetry.rtt_ms.quantile(1.0)) == (10.0, 20.0)


def test_peers_may_come_later_and_get_lost() -> None:
    telemetry, late = make_telemetry(), make_endpoint()
    telemetry.peers[1].conversation.lead = late.lead = 2.0
    play(telemetry, now=0.0)
    telemetry.add_peer(2, late)
    play(telemetry, now=1.0)
    telemetry.lose_peer(1)
    telemetry.lose_peer(1)
    play(telemetry, now=2.0)
    peers = telemetry.report(now=3.0).peers
    assert {number: peer.lead.count for number, peer in peers.items()} == {"1": 2, "2": 2}


def test_silences_are_counted_and_being_heard_again_is_not() -> None:
    telemetry = make_telemetry()
    for level in ("notice", "lost", "heard", "notice", "heard"):
        telemetry.silence(1, level)
    assert telemetry.report(now=1.0).peers["1"].silences == {"lost": 1, "notice": 2}


# -- all of it --------------------------------------------------------------------------------------------------


def whole_match(*, tracing: bool, frames: int = 400) -> MatchTelemetry:
    telemetry = make_telemetry(phase="barrier")
    if tracing:
        telemetry.start_trace(1, now=0.0)
    generator = random.Random(1)
    telemetry.now = 0.0
    telemetry.phase(PLAY, 0)
    for frame in range(frames):
        now = frame * FRAME
        depth = generator.choice((0, 0, 0, 2, 5))
        decided = generator.choice((Decided(), Decided(depth=depth, resimulated=depth, cause=(1,)), STALLED))
        telemetry.received(1, "inputs", b"d" * 20, now=now)
        play(telemetry, decided, now=now, frame=frame)
        telemetry.batch_out([["load", 1], ["step", 1], ["step", 2]])
        telemetry.sent(1, b"d" * 22)
        telemetry.batch_back(now=now + 0.004, costs_us=[100, 900, 900])
        if frame % 100 == 0:
            telemetry.overrun()
            telemetry.silence(1, "notice")
            telemetry.mark("input-delay", {"seat": 0, "frames": 2})
    telemetry.now = frames * FRAME
    telemetry.phase("ended", 0)
    return telemetry


def test_tracing_changes_no_figure() -> None:
    plain, traced = (whole_match(tracing=tracing) for tracing in (False, True))
    assert plain.trace is None
    assert traced.trace is not None
    assert len(traced.trace.take_events()) > 1500
    assert plain.report(now=10.0) == traced.report(now=10.0)
    assert plain.counters.rollbacks > 50 < plain.counters.stalls


def test_report_is_plain_data_with_text_keys() -> None:
    data = whole_match(tracing=False).report(now=10.0).as_data()
    assert json.loads(json.dumps(data)) == data
    assert data["counters"] == whole_match(tracing=False).counters.as_data()
    assert data["counters"]["depths"].keys() == {"2", "5"}
    assert data["peers"]["1"]["sent"]["inputs"] == {"messages": 0, "bytes": 0}


def test_memory_does_not_grow_with_the_match() -> None:
    telemetry = whole_match(tracing=False, frames=2_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for frame in range(2_000, 20_000):
            now = frame * FRAME
            play(telemetry, now=now, frame=frame)
            telemetry.batch_out([["step", frame]])
            telemetry.batch_back(now=now + 0.004, costs_us=[100])
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert telemetry.lag.count == 20_000
    assert grown < 40_000
