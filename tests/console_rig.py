"""What the console's tests share: a room that plays itself, and a server with its console."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import uvicorn
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.types import ASGIApp as ASGIApplication

from p2pclient.common.errors import SignalingError
from p2pclient.common.room_messages import Health, PeerHealth
from signaling.accounts import ScryptPasswords
from signaling.actions import Action, Hold, Pair, PauseMatch, ProbeRoom, Release, ResumeMatch
from signaling.addresses import listen
from signaling.console.console import Console
from signaling.passwords import Cost
from signaling.rows import ActionRow, EventRow, MatchRow, ParticipantRow, ProbeRow, RoomRow, SeatRow
from signaling.store.interface import Account, Role, Store
from signaling.store.memory import MemoryStore

PASSWORDS: dict[str, tuple[Role, str]] = {
    "ada": ("admin", "admin’s password"),
    "olu": ("operator", "a-b c"),
    "vi": ("viewer", "look"),
}


QUICK = ScryptPasswords(Cost(log2_n=1, r=1, p=1, iterations=1))
"""Costs so low that tests may log in."""


async def store_with_accounts() -> MemoryStore:
    store = MemoryStore()
    await store.write(
        [Account(name=name, role=role, password_hash=QUICK.hash(word)) for name, (role, word) in PASSWORDS.items()]
    )
    return store


def health(at: float = 0.0, *, seat: int = 0, rtt_ms: float = 4.0, loss: float = 0.0, **others: object) -> Health:
    """What the client of one seat of two reports ``at`` seconds into a match at 15 Hz."""
    wave = math.sin(at / 7 + seat) + 0.4 * math.sin(at * 1.3 + 2 * seat)
    peer = PeerHealth(
        seats=(1 - seat,),
        rtt_ms=max(0.4, rtt_ms * (1 + 0.12 * wave)),
        jitter_ms=rtt_ms * 0.09 * (1.2 + abs(wave)),
        loss=loss,
        frames_ahead=(0.3 + rtt_ms / 120) * wave * (1 - 2 * seat),
        path="direct",
    )
    facts = {
        "phase": "playing",
        "episode": int(at // 60),
        "frame": int(at * 15) % 900,
        "verified_frames": max(0, int(at * 15) - 4),
        "rate_hz": 15.0 + 0.03 * wave,
        "rollbacks": int(at * rtt_ms / 40),
        "rollback_depth": min(8, round(rtt_ms / 40 + abs(wave))),
        "step_ms": 3.8,
        "scores": (3.0, 3.0),
        "peers": (peer,),
    }
    return Health(**{**facts, **others})  # type: ignore[arg-type]


def seat(number: int, health: Health | None, *, ago_s: float | None = 0.4, **others: object) -> SeatRow:
    facts = {"participant_id": f"p{number}", "station": f"LAB{number + 1:02d}", "health": health, "health_ago_s": ago_s}
    return SeatRow(seat=number, **{**facts, **others})  # type: ignore[arg-type]


def match(*seats: SeatRow, id: str = "0001-00c0ffee", state: str = "playing", **others: object) -> MatchRow:
    return MatchRow(id=id, state=state, env="cogrid:Overcooked", seats=seats, **others)  # type: ignore[arg-type]


class RehearsedRoom:
    """A :class:`Desk` over a room of eight stations that changes with time: three matches, one over a bad link."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.acted: list[tuple[Action, str]] = []
        self.refuse: SignalingError | None = None
        self.label = "<img src=x onerror=alert(1)>"
        self._actions: list[ActionRow] = []
        self._matches = {"0001-51f0a9c2": (0, 1, 3.0), "0002-8d34be07": (2, 3, 9.0), "0003-c4127e5a": (4, 5, 190.0)}
        self._paused: set[str] = set()
        self._held = False
        self._epoch = 0.0

    def row(self, *, now: float, epoch: float) -> RoomRow:
        self.began = now if self.began is None else self.began
        self._epoch = epoch
        for_s = 312.0 + now - self.began
        matches = [self._match(id, one, other, rtt, for_s) for id, (one, other, rtt) in self._matches.items()]
        participants = [self._player(number, for_s) for number in range(6)]
        participants += [self._waiting(6, 1, for_s - 296, "One more is needed."), self._waiting(7, 2, for_s - 170, "")]
        participants += [_done("p8", "P-017", "finished", ""), _done("p9", "P-019", "finished", "")]
        participants.append(_done("p10", "P-020", "excluded", "Its ping was above 150 ms for 20 s."))
        ended = match(
            seat(0, health(299), label="P-017"), seat(1, health(299), label="P-019"), id="0000-77aa01de", state="ended"
        )
        matches.insert(
            0, replace(ended, reason="complete", started_at=epoch - 900, running_for_s=300.0, length_s=300.0)
        )
        return RoomRow(
            server_version="0.1.0",
            at=epoch,
            settings={"env": "cogrid:Overcooked", "rate_hz": 15.0, "seats": 2},
            counts={"waiting": 2, "playing": 6, "finished": 2, "excluded": 1, "matches": 3, "matches_made": 4},
            median_wait_s=14.0,
            participants=tuple(participants),
            matches=tuple(matches),
            events=self._events(epoch, for_s),
            actions=tuple(replace(each, state="done") if epoch - each.at > 1 else each for each in self._actions[-40:]),
            probes=self._probes(epoch),
            paused=self._held,
        )

    async def act(self, action: Action, *, by: str, now: float) -> str:
        if self.refuse is not None:
            raise self.refuse
        if isinstance(action, Pair) and len(action.participants) != 2:
            raise SignalingError("wrong-seats", "A match has 2 seats.")
        self.acted.append((action, by))
        number, kind = len(self.acted), str(action.__struct_config__.tag)
        target = getattr(action, "match", None) or getattr(action, "participant", None) or ""
        self._actions.append(ActionRow(id=f"a{number}", kind=kind, by=by, target=target, state="sent", at=self._epoch))
        match action:
            case PauseMatch():
                self._paused.add(action.match)
            case ResumeMatch():
                self._paused.discard(action.match)
            case Hold() | Release():
                self._held = isinstance(action, Hold)
        return f"a{number}"

    def _match(self, id: str, one: int, other: int, rtt: float, for_s: float) -> MatchRow:
        at = for_s - 40 * one
        bad = rtt > 100
        paused = {"phase": "paused", "rate_hz": 0.0} if id in self._paused else {}
        healths = [
            health(at, seat=0, rtt_ms=rtt, loss=0.08 * bad, stalls=int(at / 2) * bad, **paused),
            health(at, seat=1, rtt_ms=rtt * 1.05, loss=0.06 * bad, stalls=int(at / 5) * bad, **paused),
        ]
        seats = [
            replace(seat(number, own), seat=index, participant_id=f"p{number}", label=f"P-{21 + number:03d}")
            for index, (number, own) in enumerate(zip((one, other), healths, strict=True))
        ]
        state = "paused" if id in self._paused else "playing"
        started = self._epoch - at
        return match(
            *seats, id=id, state=state, started_at=started, running_for_s=at, length_s=600.0, spectators=int(one == 2)
        )

    def _player(self, number: int, for_s: float) -> ParticipantRow:
        match_id = next(id for id, (one, other, _) in self._matches.items() if number in (one, other))
        return ParticipantRow(
            id=f"p{number}",
            label=f"P-{21 + number:03d}",
            station=f"LAB{number + 1:02d}",
            state="playing",
            state_for_s=for_s - 40 * (number - number % 2),
            address=f"10.0.0.{11 + number}",
            app_version="0.1.0",
            rtt_ms=0.6 + number / 10,
            match_id=match_id,
            seat=number % 2,
        )

    def _waiting(self, number: int, position: int, for_s: float, reason: str) -> ParticipantRow:
        return ParticipantRow(
            id=f"p{number}",
            label=self.label if number == 6 else "P-028",
            station=f"LAB{number + 1:02d}",
            state="waiting",
            state_for_s=for_s,
            address=f"10.0.0.{11 + number}",
            rtt_ms=0.9,
            position=position,
            reason=reason or "Its round trip to LAB07 is 212 ms, above 150 ms; tried again in 10 s.",
        )

    def _probes(self, epoch: float) -> tuple[ProbeRow, ...]:
        """Of the two who wait and one who plays; all of it is measured anew when the researcher asks."""
        good = ProbeRow(a="p6", b="p7", state="done", rtt_ms=3.4, jitter_ms=0.2, loss=0.0, path="direct", at=epoch - 60)
        none = ProbeRow(
            a="p4", b="p7", state="failed", reason="Their computers cannot reach each other.", at=epoch - 50
        )
        poor = ProbeRow(
            a="p4", b="p6", state="done", rtt_ms=212.0, jitter_ms=9.0, loss=0.1, path="direct", at=epoch - 55
        )
        if any(isinstance(action, ProbeRoom) for action, _ in self.acted):
            good = replace(good, state="measuring")
        return good, none, poor

    def _events(self, epoch: float, for_s: float) -> tuple[EventRow, ...]:
        found = [EventRow(at=epoch - for_s - 30, kind="came", text="LAB01 is here.", participant_id="p0")]
        for id, (one, other, rtt) in self._matches.items():
            began = epoch - for_s + 40 * one
            text = f"LAB{one + 1:02d} and LAB{other + 1:02d}, after 0:14."
            found.append(EventRow(at=began, kind="matched", text=text, match_id=id))
            found.append(EventRow(at=began + 3, kind="playing", text="Everyone is there.", match_id=id))
            if rtt > 100:
                text = "LAB05 stalled: nothing from LAB06 for 0.8 s."
                found.append(EventRow(at=began + 90, kind="stalled", text=text, match_id=id, severity="warning"))
        return tuple(sorted(found, key=lambda event: event.at))


