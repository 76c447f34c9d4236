"""The latencies that two recordings tell together, against what an onlooker with one clock saw."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_runs import make_timing, write_run
from virtual import Link, VirtualMatch, finished, toy_env

from p2pclient.cli.main import main
from p2pclient.common.errors import RecordingError
from p2pclient.match.match import Match
from p2pclient.match.plan import Outbox, ViewReady
from p2pclient.match.sources import Sample
from p2pclient.protocol.clock import CLOCK_RANGE, DRIFT
from p2pclient.protocol.datagram import decode_datagram
from p2pclient.recorder.clocks import ClockSample, ClockTrack, compare_clocks
from p2pclient.recorder.latency import STAGES, Side, follow, measure, read_side
from p2pclient.recorder.latency_report import describe, draw
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import FrameTimed, Record

FLIP = 0.007
"""Seconds from a view to the end of its display."""
FRAMES = 360
WIDTH = 2
"""Bytes of an input of the toy: the flags, and the key."""


@dataclass
class OwnClock:
    """A match on the clock of its machine; all else is the match's own."""

    match: Match
    offset: float
    rate: float

    def local(self, now: float) -> float:
        return self.offset + now * self.rate

    def tick(self, *, now: float, owed: int = 1) -> Outbox:
        return self.match.tick(now=self.local(now), owed=owed)

    def receive(self, peer: int, channel: str, data: bytes, *, now: float) -> None:
        self.match.receive(peer, channel, data, now=self.local(now))

    def batch_done(self, results: Any, *, now: float) -> Outbox:
        return self.match.batch_done(results, now=self.local(now))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.match, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "tracing":
            self.match.tracing = value
        else:
            object.__setattr__(self, name, value)


class Presses:
    """A person who holds one key after the other; pressed at any moment, read by the next frame."""

    def __init__(self, seed: int, clock: Callable[[float], float], now: Callable[[], float]) -> None:
        self._random, self._clock, self._now = random.Random(seed), clock, now
        self._key, self._due, self._frame = 1, 1.5, 0
        self.pressed: dict[int, float] = {}
        """When, in the world's time, by the number of the sample that told it first."""

    def sample(self) -> Sample:
        at, now = None, self._now()
        if now >= self._due:
            self._key = self._key % 4 + 1
            self.pressed[self._frame] = self._due
            at = self._clock(self._due)
            self._due = now + self._random.uniform(0.02, 0.4)
        self._frame += 1
        return Sample(bytes([self._key]), True, at)


@dataclass
class Seen:
    """What an onlooker saw of one side, in the world's time."""

    sent: dict[int, float] = field(default_factory=dict)
    """By frame of the input of this side."""
    received: dict[int, float] = field(default_factory=dict)
    """By frame of the other's input."""
    batches: list[tuple[float, dict[int, list[bytes]]]] = field(default_factory=list)
    """When each left, and the inputs by frame that it simulated."""
    replies: dict[int, float] = field(default_factory=dict)
    shown: list[tuple[int, float]] = field(default_factory=list)
    """``(number of the batch, when)`` of each picture."""


