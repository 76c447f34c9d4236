"""What the console reads from the store, and the accounts: for whose role it is, and written down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from p2pclient.common.errors import ConfigurationError
from signaling.accounts import check_known, remove_account, set_account
from signaling.console.answers import json_answer, read_body, secured
from signaling.console.archive import AUDIT_COLUMNS, DECISION_COLUMNS, lines_of, old_match, table
from signaling.console.login import Clocks, LoggedIn, Login, Passwords
from signaling.console.requests import address_of, is_same_origin, token_of
from signaling.roles import may
from signaling.store.interface import AuditLine, Decision, Role, Store

_log = logging.getLogger("tandem.console")

AUDIT_SHOWN = 500
MATCHES_SHOWN = 20
LINES_AT_ONCE = 1000
MOST_AT_ONCE = 4
"""Changes of accounts under way: a new password takes half a second of a core."""

_Name = Annotated[str, msgspec.Meta(max_length=64)]


class AccountChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admin asks for. What is None stays as it is."""

    does: Literal["add", "set", "remove"]
    name: _Name
    role: Role | None = None
    password: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One account, without anything of its password."""

    name: str
    role: str
    created_at: float
    changed_at: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change, as a sentence."""

    ok: bool
    message: str


class Records:
    """Pages over the store of one study."""

    def __init__(self, login: Login, store: Store, passwords: Passwords, *, study: str, clocks: Clocks) -> None:
        self._login, self._store, self._passwords = login, store, passwords
        self._study, self._clocks = study, clocks
        self._changing = asyncio.Lock()
        self._at_once = 0

    def routes(self) -> list[BaseRoute]:
        """Return what to add to the server's routes."""
        return [
            Route("/console/audit", secured(self._audit)),
            Route("/console/matches", secured(self._matches)),
            Route("/console/download/{name}", secured(self._download)),
            Route("/console/accounts", secured(self._accounts)),
            Route("/console/accounts", secured(self._change_account), methods=["POST"]),
        ]

    async def _asker(self, request: Request, what: str) -> LoggedIn | Response:
        """Return who asks, if that account may; else what to answer."""
        who = await self._login.find(token_of(request))
        if who is None:
            return PlainTextResponse("Log in first.", 401)
        if not may(who.account.role, what):
            return PlainTextResponse(f"This needs the role admin; yours is {who.account.role}.", 403)
        return who

    # -- what can be read ---------------------------------------------------------------------------------------------

    async def _audit(self, request: Request) -> Response:
        who = await self._asker(request, "audit")
        if isinstance(who, Response):
            return who
        return json_answer({"entries": await self._store.audit(limit=AUDIT_SHOWN)})

    async def _matches(self, request: Request) -> Response:
        """The matches that ended before another one, the newest first; of all starts of the server."""
        who = await self._asker(request, "look")
        if isinstance(who, Response):
            return who
        before = request.query_params.get("before") or None
        found = await self._store.ended_matches(self._study, before=before, limit=MATCHES_SHOWN + 1)
        return json_answer(
            {
                "counts": await self._store.ended_counts(self._study),
                "matches": [old_match(each) for each in found[:MATCHES_SHOWN]],
                "more": len(found) > MATCHES_SHOWN,
            }
        )

    async def _download(self, request: Request) -> Response:
        who = await self._asker(request, "audit")
        if isinstance(who, Response):
            return who
        name = request.path_params["name"]
        what, _, form = name.partition(".")
        if what not in ("audit", "decisions") or form not in ("csv", "jsonl"):
            return PlainTextResponse("There is no such file.", 404)
        facts = {"address": address_of(request), "outcome": "ok"}
        line = AuditLine(at=self._clocks.epoch(), by=who.account.name, action="download", target=name, facts=facts)
        await self._store.write([line])
        kind = "text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson"
        columns = AUDIT_COLUMNS if what == "audit" else DECISION_COLUMNS
        head = table([columns]) if form == "csv" else b""
        return StreamingResponse(
            self._lines(what, form, head),
            headers={"Content-Type": kind, "Content-Disposition": f'attachment; filename="{self._study}-{name}"'},
        )

    async def _lines(self, what: str, form: str, head: bytes) -> AsyncIterator[bytes]:
        """Give a log from its beginning, some lines at a time: it may be larger than what a server should hold."""
        yield head
        last = 0
        while True:
            found = await (self._decisions_after(last) if what == "decisions" else self._audit_after(last))
            if not found:
                return
            last = found[-1].number
            yield lines_of(found, form)

    async def _decisions_after(self, number: int) -> Sequence[Decision]:
        return await self._store.decisions(self._study, after=number, limit=LINES_AT_ONCE)

    async def _audit_after(self, number: int) -> Sequence[AuditLine]:
        newest = await self._store.audit(limit=1)
        while newest and number < newest[-1].number:
            # Numbers may be left out, by a store that took one back with its batch.
            found = await self._store.audit(before=number + LINES_AT_ONCE + 1, limit=LINES_AT_ONCE)
            kept = [each for each in found if each.number > number]
            if kept:
                return kept
            number += LINES_AT_ONCE
        return ()

    # -- accounts -----------------------------------------------------------------------------------------------------

    async def _accounts(self, request: Request) -> Response:
        who = await self._asker(request, "accounts")
        if isinstance(who, Response):
            return who
        rows = [
            AccountRow(name=each.name, role=each.role, created_at=each.created_at, changed_at=each.changed_at)
            for each in await self._store.accounts()
        ]
        return json_answer({"accounts": rows})

    async def _change_account(self, request: Request) -> Response:
        if not is_same_origin(request):
            return json_answer(Outcome(ok=False, message="Change accounts on the console's own page."), 403)
        who = await self._login.find(token_of(request))
        if who is None:
            return json_answer(Outcome(ok=False, message="Log in first."), 401)
        try:
            change = msgspec.json.decode(await read_body(request) or b"", type=AccountChange)
        except (msgspec.DecodeError, RecursionError):
            return json_answer(Outcome(ok=False, message="The server does not understand this."), 400)
        if not may(who.account.role, "accounts"):
            await self._note_refusal(request, who, change, "not-allowed")
            message = f"This needs the role admin; yours is {who.account.role}."
            return json_answer(Outcome(ok=False, message=message), 403)
        if self._at_once >= MOST_AT_ONCE:
            return json_answer(Outcome(ok=False, message="Too many changes at once. Try again in a moment."), 429)
        self._at_once += 1
        try:
            async with self._changing:
                return json_answer(Outcome(ok=True, message=await self._change(request, who, change)))
        except ConfigurationError as error:
            await self._note_refusal(request, who, change, "refused")
            return json_answer(Outcome(ok=False, message=f"{str(error)[:1].upper()}{str(error)[1:]}."), 400)
        finally:
            self._at_once -= 1

    async def _change(self, request: Request, who: LoggedIn, change: AccountChange) -> str:
        """Do it by the rules of ``tandem account``; return what was done. Raises ConfigurationError."""
        by, now, address = who.account.name, self._clocks.epoch(), address_of(request)
        if change.does == "remove":
            await remove_account(self._store, change.name, by=by, now=now, address=address)
            return f"{change.name} is removed."
        check_known(change.name, await self._store.account(change.name) is not None, is_new=change.does == "add")
        if change.does == "set" and change.role is None and change.password is None:
            raise ConfigurationError("what to set", "nothing", "a role, a password, or both")
        await set_account(
            self._store,
            change.name,
            by=by,
            now=now,
            role=change.role,
            password=change.password,
            passwords=self._passwords,
            address=address,
        )
        return f"{change.name} is {'added' if change.does == 'add' else 'changed'}."

    async def _note_refusal(self, request: Request, who: LoggedIn, change: AccountChange, outcome: str) -> None:
        """Write down what was refused. Not a name that no account has: it may be a password in the wrong field."""
        known = await self._store.account(change.name) is not None
        facts = {"address": address_of(request), "outcome": outcome, "does": change.does}
        target = change.name if known else ""
        line = AuditLine(at=self._clocks.epoch(), by=who.account.name, action="account", target=target, facts=facts)
        await self._store.write([line])
