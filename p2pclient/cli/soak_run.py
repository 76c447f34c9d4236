"""Runs a soak: a server, clients that play match after match, what is done to them, and the check of every match."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from p2pclient.cli.soak_check import CHECK_SECONDS, Checker
from p2pclient.cli.soak_console import Chaos
from p2pclient.cli.soak_faults import relent, strike
from p2pclient.cli.soak_judge import DIED, FAILED, PLAYED, MatchCourse, Side, judge
from p2pclient.cli.soak_ledger import Ledger, last_line
from p2pclient.cli.soak_plan import KILL_CLIENT, KILL_SERVER, LEAVE, NETWORKS, Fault, Seeds, SoakPlan
from p2pclient.cli.soak_process import Child
from p2pclient.cli.soak_server import SoakFailed, SoakServer
from p2pclient.cli.soak_watch import Watch, quantiles_ms

_START_SECONDS = 30.0
_GOODBYE_SECONDS = 15.0
_HOSTS_GONE_SECONDS = 8.0
"""Within which the hosts of a client are gone after it, however it ended. Their own grace is 2 s."""
_ALONE_SECONDS = 8.0
"""After which nobody else will say that it is in a match that one client was told of."""
_UNHEARD_SECONDS = 1.0
"""A client that was killed or told to leave may until then be given to another one, without having told us."""
_LOOK_SECONDS = 1.0
_RESTART_SECONDS = 0.5
_LONGEST_CHECK = CHECK_SECONDS + _ALONE_SECONDS
_MOST_WAITING = 4
"""Matches that wait to be checked before the straight runs of some are left out."""
_BAD_WORDS = re.compile(r"Traceback \(most recent call last\)|was never (?:retrieved|awaited)|Exception ignored in")
_FLAGS = {"delay_ms": "--latency-ms", "jitter_ms": "--jitter-ms"}


@dataclass(slots=True)
class _Slot:
    """A place in which there is always a client."""

    number: int
    generation: int = 0
    child: Child | None = None
    course: MatchCourse | None = None
    """The match that its client is in."""
    progress_at: float = 0.0
    welcome: asyncio.Event = field(default_factory=asyncio.Event)
    """A client in this slot has reached the server."""
    is_welcome: bool = False
    """The present one has."""
    was_matched: bool = False
    """A client in this slot has been in a match."""
    server: Child | None = None
    """The server that ran when the present one started."""

    @property
    def name(self) -> str:
        return f"client-{self.number // 2 + 1}{'ab'[self.number % 2]}"

    @property
    def is_spared(self) -> bool:
        """One client of each pair is never killed, so that what grows over hours is seen."""
        return self.number % 2 == 0

    @property
    def side(self) -> Side:
        """What its client is in its match."""
        assert self.course is not None
        assert self.child is not None
        return next(side for side in self.course.sides.values() if side.client == self.child.name)


class Soak:
    """One soak, from start to end. ``say`` is told of problems as they are found."""

    def __init__(self, plan: SoakPlan, *, say: Callable[[str], None]) -> None:
        tmp = str((plan.out / "tmp").resolve())
        self.plan = plan
        self.ledger = Ledger(plan, say=say)
        self.watch = Watch()
        self._env = {"PYTHONFAULTHANDLER": "1", "TMPDIR": tmp, "TEMP": tmp, "TMP": tmp}
        self._server = SoakServer(plan, self._env, on_end=self._server_ended)
        self._slots = [_Slot(number) for number in range(2 * plan.pairs)]
        self._courses: dict[str, MatchCourse] = {}
        """Matches that are not checked yet."""
        self._numbers = 0
        self._struck_at: list[float] = []
        """When clients were killed or told to leave in mid-soak."""
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._checker = Checker(plan.env_python)
        self._checks: asyncio.Queue[MatchCourse] = asyncio.Queue()
        self.chaos = Chaos(
            self._server,
            plan.out / "server-data",
            self._courses,
            on_kill=self._chaos_kills,
            on_problem=self.ledger.problem,
        )
        self._ending = False
        """No new match is to begin."""
        self._enough = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self, stop: asyncio.Event) -> None:
        """Play until the time is up, all is played, too much has failed, or ``stop`` is set; then end and check it all.

        Raises:
            SoakFailed: it cannot be carried out.
        """
        for name in ("logs", "clients", "tmp"):
            (self.plan.out / name).mkdir(parents=True, exist_ok=True)
        async with self._everything_ended():
            for work in (self._server.keep(), self.watch.beat(), self._look(), self._check_all()):
                self._start(work)
            await self._first_of(self._server.wait_until_up(), seconds=_START_SECONDS)
            for slot in self._slots:
                self._start(self._keep_client(slot))
                # One after the other, so that the first pair of a repetition has its seats.
                await self._first_of(slot.welcome.wait(), stop.wait(), seconds=_START_SECONDS)
            if self.plan.kill_server_every:
                self._start(self.chaos.run(self.plan.kill_server_every))
            await self._first_of(stop.wait(), self._enough.wait(), seconds=self.plan.seconds)
            self._ending = True
            if not stop.is_set():
                await self._let_matches_end(stop)
            await self._send_clients_away()
            await self._settle()
        self._judge_what_is_left()

    # -- the course of things -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def _everything_ended(self) -> AsyncIterator[None]:
        """However it ends: no process of ours runs on, and no task."""
        try:
            yield
        finally:
            self._ending = True
            children = [slot.child for slot in self._slots if slot.child is not None]
            await asyncio.gather(*(child.end(_GOODBYE_SECONDS) for child in children))
            await self._server.end(_GOODBYE_SECONDS)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._checker.close()

    async def _first_of(self, *waits: Coroutine[Any, Any, Any], seconds: float) -> None:
        """Wait for the first of these, or for the time.

        Raises:
            SoakFailed: a task of the soak itself failed meanwhile.
        """
        own = [asyncio.create_task(wait) for wait in waits]
        try:
            until = self._loop.time() + seconds
            while (left := until - self._loop.time()) > 0 and not any(task.done() for task in own):
                await asyncio.wait([*own, *self._tasks], timeout=left, return_when=asyncio.FIRST_COMPLETED)
                self._raise_failure()
        finally:
            for task in own:
                task.cancel()
            await asyncio.gather(*own, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)  # one that failed stays, and ends the soak

    def _raise_failure(self) -> None:
        for task in self._tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None:
                raise error if isinstance(error, SoakFailed) else SoakFailed(f"a bug of the soak: {error!r}") from error

    async def _let_matches_end(self, stop: asyncio.Event) -> None:
        for course in self._courses.values():
            course.is_cut_short |= len(course.sides) < 2  # the other one is told to leave before it can tell us
        for slot in self._slots:
            if slot.child is not None and slot.course is None:
                slot.child.leave()
        over = self._until(lambda: not any(slot.course for slot in self._slots))
        await self._first_of(over, stop.wait(), seconds=self.plan.patience)

    async def _send_clients_away(self) -> None:
        for slot in self._slots:
            if slot.course is not None:
                slot.course.is_cut_short = True
        clients = [slot.child for slot in self._slots if slot.child is not None]
        self.watch.note_children(child.id for child in clients)
        went = await asyncio.gather(*(child.end(_GOODBYE_SECONDS) for child in clients))
        for child, by_itself in zip(clients, went, strict=True):
            if not by_itself:
                self.ledger.problem(f"{child.name} did not leave within {_GOODBYE_SECONDS:g} s when it was told to")

    async def _settle(self) -> None:
        """Wait until every match is checked, and all that was started had its time to end."""
        while before := len(self._courses):
            fewer = partial(self._has_fewer_than, before)
            await self._first_of(self._until(fewer), seconds=_LONGEST_CHECK)
            if not fewer():
                raise SoakFailed(f"{before} matches could not be checked")
        for _ in range(int(10 * _HOSTS_GONE_SECONDS)):
            if not self.watch.processes_left():
                return
            await asyncio.sleep(0.1)

    def _has_fewer_than(self, count: int) -> bool:
        return len(self._courses) < count

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _tell(self) -> None:
        """Something has changed, for all who wait for it."""
        if self.ledger.has_enough or self.ledger.has_all:
            self._enough.set()
        async with self._changed:
            self._changed.notify_all()

    # -- processes ----------------------------------------------------------------------------------------------

    def _chaos_kills(self) -> bool:
        if self._ending:
            return False
        self.ledger.faults[KILL_SERVER] += 1
        for each in self._courses.values():
            each.has_lost_server = True
            # Who was told of a match connects although the server dies: that nobody else was told is no fault.
            each.disturbed = each.disturbed or len(each.sides) < 2
        return True

    def _server_ended(self, child: Child) -> None:
        if not (child.is_stopping or self._ending):
            self.ledger.problem(f"the server ended by itself, exit code {child.code}; see {child.log_path}")
        for text in _bad_lines(child):
            self.ledger.problem(text)

    async def _keep_client(self, slot: _Slot) -> None:
        while not self._ending:
            await self._server.wait_until_up()
            seeds = self.plan.client_seeds(slot.number, slot.generation)
            slot.is_welcome, slot.server = False, self._server.child
            child = slot.child = await self._start_client(slot, seeds)
            slot.progress_at = self._loop.time()
            async for report in child.reports():
                self._take_report(slot, child, seeds, report)
                await self._tell()
            await child.wait()
            self._client_ended(slot, child)
            await self._tell()
            slot.generation += 1
            await asyncio.sleep(_RESTART_SECONDS)

    async def _start_client(self, slot: _Slot, seeds: Seeds) -> Child:
        plan, out = self.plan, self.plan.out
        arguments = ["join", self._server.url, "--json", "--headless", "--bot", plan.bot, "--matches", "0"]
        arguments += ["--label", slot.name, "--out", str(out / "clients" / slot.name), "--seed", str(seeds.seed)]
        arguments += ["--log-level", plan.client_log_level]
        for name, value in NETWORKS[seeds.network].items():
            arguments += [_FLAGS.get(name, f"--{name}"), repr(value)]
        if plan.env_python is not None:
            arguments.append(f"--env-python={plan.env_python}")
        if plan.wrong_env is not None and not slot.is_spared:
            arguments += ["--fault", plan.wrong_env]
        name = f"{slot.name}.{slot.generation + 1}"
        return await Child.start(name, arguments, log_path=out / "logs" / f"{name}.log", env=self._env)

    def _take_report(self, slot: _Slot, child: Child, seeds: Seeds, report: Mapping[str, Any]) -> None:
        kind = report["event"]
        if kind in ("welcome", "matched", PLAYED, FAILED):
            slot.progress_at = self._loop.time()
        if kind == "welcome":
            slot.is_welcome = True
            slot.welcome.set()
        elif kind == "matched":
            self._matched(slot, child, seeds, report)
        elif kind == "playing" and slot.course is not None:
            slot.course.playing.add(slot.side.seat)
        elif kind in (PLAYED, FAILED) and slot.course is not None:
            self._side_ended(slot, kind, report)
            if self._ending:
                child.leave()

    def _client_ended(self, slot: _Slot, child: Child) -> None:
        match_id = None if slot.course is None else slot.course.match_id
        # Who finds no server when it starts says so and ends; later on it waits until the server is back.
        found_no_server = (
            not slot.is_welcome and child.code == 1 and slot.server is not None and slot.server.is_stopping
        )
        if not child.is_stopping and not found_no_server:
            if not slot.was_matched:
                raise SoakFailed(f"{child.name} cannot play: {last_line(child.log_path)}")
            text = f"{child.name} ended by itself, exit code {child.code}: {last_line(child.log_path)}"
            self.ledger.problem(text, match_id)
        for text in _bad_lines(child):
            self.ledger.problem(text, match_id)
        if slot.course is not None:
            self._side_ended(slot, DIED, {})
        slot.child = None
        self._start(self._expect_hosts_gone(child))

    async def _expect_hosts_gone(self, child: Child) -> None:
        for _ in range(int(10 * _HOSTS_GONE_SECONDS)):
            if not self.watch.processes_left(child.id):
                return
            await asyncio.sleep(0.1)
        left = self.watch.processes_left(child.id)
        self.ledger.problem(f"{child.name} has ended, but processes that it started run on: {left}")

    async def _look(self) -> None:
        """Now and then: what was started, and does every client get on?"""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.watch.note_children(slot.child.id for slot in self._slots if slot.child is not None)
            for slot in self._slots:
                if slot.child is not None and self._loop.time() - slot.progress_at > self.plan.patience:
                    where = "the waiting room" if slot.course is None else "its match"
                    text = f"{slot.child.name} hangs in {where}; the stacks of its threads are in {slot.child.log_path}"
                    self.ledger.problem(text, None if slot.course is None else slot.course.match_id)
                    slot.progress_at = self._loop.time()
                    slot.child.dump_stacks()

    # -- one match ----------------------------------------------------------------------------------------------

    def _matched(self, slot: _Slot, child: Child, seeds: Seeds, report: Mapping[str, Any]) -> None:
        match_id, seat = str(report["match"]), int(report["seats"][0])
        course = self._courses.get(match_id)
        if course is None:
            self._numbers += 1
            fault = self.plan.fault_of(self._numbers)
            course = self._courses[match_id] = MatchCourse(match_id, self._numbers, fault, self._loop.time())
            course.disturbed = course.has_lost_server = not self._server.is_up  # it ended a moment ago
            self._start(self._follow(course))
            if fault is not None:
                self._start(self._inflict(course, fault))
        if seat in course.sides:
            self.ledger.problem(f"seat {seat} was given to two clients", match_id)
        course.sides[seat] = Side(seat, child.name, seeds)
        slot.course, slot.was_matched = course, True
        # At the soak's end, who waits is told to leave, and may just have been matched.
        course.is_cut_short |= child.is_stopping or self._ending
        self.watch.note_children([child.id])
        self.watch.sample(child.name, child.pid)
        if self._server.child is not None and seat == 0:
            self.watch.sample("server", self._server.child.pid)

    def _side_ended(self, slot: _Slot, ending: str, report: Mapping[str, Any]) -> None:
        side, course = slot.side, slot.course
        assert course is not None
        side.ending, side.report, side.ended_at = ending, report, self._loop.time()
        folders = (self.plan.out / "clients" / slot.name).glob(f"*_{course.match_id}_*")
        side.folder = next(iter(sorted(folders)), None)
        slot.course = None

    async def _follow(self, course: MatchCourse) -> None:
        """Wait until the match is over for both, then have it checked."""
        while not (course.is_over and len(course.sides) == 2):
            nobody_left = self._ending and not any(slot.child for slot in self._slots)
            if course.is_over and (nobody_left or self._loop.time() > course.began_at + _ALONE_SECONDS):
                course.disturbed |= self._was_partner_struck(course)
                break
            await asyncio.sleep(0.1)
        await self._checks.put(course)

    def _was_partner_struck(self, course: MatchCourse) -> bool:
        """Was a client killed, or told to leave, just when another one was told that it is to play with it?"""
        return any(abs(at - course.began_at) <= _UNHEARD_SECONDS for at in self._struck_at)

    async def _inflict(self, course: MatchCourse, fault: Fault) -> None:
        """Do to the match what is planned, unless it is over before."""
        if not fault.at_once:
            await self._until(lambda: len(course.playing) == 2 or course.is_over)
        await asyncio.sleep(max(0.0, fault.moment))
        slots = {slot.side.seat: slot for slot in self._slots if slot.course is course}
        if self._ending or not slots:
            return
        if fault.kind == KILL_SERVER:
            if self._server.kill():
                self.ledger.faults[fault.kind] += 1
                for each in self._courses.values():
                    each.has_lost_server = True
                    each.disturbed = each.disturbed or len(each.playing) < 2
            return
        seats = sorted(slots, key=lambda seat: seat != fault.side)
        if fault.kind in (KILL_CLIENT, LEAVE) and self.plan.repeated is None:
            seats = [seat for seat in seats if not slots[seat].is_spared]
        victim = slots[seats[0]].child if seats else None
        if victim is None:
            return
        self.watch.note_children([victim.id])
        if strike(victim, fault):
            course.fired_at, course.victim = self._loop.time(), seats[0]
            if fault.kind in (KILL_CLIENT, LEAVE):
                self._struck_at.append(course.fired_at)
            self.ledger.faults[fault.kind] += 1
            await relent(victim, fault)

    async def _check_all(self) -> None:
        while True:
            course = await self._checks.get()
            folders = [side.folder for _, side in sorted(course.sides.items()) if side.has_recording]
            replay = course.fault_kind is not None or self.plan.is_replayed(course.number)
            replay = replay and self._checks.qsize() <= _MOST_WAITING  # or else checks of short matches pile up
            check = await self._checker.check([f for f in folders if f], replay=replay) if folders else {}
            late = self.watch.lateness_between(course.began_at, max(side.ended_at for side in course.sides.values()))
            check["machine_lateness_ms"] = quantiles_ms(late)
            problems = judge(course, check, self.plan) + self.ledger.problems_of(course.match_id)
            for slot in self._slots:
                if slot.child is not None and any(slot.child.name == side.client for side in course.sides.values()):
                    problems += _bad_lines(slot.child)
            await asyncio.to_thread(self.ledger.close, course, check, problems)
            del self._courses[course.match_id]
            await self._tell()

    # -- the end ------------------------------------------------------------------------------------------------

    def _judge_what_is_left(self) -> None:
        left = self.watch.processes_left()
        if left:
            self.ledger.problem(f"processes left: {left}")
            self.watch.end_left_over()
        for name in self.watch.shared_memory_left():
            self.ledger.problem(f"shared memory left: {name}")
        files = sorted(path.name for path in (self.plan.out / "tmp").iterdir())
        if files:
            self.ledger.problem(f"temporary files left in {self.plan.out / 'tmp'}: {', '.join(files[:10])}")
        for growth in self.watch.growths():
            if not growth.is_flat:
                self.ledger.problem(growth.sentence())


def _bad_lines(child: Child) -> list[str]:
    """Return what the client logged since it was last looked at that no client should log."""
    found = _BAD_WORDS.search(child.new_log_text())
    return [f"{child.name} logged: {found.group(0)}; see {child.log_path}"] if found else []
