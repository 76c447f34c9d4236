"""``tandem account``: who may log in to the server's console."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from p2pclient.common.errors import ConfigurationError
from p2pclient.settings.flags import DEFAULT_DATA

if TYPE_CHECKING:
    from signaling.store.interface import Store

_ROLES = ("viewer", "operator", "admin")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, help=f"the server's folder (default: {DEFAULT_DATA})"
    )
    does = parser.add_subparsers(dest="does", metavar="WHAT", required=True)
    does.add_parser("list", help="who there is")
    for name, text in (("add", "make an account"), ("set", "give an account another password, role, or both")):
        sub = does.add_parser(name, help=text)
        sub.add_argument("name")
        sub.add_argument(
            "--role", choices=_ROLES, default="viewer" if name == "add" else None, help=_help_of_roles(name)
        )
        sub.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    does.choices["set"].add_argument("--password", action="store_true", help="ask for a new password")
    does.add_parser("remove", help="remove an account; whoever is logged in under it is logged out").add_argument(
        "name"
    )


def _help_of_roles(command: str) -> str:
    default = " (default: viewer)" if command == "add" else ""
    return f"viewer: look; operator: act; admin: also accounts and audit{default}"


def run(arguments: argparse.Namespace) -> int:
    """Do it, while the server runs or not."""
    if not arguments.data.is_dir() and arguments.does != "add":
        raise ConfigurationError("--data", str(arguments.data), "the folder that the server keeps its data in")
    asyncio.run(_run(arguments))
    return 0


@contextlib.asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[Store]:
    from signaling.store.sqlite import SqliteStore

    store = SqliteStore(folder, serve=False, program="tandem account")
    try:
        yield store
    finally:
        await store.close()


async def _run(arguments: argparse.Namespace) -> None:
    from signaling.accounts import check_known, remove_account, set_account

    by = f"{_user()} (tandem account)"
    if arguments.does in ("add", "set"):
        async with _opened(arguments.data) as store:
            known = await store.account(arguments.name) is not None
        check_known(arguments.name, known, is_new=arguments.does == "add")
        wanted = arguments.does == "add" or arguments.password or arguments.password_stdin
        # Asked for while the file is closed: a person may take a while, and the server may want to start.
        password = _ask(arguments.name, from_stdin=arguments.password_stdin) if wanted else None
        if password is None and arguments.role is None:
            raise ConfigurationError("what to set", "nothing", "--password, --password-stdin or --role")
        async with _opened(arguments.data) as store:
            new = await set_account(
                store, arguments.name, role=arguments.role, password=password, by=by, now=time.time()
            )
        print(f"{arguments.name}: {'made' if new else 'changed'}")
        return
    async with _opened(arguments.data) as store:
        if arguments.does == "remove":
            await remove_account(store, arguments.name, by=by, now=time.time())
            print(f"{arguments.name}: removed")
            return
        for account in await store.accounts():
            print(f"{account.name}\t{account.role}")


def _ask(name: str, *, from_stdin: bool) -> str:
    """Return a password that was typed twice without being shown, or the first line of standard input."""
    if from_stdin:
        line = sys.stdin.readline()
        if not line.strip("\r\n"):
            raise ConfigurationError("the password on standard input", "empty", "one line")
        return line.rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ConfigurationError("the password", "not asked for: no terminal", "a terminal, or --password-stdin")
    password = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise ConfigurationError("the password", "two different ones", "the same one twice")
    return password


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # an account of the system without a name
        return "someone"