class Watched(VirtualMatch):
    """Two clients with clocks of their own, keys and a display, and an onlooker."""

    def __init__(self, *, offsets: tuple[float, float], rates: tuple[float, float] = (1.0, 1.0), **more: Any) -> None:
        plan = {"rate_hz": 60.0, "render": True, **more}
        super().__init__(clock_rates=rates, env=toy_env(2, max_steps=FRAMES), **plan)
        self.seen = [Seen(), Seen()]
        self._skips = random.Random(5)
        self.sources = []
        for own, side in enumerate(self.sides):
            clock = OwnClock(None, offsets[own], rates[own])  # type: ignore[arg-type]
            source = Presses(own, clock.local, lambda: self.now)
            clock.match = Match(side.match.plan, {own: source}, now=clock.local(0.0))
            self.sources.append(source)
            side.match = clock  # type: ignore[assignment]

    def _carry_out(self, own: int, out: Outbox) -> None:
        seen, side = self.seen[own], self.sides[own]
        for _, data in out.datagrams:
            message = decode_datagram(data, width=WIDTH)
            for frame in range(message.first_frame, message.first_frame + len(message.inputs)):
                seen.sent.setdefault(frame, self.now)
        for event in out.events:
            if isinstance(event, ViewReady) and self._skips.random() < 0.9:  # the display is busy now and then
                number = len(seen.batches) - 1
                seen.shown.append((number, self.now + FLIP))
                clock = side.match.local(self.now + FLIP)  # type: ignore[attr-defined]
                side.match.shown(event.episode, event.view["frame"], clock)
        if out.batch is not None:
            steps = {command[1]: list(command[2]) for command in out.batch if command[0] == "step"}
            seen.batches.append((self.now, steps))
            seen.replies[len(seen.batches) - 1] = self.now + self.host_cost
        super()._carry_out(own, out)

    def _send(self, own: int, peer: int, channel: str, data: bytes) -> None:
        before = len(self._heap)
        super()._send(own, peer, channel, data)
        if channel == "inputs" and len(self._heap) > before:
            when = min(at for at, _, what in self._heap if what[0] == "receive" and what[4] is data)
            message = decode_datagram(data, width=WIDTH)
            for frame in range(message.first_frame, message.first_frame + len(message.inputs)):
                known = self.seen[peer].received.get(frame, when)
                self.seen[peer].received[frame] = min(known, when)

    def truth(self, own: int) -> dict[int, dict[str, float]]:
        """By the frame in which it acts: what happened to each press of one side, in the world's time."""
        here, there = self.seen[own], self.seen[1 - own]
        delay = self.sides[own].match.plan.input_delay
        found = {}
        for sample, pressed in self.sources[own].pressed.items():
            frame = sample + delay
            if frame >= FRAMES:
                continue
            key = next(steps[frame] for _, steps in here.batches if frame in steps)[own]
            times = {"pressed": pressed, "sent": here.sent[frame], "received": there.received[frame]}
            for seen, since, suffix in ((here, 0.0, ""), (there, there.received[frame], "_there")):
                used = next(
                    number
                    for number, (at, steps) in enumerate(seen.batches)
                    if at >= since and frame in steps and steps[frame][own] == key
                )
                times["applied" + suffix] = seen.batches[used][0]
                times["simulated" + suffix] = seen.replies[used]
                times["shown" + suffix] = min(at for number, at in seen.shown if number >= used)
            found[frame] = times
        return found

    def folders(self, base: Path) -> list[Path]:
        """Write both recordings, as clients do."""
        env = {"env": "toy", "args": {}, "agents": [0, 1]}
        return [
            write_run(base / f"run{own}", iter(side.records), seat=own, env=env) for own, side in enumerate(self.sides)
        ]


NETWORKS: dict[str, dict[str, Any]] = {
    "lan": {"link": Link(0.0004, 0.0003), "offsets": (100.0, 98765.4321)},
    "unequal ways": {"link": Link(0.010), "back": Link(0.060), "offsets": (5e5, 17.0)},
    "wifi, clocks drift": {
        "link": Link(0.020, 0.030, loss=0.05, duplicate=0.02),
        "offsets": (3.0, 200_000.0),
        "rates": (1.0004, 0.9995),
    },
    "input delay": {"link": Link(0.030), "offsets": (80.0, 81.0), "input_delay": 3},
    "an outage": {
        "link": Link(0.020, outages=((2.0, 2.6), (4.0, 4.3))),
        "offsets": (9.9, CLOCK_RANGE * 3 + 9.9),
    },
}


@pytest.fixture(params=NETWORKS)
def watched(request: pytest.FixtureRequest) -> Watched:
    match = Watched(**NETWORKS[request.param])
    match.run()
    assert finished(match)
    return match


HERE = ("pressed", "sent", "applied", "simulated", "shown")
THERE = ("received", "applied_there", "simulated_there", "shown_there")


def test_two_recordings_tell_what_an_onlooker_saw(watched: Watched, tmp_path: Path) -> None:
    sides = [read_side(RunReader(folder)) for folder in watched.folders(tmp_path)]
    for own in (0, 1):
        clock = watched.sides[own].match.local  # type: ignore[attr-defined]
        told = {each.frame: each for each in follow(sides[own], sides[1 - own]) if each.pressed is not None}
        truth = watched.truth(own)
        assert len(truth) > 10
        last = min(at for at, steps in watched.seen[1 - own].batches if FRAMES - 1 in steps)
        assert set(told) == set(truth)
        for frame, times in truth.items():
            for name in HERE:
                assert getattr(told[frame], name) == pytest.approx(clock(times[name]), abs=1e-6), (frame, name)
            for name in THERE:
                if times["applied_there"] > last and getattr(told[frame], name) is None:
                    continue  # corrected behind the episode's last frame, where no frame begins any more
                wrong = abs(getattr(told[frame], name) - clock(times[name]))
                assert wrong <= told[frame].bound + 2e-3 * DRIFT + 1e-4, (frame, name)


def test_late_inputs_are_among_them_and_used_by_a_rollback() -> None:
    match = Watched(**NETWORKS["unequal ways"])
    match.run()
    late = [f for f, times in match.truth(1).items() if times["applied_there"] > times["applied"] + 0.05]
    assert len(late) > 5
    assert match.sides[0].match.counters.rollbacks > 5


