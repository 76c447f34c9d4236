"""Traces: what is in them, and that the file is what trace viewers read."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from virtual import Link, VirtualMatch, finished, toy_env

from p2pclient.common.errors import ConfigurationError, RecordingError
from p2pclient.protocol.endpoint import Endpoint, EndpointConfig
from p2pclient.telemetry.chrome import chrome_trace, merge_traces
from p2pclient.telemetry.match import MatchTelemetry
from p2pclient.telemetry.trace import PLAY, TRACKS, MatchTrace, TraceEvent, Track


@dataclass(frozen=True)
class Decided:
    advanced: int = 1
    stalled: bool = False
    depth: int = 0
    resimulated: int = 0
    cause: tuple[int, ...] = ()


def read(file: bytes) -> list[dict[str, Any]]:
    """Return the events of a file after checking every rule of the format that viewers rely on."""
    whole = json.loads(file)
    assert whole["displayTimeUnit"] == "ms"
    events: list[dict[str, Any]] = whole["traceEvents"]
    slices: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    named = defaultdict(set)
    for event in events:
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert event["pid"] > 0
        if event["ph"] == "M":
            named[event["name"]].add((event["pid"], event.get("tid", 0)))
            continue
        assert isinstance(event["ts"], int)
        if event["ph"] == "X":
            assert event["dur"] >= 0
            slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] == "i":
            assert event["s"] == "t"
        else:
            assert event["ph"] == "C"
            assert all(isinstance(value, int | float) for value in event["args"].values())
            continue
        assert event["tid"] > 0
        assert (event["pid"], event["tid"]) in named["thread_name"]
        assert (event["pid"], 0) in named["process_name"]
    for spans in slices.values():
        spans.sort()
        assert all(first[1] <= second[0] for first, second in pairwise(spans))
    tids = [tid for _, tid in named["thread_name"]]
    assert len(set(tids)) == len(tids)  # viewers take thread ids for unique over processes
    return events


def of(events: list[dict[str, Any]], track: int) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] in "Xi" and event["tid"] % TRACKS == track]


def make_telemetry(own: int = 0, *, at: float = 0.0) -> MatchTelemetry:
    config = EndpointConfig(connection=7, local_width=2, remote_widths=(2,), is_valid=lambda seat, value: True)
    telemetry = MatchTelemetry({0 if own else 1: Endpoint(config, now=at)}, phase="barrier", now=at)
    telemetry.start_trace(own + 1, now=at)
    return telemetry


def short_match(own: int = 0, *, at: float = 0.0) -> list[TraceEvent]:
    """Six ticks: the third rolls back, the fourth and fifth stall, and one batch takes longer than a tick."""
    telemetry, other = make_telemetry(own, at=at), 0 if own else 1
    endpoint = telemetry.peers[other].conversation
    telemetry.now = at + 1
    telemetry.phase(PLAY, 0)
    decisions = [Decided(), Decided(), Decided(depth=2, resimulated=3, cause=(1, 3))]
    decisions += [Decided(advanced=0, stalled=True)] * 2 + [Decided()]
    frame = 0
    for tick, decided in enumerate(decisions):
        now = at + 1 + tick / 10
        telemetry.received(other, "inputs", b"d" * (20 + tick), now=now - 0.01)
        endpoint.lead = 2.0 + tick // 3
        telemetry.tick(now=now)
        frame += decided.advanced
        telemetry.played(decided, frame=frame, confirmed=frame - 2, window=8, delay=1)
        telemetry.batch_out([["load", 0], ["step", 0], ["save", 1], ["step", 1]])
        telemetry.sent(other, b"d" * 30)
        telemetry.batch_back(now=now + 0.03, costs_us=[5, 10, 5, 10])
    telemetry.tick(now=at + 1.6)
    telemetry.overrun()
    telemetry.mark("desync", {"peer": other, "first_frame": 4})
    telemetry.sent_control(other, b"c" * 40)
    telemetry.received(other, "control", b"c" * 41, now=at + 1.65)
    telemetry.phase("ended", 0)
    assert telemetry.trace is not None
    return telemetry.trace.finish(now=at + 2)


def test_trace_of_a_match_follows_the_format() -> None:
    events = read(chrome_trace(short_match(), {1: "player 1"}))
    assert {event["ph"] for event in events} == {"M", "X", "i", "C"}
    assert len(events) > 50


def test_rollback_says_which_seats_caused_it_where_it_began_and_how_deep_it_was() -> None:
    events = read(chrome_trace(short_match(), {}))
    (rollback,) = of(events, Track.ROLLBACKS)
    assert rollback["name"] == "rollback 2"
    assert rollback["args"] == {"seats": [1, 3], "first_frame": 0, "depth": 2, "resimulated": 3}
    batch = of(events, Track.BATCHES)[2]
    assert (rollback["ts"], rollback["dur"]) == (batch["ts"], batch["dur"])


def test_ticks_last_until_the_next_and_name_their_frame() -> None:
    ticks = [event for event in of(read(chrome_trace(short_match(), {})), Track.TICKS) if event["ph"] == "X"]
    assert [tick["args"].get("frame") for tick in ticks] == [0, 1, 2, 3, 3, 3, None]
    assert ticks[0]["args"] == {"owed": 1, "frame": 0, "advanced": 1}
    assert [tick["ts"] for tick in ticks] == [1_000_000 + n * 100_000 for n in range(7)]
    assert all(tick["dur"] == 100_000 for tick in ticks[:-1])


def test_batches_show_their_commands_and_what_the_host_took() -> None:
    batches = of(read(chrome_trace(short_match(), {})), Track.BATCHES)
    assert len(batches) == 6
    assert batches[0]["dur"] == 30_000
    assert batches[0]["args"] == {"commands": {"load": 1, "step": 2, "save": 1}, "host_us": 30}


def test_stall_is_one_slice_from_its_first_tick_to_the_next_frame() -> None:
    (stall,) = of(read(chrome_trace(short_match(), {})), Track.STALLS)
    assert (stall["ts"], stall["dur"]) == (1_300_000, 200_000)


def test_phases_are_slices_and_what_happened_between_are_marks_on_them() -> None:
    shown = of(read(chrome_trace(short_match(), {})), Track.PHASES)
    assert [event["name"] for event in shown] == ["barrier", PLAY, "desync", "ended"]
    assert shown[2]["args"] == {"peer": 1, "first_frame": 4}
    assert shown[3]["dur"] == 350_000  # finish() ends what is open


def test_datagrams_are_marks_with_sizes_on_a_track_for_each_peer_and_direction() -> None:
    events = read(chrome_trace(short_match(own=1), {}))
    sent, received = of(events, Track.SENT + 0), of(events, Track.RECEIVED + 0)
    assert [event["args"]["bytes"] for event in sent] == [30] * 6 + [40]
    assert [event["args"]["bytes"] for event in received] == [20, 21, 22, 23, 24, 25, 41]
    assert (sent[-1]["name"], received[-1]["name"]) == ("control", "control")
    tracks = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert tracks == ["phases", "ticks", "stalls", "batches", "rollbacks", "sent to 0", "received from 0"]
    assert [event["ph"] for event in of(events, Track.TICKS) if event["name"] == "overrun"] == ["i"]


def test_figures_are_shown_where_they_change() -> None:
    events = read(chrome_trace(short_match(), {}))
    shown = defaultdict(list)
    for event in events:
        if event["ph"] == "C":
            shown[event["name"]].append(event["args"]["value"])
    assert shown == {"lead over 1": [2.0, 3.0], "confirmation lag": [1], "window": [8], "input delay": [1]}


def test_round_trip_is_shown_now_and_then() -> None:
    telemetry = make_telemetry()
    stats = telemetry.peers[1].conversation.stats
    for frame in range(40):
        stats.rtt = 0.08 + frame / 1000
        telemetry.played(Decided(), frame=frame, confirmed=frame, window=8, delay=0)
    assert telemetry.trace is not None
    shown = [e.args["value"] for e in telemetry.trace.take_events() if e.name.startswith("round trip")]
    assert shown == [95.0, 111.0]


def test_trace_that_starts_late_begins_with_the_phase_at_hand_and_ends_when_it_is_taken_away() -> None:
    telemetry = make_telemetry()
    telemetry.trace = None
    telemetry.tick(now=1.0)
    telemetry.now = 2.0
    telemetry.phase(PLAY, 3)
    trace = telemetry.start_trace(1, now=5.0)
    telemetry.batch_back(now=5.5)  # of a batch that left before the trace began
    telemetry.trace = None
    telemetry.tick(now=6.0)
    (event,) = trace.finish(now=7.0)
    assert (event.name, event.ts, event.dur, event.args) == (PLAY, 5_000_000, 2_000_000, {"episode": 3})


def test_only_the_newest_events_are_kept() -> None:
    trace = MatchTrace(1, limit=100)
    for number in range(350):
        trace.mark(Track.PHASES, str(number), {}, now=float(number))
    assert trace.forgotten == 250
    assert [event.name for event in trace.take_events()] == [str(number) for number in range(250, 350)]
    assert trace.take_events() == []


def test_details_of_no_open_slice_are_not_kept() -> None:
    trace = MatchTrace(1)
    trace.add_details(Track.TICKS, frame=1)
    trace.begin(Track.TICKS, "tick", now=1.0)
    assert trace.take_events() == []
    assert [event.args for event in trace.finish(now=2.0)] == [{}]


def test_slice_never_ends_before_it_began() -> None:
    trace = MatchTrace(1)
    trace.begin(Track.TICKS, "tick", now=2.0)
    trace.end(Track.TICKS, now=1.0)
    assert [event.dur for event in trace.take_events()] == [0]


@pytest.mark.parametrize(("process", "limit"), [(0, 10), (1, 0)])
def test_numbers_that_viewers_or_nobody_could_use_are_refused(process: int, limit: int) -> None:
    with pytest.raises(ConfigurationError, match="1 or more"):
        MatchTrace(process, limit=limit)


def test_file_of_two_events_byte_by_byte() -> None:
    trace = MatchTrace(2)
    trace.begin(Track.BATCHES, "batch", now=0.5, commands={"step": 1})
    trace.mark(Track.SENT + 3, "datagram", {"bytes": 31}, now=0.25)
    assert chrome_trace(trace.finish(now=0.5005), {2: "player 2"}) == (
        b'{"traceEvents":['
        b'{"name":"process_name","ph":"M","pid":2,"ts":0,"args":{"name":"player 2"}},'
        b'{"name":"process_sort_index","ph":"M","pid":2,"ts":0,"args":{"sort_index":2}},'
        b'{"name":"thread_name","ph":"M","pid":2,"ts":0,"tid":20004,"args":{"name":"batches"}},'
        b'{"name":"thread_sort_index","ph":"M","pid":2,"ts":0,"tid":20004,"args":{"sort_index":4}},'
        b'{"name":"thread_name","ph":"M","pid":2,"ts":0,"tid":21003,"args":{"name":"sent to 3"}},'
        b'{"name":"thread_sort_index","ph":"M","pid":2,"ts":0,"tid":21003,"args":{"sort_index":1003}},'
        b'{"name":"datagram","ph":"i","pid":2,"ts":250000,"tid":21003,"cat":"datagrams","s":"t","args":{"bytes":31}},'
        b'{"name":"batch","ph":"X","pid":2,"ts":500000,"tid":20004,"dur":500,"cat":"batches",'
        b'"args":{"commands":{"step":1}}}'
        b'],"displayTimeUnit":"ms"}'
    )


def test_whole_match_is_traced_as_it_was_counted() -> None:
    link = Link(delay=0.05, jitter=0.02, loss=0.02, outages=((4.0, 4.6),))
    match = VirtualMatch(seed=3, link=link, rate_hz=60, env=toy_env(max_steps=250), episodes=2)
    watched = [side.match.telemetry for side in match.sides]
    traces = [telemetry.start_trace(number, now=0.0) for number, telemetry in enumerate(watched, 1)]
    match.run(30)
    assert finished(match)
    kept = [event for trace in traces for event in trace.finish(now=match.now)]
    events = read(chrome_trace(kept, {1: "left", 2: "right"}))
    for number, telemetry in enumerate(watched, 1):
        counters, report = telemetry.counters, telemetry.report(now=match.now)
        own = [event for event in events if event["pid"] == number]
        rollbacks, sent = of(own, Track.ROLLBACKS), of(own, Track.SENT + 2 - number)
        assert counters.rollbacks > 50
        assert [event["args"]["depth"] for event in rollbacks].count(5) == counters.depths[5]
        assert len(rollbacks) == counters.rollbacks
        assert sum(event["args"]["resimulated"] for event in rollbacks) == counters.resimulated
        assert all(event["args"]["seats"] == [2 - number] for event in rollbacks)
        assert all(event["args"]["first_frame"] >= 0 for event in rollbacks)
        datagrams = [event["args"]["bytes"] for event in sent if event["name"] == "datagram"]
        assert (len(datagrams), sum(datagrams)) == (counters.datagrams_sent, counters.datagram_bytes_sent)
        assert len(sent) - len(datagrams) == counters.control_sent
        received = of(own, Track.RECEIVED + 2 - number)
        peer = report.peers[str(2 - number)]
        assert len(received) == sum(kind.messages for kind in peer.received.values())
        assert len(of(own, Track.STALLS)) == counters.stall_spells > 0
        assert len(of(own, Track.BATCHES)) == report.batch_ms.count + 2  # two resets
        assert [event["name"] for event in of(own, Track.PHASES)].count(PLAY) == 2


# -- several sides ----------------------------------------------------------------------------------------------


def plays(events: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(event["pid"], event["ts"]) for event in of(events, Track.PHASES) if event["name"] == PLAY]


def names(events: list[dict[str, Any]]) -> dict[int, str]:
    return {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}


def test_sides_of_one_clock_go_into_one_file_as_a_process_each() -> None:
    events = read(chrome_trace(short_match(0) + short_match(1, at=0.5), {1: "left", 2: "right"}))
    assert names(events) == {1: "left", 2: "right"}
    assert plays(events) == [(1, 1_000_000), (2, 1_500_000)]


def test_side_without_a_name_gets_its_number() -> None:
    assert names(read(chrome_trace(short_match(1), {}))) == {2: "process 2"}


def test_files_of_one_machine_are_merged_as_they_are() -> None:
    files = [chrome_trace(short_match(0, at=at), {1: name}) for at, name in ((0.0, "left"), (0.5, "right"))]
    events = read(merge_traces(files, one_clock=True))
    assert names(events) == {1: "left", 2: "right"}  # both called themselves 1
    assert plays(events) == [(1, 1_000_000), (2, 1_500_000)]
    alone = [event for event in read(files[0]) if event["ph"] != "M"]
    assert [event for event in events if event["ph"] != "M" and event["pid"] == 1] == alone


def test_files_of_several_machines_are_laid_over_each_other_where_play_begins() -> None:
    both = chrome_trace(short_match(0) + short_match(1), {1: "left", 2: "right"})
    third = chrome_trace(short_match(2, at=900.0), {3: "far"})
    events = read(merge_traces([both, third], one_clock=False))
    assert names(events) == {1: "left", 2: "right", 3: "far"}
    assert plays(events) == [(1, 901_000_000), (2, 901_000_000), (3, 901_000_000)]


def test_file_in_which_nothing_was_played_stays_where_it_is() -> None:
    trace = MatchTrace(1)
    trace.mark(Track.TICKS, PLAY, {}, now=3.0)  # a name alone is no phase
    files = [chrome_trace(trace.take_events(), {1: "idle"}), chrome_trace(short_match(0, at=50.0), {1: "player"})]
    events = read(merge_traces(files, one_clock=False))
    assert [event["ts"] for event in of(events, Track.TICKS) if event["pid"] == 1] == [3_000_000]
    assert plays(events) == [(2, 51_000_000)]
    assert names(read(merge_traces(files[:1], one_clock=False))) == {1: "idle"}


@pytest.mark.parametrize("wrong", [b"", b"{}", b"[1]", b'{"traceEvents":[{"ph":"X"}]}', b"\xff\xfe"])
def test_what_is_no_trace_is_refused_by_its_place(wrong: bytes) -> None:
    good = chrome_trace(short_match(), {})
    with pytest.raises(RecordingError, match="File 2 is no trace"):
        merge_traces([good, wrong], one_clock=True)
