"""Accounts of the console: made, changed and removed, each with its line in the audit.

Edge: takes the system's entropy. Hashing takes half a second of a core, on purpose, so it is done in a thread.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from typing import Protocol

from msgspec.structs import replace

from p2pclient.common.errors import ConfigurationError
from signaling.passwords import (
    DEFAULT_COST,
    SALT_BYTES,
    Cost,
    check_new_password,
    hash_password,
    make_password,
    verify_password,
)
from signaling.roles import ROLES
from signaling.store.interface import Account, AccountRemoved, AuditLine, Role, SessionsEnded, Store

FIRST_ACCOUNT = "admin"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_FOR_EVER = 1e12


class ScryptPasswords:
    """How passwords are kept: hashed with new salts of the system. Both calls are slow; make them in a thread."""

    def __init__(self, cost: Cost = DEFAULT_COST) -> None:
        self._cost = cost

    def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        return hash_password(password, salt=os.urandom(SALT_BYTES), cost=self._cost)

    def verify(self, password: str, hashed: str) -> bool:
        """See :func:`signaling.passwords.verify_password`."""
        return verify_password(password, hashed)


class Hashing(Protocol):
    """All that making an account needs of :class:`ScryptPasswords`."""

    def hash(self, password: str) -> str: ...


def check_known(name: str, is_known: bool, *, is_new: bool) -> None:
    """Raise ConfigurationError unless an account that ``is_new`` is not there yet, or one to be changed is."""
    if is_new and is_known:
        raise ConfigurationError("the account's name", name, "one that is not there yet; `set` changes an account")
    if not is_new and not is_known:
        raise ConfigurationError("the account's name", name, "one that is there; `add` makes an account")


async def first_account(store: Store, *, now: float, passwords: ScryptPasswords | None = None) -> str | None:
    """Make the account ``admin`` if there is no account at all, and return its password; None otherwise.

    Print it once, on the terminal and not into a log; it is kept nowhere.

    Args:
        now: seconds since 1970.
    """
    if await store.accounts():
        return None
    password = make_password(random.SystemRandom())
    await set_account(store, FIRST_ACCOUNT, role="admin", password=password, by="server", now=now, passwords=passwords)
    return password


async def set_account(
    store: Store,
    name: str,
    *,
    by: str,
    now: float,
    role: Role | None = None,
    password: str | None = None,
    passwords: Hashing | None = None,
    address: str = "",
) -> bool:
    """Make an account, or change one: what is None stays. Returns True if it is new. A new password ends its sessions.

    Raises:
        ConfigurationError: the name or the password may not be, a new account has no password, or the last admin
            would be none any more.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError("the account's name", name, "up to 64 letters, digits and . _ @ -")
    if role is not None and role not in ROLES:
        raise ConfigurationError("the role", role, ", ".join(ROLES))
    if password is not None:
        check_new_password(password)
    before = await store.account(name)
    if before is None:
        if password is None:
            raise ConfigurationError("the password", None, "one, for a new account")
        account = Account(name=name, password_hash="", role=role or "viewer", created_at=now, changed_at=now)
    else:
        account = replace(before, role=role or before.role, changed_at=now)
        if account.role != "admin":
            await _check_not_last_admin(store, before)
    if password is not None:
        hashed = await asyncio.to_thread((passwords or ScryptPasswords()).hash, password)
        account = replace(account, password_hash=hashed)
    facts = {"role": account.role, "new": before is None, "password": "new" if password is not None else "as before"}
    facts |= {"address": address} if address else {}
    line = AuditLine(at=now, by=by, action="account", target=name, facts=facts)
    ended = [SessionsEnded(before=_FOR_EVER, account=name)] if before is not None and password is not None else []
    await store.write([account, *ended, line])
    return before is None


async def remove_account(store: Store, name: str, *, by: str, now: float, address: str = "") -> None:
    """Remove an account, and end its sessions.

    Raises:
        ConfigurationError: there is none of this name, or it is the last admin.
    """
    account = await store.account(name)
    if account is None:
        known = ", ".join(each.name for each in await store.accounts())
        raise ConfigurationError("the account's name", name, known or "none: there are no accounts yet")
    await _check_not_last_admin(store, account)
    facts = {"address": address} if address else {}
    line = AuditLine(at=now, by=by, action="account-removed", target=name, facts=facts)
    await store.write([AccountRemoved(name=name), line])


async def _check_not_last_admin(store: Store, account: Account) -> None:
    admins = [each.name for each in await store.accounts() if each.role == "admin"]
    if admins == [account.name]:
        raise ConfigurationError("the account's name", account.name, "any but the last admin; make another one first")
