"""The host's side of :mod:`p2pclient.envhost.hanging`: what it runs is noted where the client can see it."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from envs.account import ACCOUNT, ACCOUNT_BYTES, Account
from p2pclient.envhost.host_views import open_memory

_OF_A_FRAME = frozenset(("step", "save", "load"))
"""Commands whose first argument is one."""


def open_account(place: Optional[Dict[str, Any]]) -> Account:
    """Return this process's account, which is silent unless the client has memory for it."""
    if place is not None:
        try:
            ACCOUNT.open(open_memory(place, ACCOUNT_BYTES))
        except (OSError, ValueError) as error:
            print(f"What hangs cannot be named: the client's memory cannot be opened ({error}).", flush=True)
    return ACCOUNT


def note_commands(acts: Dict[str, Callable[..., Any]], account: Account) -> None:
    """Have each command of the table noted while it runs; they stay as they are if nobody reads the account."""
    if account.is_open:
        acts.update({name: _noted(name, act, account) for name, act in acts.items()})


def _noted(name: str, act: Callable[..., Any], account: Account) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        with account.of(name, arguments[0] if name in _OF_A_FRAME and arguments else None):
            return act(*arguments)

    return noted