def _done(id: str, label: str, state: str, reason: str) -> ParticipantRow:
    return ParticipantRow(id=id, label=label, state=state, state_for_s=240.0, connected=False, reason=reason)


def make_console(room: RehearsedRoom, store: Store) -> Console:
    return Console(room, store=store, passwords=QUICK)


class _Quiet(uvicorn.Server):
    """uvicorn that leaves signals alone, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running_app(app: ASGIApplication, *beside: Coroutine[Any, Any, None]) -> AsyncIterator[str]:
    """Serve an application in this loop, and run what is to run ``beside`` it; gives the server's URL."""
    bound = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    web = _Quiet(config)
    serving, *others = [asyncio.create_task(each) for each in (web.serve(sockets=[bound]), *beside)]
    try:
        await web.listens.wait()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        web.should_exit = True
        for task in others:
            task.cancel()
        await asyncio.gather(serving, *others, return_exceptions=True)


@contextlib.asynccontextmanager
async def running_console(room: RehearsedRoom | None = None, store: Store | None = None) -> AsyncIterator[str]:
    """Serve a console in this loop; gives the server's URL."""
    console = make_console(room or RehearsedRoom(), store or await store_with_accounts())
    async with running_app(Starlette(routes=console.routes()), console.run()) as url:
        yield url