def test_on_a_lan_the_clocks_are_compared_to_within_a_millisecond(tmp_path: Path) -> None:
    match = Watched(**NETWORKS["lan"])
    match.run()
    ways = measure([read_side(RunReader(folder)) for folder in match.folders(tmp_path)])
    assert [(way.sender, way.receiver) for way in ways] == [("seat 0", "seat 1"), ("seat 1", "seat 0")]
    for own, way in enumerate(ways):
        assert 0 < way.bounds[0] <= way.bounds[1] < 0.001
        assert way.of_presses
        assert way.inputs == len(match.sources[own].pressed)
        total = next(f for f in way.totals if f.stage.ends == "shown_there")
        times = sorted(t["shown_there"] - t["pressed"] for t in match.truth(own).values())
        assert total.count == len(times)
        assert abs(total.median - times[(len(times) - 1) // 2]) <= total.bound + 1e-6
        assert 0 < total.bound < 0.001


def test_a_clock_that_jumps_in_mid_match_is_followed(tmp_path: Path) -> None:
    match = Watched(link=Link(0.010), offsets=(50.0, 70.0))
    clock = match.sides[1].match
    tick = match._tick

    def jumping(own: int, side: Any) -> None:
        if match.now >= 3.0 and clock.offset == 70.0:  # type: ignore[attr-defined]
            clock.offset = 75.0  # type: ignore[attr-defined]
        tick(own, side)

    match._tick = jumping  # type: ignore[method-assign]
    match.run()
    assert finished(match)
    sides = [read_side(RunReader(folder)) for folder in match.folders(tmp_path)]
    told = [each for each in follow(*sides) if each.received is not None and each.sent is not None]
    network = next(stage for stage in STAGES if stage.ends == "received")
    took = [each.lasted(network) for each in told]
    right = [abs(seconds - 0.010) <= each.bound + 1e-6 for each, seconds in zip(told, took, strict=True) if seconds]
    assert len(right) > 300
    assert sum(right) >= len(right) - 6  # those under way when it jumped


def test_one_recording_tells_what_its_side_knows(tmp_path: Path) -> None:
    match = Watched(**NETWORKS["unequal ways"])
    match.run()
    side = read_side(RunReader(match.folders(tmp_path)[0]))
    own, theirs = measure([side])
    assert {(f.stage.begins, f.stage.ends) for f in (*own.stages, *own.totals)} == {
        ("pressed", "sent"), ("sent", "applied"), ("applied", "simulated"), ("simulated", "shown"),
        ("pressed", "shown"),
    }  # fmt: skip
    assert (theirs.sender, theirs.receiver, theirs.of_presses) == ("seat 1", "seat 0", False)
    assert [f.stage.begins for f in theirs.stages] == ["received", "applied_there", "simulated_there"]
    assert theirs.bounds == (0.0, 0.0)
    assert "clocks" not in describe(theirs)


def test_the_command_prints_a_table_and_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    match = Watched(**NETWORKS["input delay"])
    match.run()
    folders = [str(folder) for folder in match.folders(tmp_path)]
    picture = tmp_path / "latency.svg"
    assert main(["latency", *folders, "--out", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "From seat 0 to seat 1" in said
    assert "press to shown there" in said
    root = ElementTree.fromstring(picture.read_text())
    titles = [element.text or "" for element in root.iter() if element.tag.endswith("title")]
    ways = [float(text.split()[4]) for text in titles if text.startswith("sent -> received there: ")]
    assert ways == [pytest.approx(30, abs=1)] * 2
    assert main(["latency", *folders, "--json", "--all"]) == 0
    told = json.loads(capsys.readouterr().out)["ways"]
    assert [way["inputs"] for way in told] == [FRAMES, FRAMES]
    stages = {stage["from"] + " " + stage["to"]: stage for stage in told[0]["stages"]}
    assert stages["sent applied"]["median_ms"] == pytest.approx(50, abs=1)
    assert stages["sent received"]["bound_ms"] > 0
    assert stages["applied simulated"]["bound_ms"] == 0
    assert main(["latency", folders[0], "--out", str(tmp_path / "no" / "such.svg")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_recordings_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    match = Watched(**NETWORKS["lan"])
    match.run()
    a, _ = match.folders(tmp_path)
    side = read_side(RunReader(a))
    with pytest.raises(RecordingError, match="same seat"):
        measure([side, side])
    other = write_run(tmp_path / "other", iter(match.sides[1].records), seat=1, match_id="m2", env=_TOY)
    with pytest.raises(RecordingError, match="different matches"):
        measure([side, read_side(RunReader(other))])
    onlooker = write_run(tmp_path / "onlooker", iter(()), own_seats=(), env=_TOY)
    with pytest.raises(RecordingError, match="no seat"):
        read_side(RunReader(onlooker))


_TOY = {"env": "toy", "args": {}, "agents": [0, 1]}


@pytest.mark.parametrize("own_seats", [None, "0", [0.0], [-1], [True], [1 << 40]])
def test_a_manifest_with_impossible_seats_is_refused(tmp_path: Path, own_seats: Any) -> None:
    folder = write_run(tmp_path / "run", iter(()), env=_TOY)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "own_seats": own_seats}))
    with pytest.raises(RecordingError, match="seats"):
        read_side(RunReader(folder))


def test_what_was_recorded_before_inputs_were_timed_tells_of_this_side_only(tmp_path: Path) -> None:
    match = Watched(**NETWORKS["lan"])
    match.run()
    folders = []
    for own, side in enumerate(match.sides):
        records: list[Record] = [_without_travel(record) for record in side.records]
        folders.append(write_run(tmp_path / f"old{own}", iter(records), seat=own, env=_TOY))
    ways = measure([read_side(RunReader(folder)) for folder in folders])
    assert all({f.stage.ends for f in way.totals} == {"shown"} for way in ways)
    assert "older recording" in describe(ways[0])
    assert draw(ways).startswith("<svg")


def _without_travel(record: Record) -> Record:
    if not isinstance(record, FrameTimed):
        return record
    return msgspec.structs.replace(record, sent_at=None, received_at=(), clock_offset=(), clock_bound=())


moments = st.one_of(st.floats(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(0, 1))
times = st.none() | moments
by_seat = st.lists(times, max_size=3).map(tuple)
indexes = st.integers(0, (1 << 32) - 1) | st.integers(0, 3)
hostile = st.builds(
    FrameTimed,
    episode=st.integers(0, 1),
    frame=indexes,
    pressed_at=times,
    applied_at=moments,
    simulated_at=moments,
    shown_at=times,
    recorded_at=moments,
    rtt_ms=times,
    input_delay=indexes,
    window=indexes,
    predicted=st.just((False, True)),
    resimulated=indexes,
    sent_at=times,
    received_at=by_seat,
    clock_offset=by_seat,
    clock_bound=by_seat,
)


@settings(max_examples=30)
@given(st.lists(hostile, max_size=12), st.lists(hostile, max_size=12))
def test_whatever_a_log_claims_there_is_a_table_and_a_picture(
    tmp_path_factory: pytest.TempPathFactory, ours: list[FrameTimed], theirs: list[FrameTimed]
) -> None:
    base = tmp_path_factory.mktemp("hostile")
    sides: list[Side] = []
    for own, rows in enumerate((ours, theirs)):
        sides.append(read_side(RunReader(write_run(base / str(own), iter(rows), seat=own, env=_TOY))))
        kept = sum(len(episode.rows) for episode in sides[-1].episodes.values())
        assert kept + sides[-1].left_out <= len(rows)
    for given_sides in (sides, sides[:1]):
        ways = measure(given_sides)
        assert all(describe(way) for way in ways)
        ElementTree.fromstring(draw(ways))


def test_later_samples_mend_earlier_ones_but_not_over_a_jump() -> None:
    track = ClockTrack([ClockSample(0.0, 5.0, 0.4), ClockSample(10.0, 5.1, 0.05), ClockSample(20.0, 9.0, 0.001)])
    assert track.to_ours(0.0) == (pytest.approx(-5.1), pytest.approx(0.06))
    assert track.to_ours(10.0) == (pytest.approx(4.9), pytest.approx(0.05))
    assert track.to_ours(25.0) == (pytest.approx(16.0), pytest.approx(0.006))
    with pytest.raises(ValueError, match="other clock"):
        ClockTrack([]).to_ours(1.0)


@pytest.mark.parametrize(("way", "known"), [(0.5, 1), (8.5, 0)])
def test_a_frame_whose_inputs_were_held_up_tells_nothing_of_the_clocks(way: float, known: int) -> None:
    # Their clock is 100 s ahead; what is told is that modulo the range.
    told = 100.0 - CLOCK_RANGE * round(100.0 / CLOCK_RANGE)
    row = make_timing(0, 3)
    ours = msgspec.structs.replace(
        row, sent_at=1.0, received_at=(None, 1.0 + way), clock_offset=(None, told), clock_bound=(None, way)
    )
    theirs = msgspec.structs.replace(row, sent_at=101.0, received_at=(101.0 + way, None))
    track = compare_clocks([(ours, theirs)], ours=0, theirs=1)
    assert len(track) == known
    if known:
        assert track.to_ours(row.recorded_at + 100.0) == (pytest.approx(row.recorded_at), pytest.approx(way))
