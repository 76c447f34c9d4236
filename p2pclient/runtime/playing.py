"""One match from the first tick to the finished run folder, whoever the players are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from p2pclient.common.errors import EnvHostError, RecordingError, TandemError
from p2pclient.envhost.client import EnvHost
from p2pclient.match.match import Match
from p2pclient.match.past import Past
from p2pclient.match.plan import Ended, MatchEvent, MatchPlan
from p2pclient.match.sources import BotSource, IdleSource, InputSource, KeyboardSource
from p2pclient.recorder.crash import write_crash_report
from p2pclient.recorder.manifest import RunHeader, collect_versions
from p2pclient.recorder.resuming import find_run
from p2pclient.recorder.run import RunWriter, create_run_folder
from p2pclient.runtime.logs import log_tail, log_to_folder
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.person import Person
from p2pclient.runtime.presenter import MatchPresenter, WindowLink
from p2pclient.telemetry.chrome import chrome_trace
from p2pclient.transport.base import PeerTransport

TRACE_NAME = "trace.json"
"""In the run folder, if a trace was asked for."""

log = logging.getLogger("tandem.client")


class ClientCrash(TandemError):
    """Something that must not happen happened in a match; the message says where the report is."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a match."""

    ended: Ended
    folder: Path
    totals: tuple[tuple[float, ...], ...]
    """Total rewards by seat of each finished episode."""
    outcome: dict[str, Any] = field(default_factory=dict)

    def without_outcome(self) -> Played:
        """The same without what the manifest holds: a client that plays for hours keeps one of these per match."""
        return replace(self, outcome={})


@dataclass(slots=True)
class Table:
    """What a match is played with, set up by the caller."""

    plan: MatchPlan
    host: EnvHost
    renew: Callable[[], Awaitable[tuple[EnvHost, Mapping[str, Any]]]]
    """Gives another host in place of a lost one."""
    person: Person
    window: WindowLink
    out: Path
    """Folder in which the run's folder is made."""
    title: str
    transports: Mapping[int, PeerTransport] = field(default_factory=dict)
    players: Sequence[Mapping[str, Any]] = ()
    """By seat: who sits there, for the manifest."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """For the manifest and the crash report."""
    human_seats: tuple[int, ...] = ()
    """Local seats played with the keyboard; local seats that are neither theirs nor a bot's stay idle."""
    keys: str = "all"
    """Which keys of each binding the person uses, see ``KeyboardSource``."""
    trace: bool = False
    """Write a trace of the match into the run folder."""
    fault: Mapping[str, Any] | None = None
    """For tests: makes this side's environment wrong, see ``envhost``."""
    returns: bool = False
    """The match goes on, and this program was started again to come back to it."""
    on_runner: Callable[[MatchRunner], None] = lambda runner: None
    """Called with the runner before the first tick."""
    explain: Callable[[Ended], Ended] = lambda ended: ended
    """Says more of how the match ended, where more is known than the players told each other."""
    on_event: Callable[[MatchEvent], None] = lambda event: None
    """Told of every event of the match, after the window."""


def make_sources(table: Table) -> dict[int, InputSource]:
    """Return who decides the inputs of each local seat."""
    plan = table.plan
    sources: dict[int, InputSource] = {}
    for seat in plan.local_seats:
        neutral = plan.neutral_payload(seat)
        if seat in plan.bots:
            sources[seat] = BotSource(neutral)
        elif seat in table.human_seats:
            keyboard = KeyboardSource(plan.env["controls"], seat, keys=table.keys)
            table.person.sit_down(keyboard)
            sources[seat] = keyboard
        else:
            sources[seat] = IdleSource(neutral)
    return sources


