"""The feed: everything that the room shows, to every open console, about once a second; and actions the other way."""

from __future__ import annotations

import asyncio
import logging

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from p2pclient.common.errors import SignalingError, StoreError
from signaling.actions import Action
from signaling.alerts import Alert, Alerts, with_alerts
from signaling.console.desk import Desk
from signaling.console.history import History
from signaling.console.login import Clocks, Login
from signaling.console.requests import address_of, is_same_origin, token_of
from signaling.console.viewer import (
    LOGGED_OUT,
    NOT_UNDERSTOOD,
    TOO_MANY,
    Answer,
    Hello,
    Shown,
    Viewer,
    close,
    decode_request,
    id_of,
    receive_text,
)
from signaling.roles import may, role_for
from signaling.rows import RoomRow
from signaling.store.interface import AuditLine, Store

_log = logging.getLogger("tandem.console")

PERIOD_S = 1.0
SOONEST_S = 0.2
"""Changes that follow each other faster than this are sent together."""
MOST_SHARE = 0.1
"""Of the loop's time, for showing changes: a room of a thousand is shown less often than one of eight."""

MOST_CONSOLES = 32


class Feed:
    """What the consoles of one room share: the newest row, its alerts, and the last few minutes."""

    def __init__(self, desk: Desk, login: Login, store: Store, *, study: str, clocks: Clocks) -> None:
        self.history = History()
        self.row = RoomRow()
        self.alerts: tuple[Alert, ...] = ()
        self.lag_s = 0.0
        """How late the loop woke us up last."""
        self._desk, self._login, self._store, self._clocks = desk, login, store, clocks
        self._study = study
        self._watch = Alerts()
        self._viewers: set[Viewer] = set()
        self._changed = asyncio.Event()

    @property
    def consoles(self) -> int:
        """Consoles that are open."""
        return len(self._viewers)

    # -- what goes out ------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something in the room has changed: show it soon, not only at the next full second."""
        self._changed.set()

    async def run(self) -> None:
        """Publish about once a second, and soon after changes, until cancelled."""
        due = self._clocks.now()
        while True:
            await self._publish_and_check()
            # Not from now: the samples of the history are to be a second apart, however long this took.
            due = max(due + PERIOD_S, self._clocks.now())
            await self._publish_changes_until(due)

    async def _publish_and_check(self) -> None:
        try:
            self.publish(by_clock=True)
            await self._check_viewers()
        except Exception:  # noqa: BLE001 - the room goes on without its console; the page says that its figures are old
            _log.exception("the room could not be shown")

    async def _publish_changes_until(self, due: float) -> None:
        while (left := due - self._clocks.now()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                self.lag_s = max(0.0, self._clocks.now() - due)
                return
            if not self._viewers:  # the next full second is soon enough for nobody
                await asyncio.sleep(SOONEST_S)
                continue
            began = self._clocks.now()
            self.publish(by_clock=False)
            await asyncio.sleep(max(SOONEST_S, (self._clocks.now() - began) / MOST_SHARE))

    def publish(self, *, by_clock: bool) -> None:
        """Take the row and hand it to every console. History takes one sample a second, ``by_clock``."""
        self._changed.clear()
        now = self._clocks.now()
        row = self._desk.row(now=now, epoch=self._clocks.epoch())
        self.alerts = self._watch.update(row, now=now)
        self.row = with_alerts(row, self.alerts)
        if by_clock:
            self.history.add(row)
        if self._viewers:
            encoded = msgspec.json.encode(Shown(room=self.row, alerts=self.alerts))
            for viewer in self._viewers:
                viewer.show(encoded)

    async def _check_viewers(self) -> None:
        """Close the consoles of those who logged out, or whose account or password is no more."""
        for viewer in list(self._viewers):
            found = await self._login.find(viewer.token)
            if found is None:
                viewer.close(LOGGED_OUT)
            else:
                viewer.who = found

    # -- one console --------------------------------------------------------------------------------------------------

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one console, from its handshake to its end."""
        if not is_same_origin(websocket):
            await close(websocket, NOT_UNDERSTOOD)  # before the handshake: answered with 403
            return
        token = token_of(websocket) or ""
        who = await self._login.find(token)
        try:
            await websocket.accept()
        except (OSError, RuntimeError, WebSocketDisconnect):
            return  # it went during the handshake
        if who is None or len(self._viewers) >= MOST_CONSOLES:
            # Closed after the handshake, because a page is not told why a handshake failed.
            await close(websocket, LOGGED_OUT if who is None else TOO_MANY)
            return
        viewer = Viewer(websocket, who, token)
        self._viewers.add(viewer)
        self.changed()  # what was taken last may be a second old
        try:
            await self._converse(viewer)
        finally:
            self._viewers.discard(viewer)

    async def _converse(self, viewer: Viewer) -> None:
        account = viewer.who.account
        hello = Hello(
            account=account.name,
            role=account.role,
            may_act=may(account.role, "pair"),
            may_audit=may(account.role, "audit"),
        )
        viewer.answers.append(msgspec.json.encode(hello))
        viewer.show(msgspec.json.encode(Shown(room=self.row, alerts=self.alerts)))
        tasks = [asyncio.create_task(viewer.send_what_is_due()), asyncio.create_task(self._take_requests(viewer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect | OSError):
                raise outcome
        if viewer.closed_with is not None:
            await close(viewer.websocket, viewer.closed_with)

    async def _take_requests(self, viewer: Viewer) -> None:
        while viewer.closed_with is None:
            text = await receive_text(viewer.websocket)
            if text is None:
                viewer.close(NOT_UNDERSTOOD)
                return
            await self._take(viewer, text)

    async def _take(self, viewer: Viewer, text: str) -> None:
        try:
            request = decode_request(text)
        except msgspec.DecodeError as error:
            number = id_of(text)
            if number is None:
                viewer.close(NOT_UNDERSTOOD)
            else:
                viewer.answer(Answer(id=number, ok=False, message=f"The server does not understand this: {error}."))
            return
        try:
            if not viewer.may_ask(self._clocks.now()):
                raise SignalingError("too-often", "Too many actions at once. Try again in a moment.")
            answer = Answer(id=request.id, ok=True, message=await self._act(viewer, request.action))
        except SignalingError as error:
            answer = Answer(id=request.id, ok=False, message=str(error))
        except StoreError as error:
            message = f"This could not be written down; look whether it was done. {error}"
            answer = Answer(id=request.id, ok=False, message=message)
        except Exception:  # noqa: BLE001 - a bug here must not end the console of who found it
            _log.exception("action %s failed", type(request.action).__name__)
            answer = Answer(id=request.id, ok=False, message="The server failed at this. Its log says more.")
        viewer.answer(answer)

    async def _act(self, viewer: Viewer, action: Action) -> str:
        """Check, carry out, and write down. The role is read anew: it may have changed since the page was opened."""
        who = await self._login.find(viewer.token)
        if who is None:
            viewer.close(LOGGED_OUT)
            raise SignalingError("logged-out", "You are logged out.")
        kind, outcome, begun = str(action.__struct_config__.tag), "server-error", ""
        try:
            if not may(who.account.role, kind):
                needed = f"This needs the role {role_for(action)}; yours is {who.account.role}."
                raise SignalingError("not-allowed", needed)
            begun = await self._desk.act(action, by=who.account.name, now=self._clocks.now())
            outcome = "ok"
            self.changed()
            return begun
        except SignalingError as error:
            outcome = error.code
            raise
        finally:
            facts = {
                "address": address_of(viewer.websocket),
                "outcome": outcome,
                "study": self._study,
                "id": begun,
                "action": msgspec.to_builtins(action),
            }
            target = getattr(action, "match", None) or getattr(action, "participant", None) or ""
            by = who.account.name
            await self._store.write(
                [AuditLine(at=self._clocks.epoch(), by=by, action=kind, target=target, facts=facts)]
            )
