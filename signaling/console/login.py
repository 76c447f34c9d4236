"""Logging in and out, and whose request this is."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from p2pclient.common.errors import ConfigurationError, SignalingError, StoreRefusal
from signaling.console.throttle import Throttle
from signaling.store.interface import Account, AuditLine, ConsoleSession, SessionEnded, SessionsEnded, Store

_log = logging.getLogger("tandem.console")

SESSION_S = 12 * 3600.0
"""A day in the lab; then one logs in again."""

MOST_NAME_CHARS = 64
MOST_TOKEN_CHARS = 64
MOST_AT_ONCE = 8
"""Log-ins that are being checked. Strangers can have no more work done than this, and people try again."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """``now`` goes forward in seconds; ``epoch`` is seconds since 1970."""

    now: Callable[[], float]
    epoch: Callable[[], float]


class Passwords(Protocol):
    """How passwords are kept. Both calls are slow on purpose, and are made in a thread."""

    def hash(self, password: str) -> str: ...

    def verify(self, password: str, hashed: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """An account as it is at this moment, and the session by which it came."""

    account: Account
    token_hash: str


class Login:
    """Checks names and passwords, one at a time, and the tokens that follow from them.

    Sessions are in the store, so that they outlive a restart, and end with a new password or with the account. Of a
    token, only the hash is kept.
    """

    def __init__(self, store: Store, passwords: Passwords, *, clocks: Clocks) -> None:
        self._store, self._passwords, self._clocks = store, passwords, clocks
        self._throttle = Throttle()
        # A hash takes half a second and megabytes: strangers must not be able to ask for many at once.
        self._checking = asyncio.Lock()
        self._at_once = 0
        self._nobody = ""

    async def log_in(self, name: str, password: str, *, address: str) -> str:
        """Return a token for the account, if the password is right. Takes as long for a name that nobody has.

        Raises:
            SignalingError: ``too-often``, ``busy``, ``wrong-password`` or ``password-unreadable``.
        """
        name, now = name[:MOST_NAME_CHARS], self._clocks.now()
        wait = self._throttle.wait_s(address, name, now=now)
        if wait > 0:
            # Not in the audit: who may not even try must not be able to fill the disk.
            raise SignalingError("too-often", f"Too many wrong passwords. Try again in {wait:.0f} s.")
        if self._at_once >= MOST_AT_ONCE:
            raise SignalingError("busy", "Too many people are logging in. Try again in a moment.")
        self._throttle.failed(address, name, now=now)
        self._at_once += 1
        try:
            account = await self._store.account(name)
            right = await self._is_right(account, password)
        finally:
            self._at_once -= 1
        if account is None or not right:
            await self._note_refusal(name, known=account is not None, address=address)
            raise SignalingError("wrong-password", "That name and password do not belong together.")
        token = await self._open(account, address)
        self._throttle.succeeded(address, name)
        return token

    async def find(self, token: str | None) -> LoggedIn | None:
        """Return whose token this is; None if it is nobody's, or no more."""
        if not token or len(token) > MOST_TOKEN_CHARS:
            return None
        token_hash = _hash(token)
        session = await self._store.session(token_hash, now=self._clocks.epoch())
        account = await self._store.account(session.account) if session is not None else None
        return LoggedIn(account, token_hash) if account is not None else None

    async def log_out(self, who: LoggedIn, *, address: str) -> None:
        """End a session; its token is worth nothing from now on."""
        line = AuditLine(at=self._clocks.epoch(), by=who.account.name, action="logout", facts={"address": address})
        await self._store.write([SessionEnded(token_hash=who.token_hash), line])

    async def _is_right(self, account: Account | None, password: str) -> bool:
        async with self._checking:
            if account is None and not self._nobody:
                self._nobody = await asyncio.to_thread(self._passwords.hash, secrets.token_hex(16))
            hashed = account.password_hash if account is not None else self._nobody
            try:
                return await asyncio.to_thread(self._passwords.verify, password, hashed)
            except ConfigurationError as error:
                _log.error("the password of an account cannot be checked: %s", error)
                message = "This password cannot be checked on this computer. Set it again with `tandem account set`."
                raise SignalingError("password-unreadable", message) from None

    async def _open(self, account: Account, address: str) -> str:
        token, epoch = secrets.token_urlsafe(32), self._clocks.epoch()
        session = ConsoleSession(
            token_hash=_hash(token),
            account=account.name,
            created_at=epoch,
            expires_at=epoch + SESSION_S,
            address=address,
        )
        line = AuditLine(at=epoch, by=account.name, action="login", facts={"address": address})
        try:
            await self._store.write([SessionsEnded(before=epoch), session, line])
        except StoreRefusal:  # the account was removed while its password was being checked
            raise SignalingError("wrong-password", "That name and password do not belong together.") from None
        return token

    async def _note_refusal(self, name: str, *, known: bool, address: str) -> None:
        """Write a wrong password down. Not a name that nobody has: people type their password there by mistake."""
        facts = {"address": address, "outcome": "wrong-password"}
        line = AuditLine(
            at=self._clocks.epoch(), by="server", action="login", target=name if known else "", facts=facts
        )
        await self._store.write([line])


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", errors="replace")).hexdigest()