async def play(table: Table) -> Played:
    """Play one match and record it.

    Raises:
        RecordingError: the run cannot be written; what was recorded so far is whole.
        ClientCrash: a bug; the report is in the run folder.
    """
    loop = asyncio.get_running_loop()
    plan = table.plan
    resumed = await asyncio.to_thread(find_run, table.out, plan.match_id, plan.local_seats) if table.returns else None
    if resumed is None:
        folder = create_run_folder(table.out, plan.match_id, plan.local_seats[0])
        past = Past() if table.returns else None
    else:
        folder = resumed.folder
        past = await asyncio.to_thread(Past.of, resumed.records)
    header = RunHeader(
        match_id=plan.match_id,
        seed=plan.seed,
        env=dict(plan.env),
        seats=tuple(dict(p) for p in table.players),
        own_seats=plan.local_seats,
        settings=dict(table.settings),
    )
    with log_to_folder(folder):
        writer = RunWriter(folder, header, resumed=resumed, on_problem=lambda text: log.warning("recording: %s", text))
        try:
            match = Match(plan, make_sources(table), now=loop.time(), past=past)
            if table.fault is not None:
                match.reset_commands.append(["fault", dict(table.fault)])
            if table.trace:
                match.telemetry.start_trace(plan.own_id + 1, now=loop.time())
            runner = _make_runner(table, match, writer)
            ended = table.explain(await runner.run())
            outcome = await _finish(table, runner, writer, ended)
            return Played(ended, folder, tuple(match.totals), outcome)
        except (RecordingError, asyncio.CancelledError):
            writer.close()
            raise
        except Exception as error:
            writer.close()
            log.exception("the match stopped because of a bug")
            report = write_crash_report(folder, error, log_tail(), collect_versions(), dict(table.settings))
            raise ClientCrash(f"Something went wrong in the program. A report is in {report}.") from error
        finally:
            table.person.keyboard = None
            table.person.on_shown = None


def _make_runner(table: Table, match: Match, writer: RunWriter) -> MatchRunner:
    kinds = {peer: transport.stats().connection for peer, transport in table.transports.items()}
    keys = table.keys if table.human_seats else None
    loop = asyncio.get_running_loop()
    presenter = MatchPresenter(table.window, match, title=table.title, connections=kinds, keys=keys)
    table.person.on_shown = match.shown

    def before_tick() -> None:
        table.person.take()
        keyboard = table.person.keyboard
        if keyboard is not None:
            match.absences.note_person(keyboard.away, loop.time())
            if match.changes.is_paused:
                keyboard.rest()

    def on_event(event: MatchEvent) -> None:
        presenter.take_event(event)
        table.on_event(event)

    runner = MatchRunner(
        match,
        table.host,
        table.renew,
        table.transports,
        writer,
        on_event=on_event,
        before_tick=before_tick,
        after_tick=presenter.note_tick,
    )
    table.on_runner(runner)
    return runner


async def _finish(table: Table, runner: MatchRunner, writer: RunWriter, ended: Ended) -> dict[str, Any]:
    """Write the last view and the final manifest."""
    match = runner.match
    assert isinstance(match, Match)
    view = runner.final_view if table.plan.render else await _last_view(runner.host)
    if view is not None and view.get("pixels") is not None:
        try:
            np.save(writer.folder / "last_view.npy", view["pixels"])
        except OSError as error:
            log.warning("the last picture was not saved: %s", error)  # the recording matters more, and is still open
    round_trips = match.telemetry.rtt_ms
    outcome = {
        "reason": ended.reason,
        "text": ended.text,
        "counters": match.counters.as_data(),
        "rtt_ms": {"median": round_trips.quantile(0.5), "p99": round_trips.quantile(0.99)},
        "telemetry": match.telemetry.report(now=asyncio.get_running_loop().time()).as_data(),
        "played_seconds": runner.seconds,
        "memory_mb": round(psutil.Process().memory_info().rss / 2**20, 1),
        "changes": list(match.changes.done),
        "absences": list(match.absences.done),
        "interruptions": list(match.absences.interruptions),
        "sittings": match.sittings.as_data(),
        "totals": [list(t) for t in match.totals],
        "shown_totals": None if view is None else [float(t) for t in view["totals"]],
        "transports": {str(peer): asdict(stats) for peer, stats in runner.transport_stats().items()},
        "connections": runner.connections,
        "paths": runner.paths.as_data(),
        "dropped_datagrams": {str(p.id): dict(p.endpoint.drops) for p in match.peers},
    }
    await asyncio.to_thread(writer.finish, outcome)
    await _write_trace(match, writer.folder)
    return outcome


async def _write_trace(match: Match, folder: Path) -> None:
    """Write the trace beside the recording, if one was made; the recording is whole by now."""
    trace = match.telemetry.trace
    if trace is None:
        return
    own = match.plan.own_id
    events = trace.finish(now=asyncio.get_running_loop().time())
    try:
        await asyncio.to_thread(
            lambda: (folder / TRACE_NAME).write_bytes(chrome_trace(events, {own + 1: f"seat {own}"}))
        )
    except OSError as error:
        log.warning("the trace was not saved: %s", error)


async def _last_view(host: EnvHost) -> Mapping[str, Any] | None:
    """A client without a window draws once, at the end."""
    if host.state != "ready":
        return None
    try:
        reply = await host.submit([["render"]])
    except EnvHostError as error:
        log.info("the last view cannot be drawn: %s", error)
        return None
    view: Mapping[str, Any] = reply.results[0]
    return view
