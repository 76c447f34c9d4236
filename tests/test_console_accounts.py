"""The console's accounts, the data folder's secrets, and the commands that a researcher types about both."""

from __future__ import annotations

import asyncio
import io
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pclient.cli.main import main
from p2pclient.common.errors import ConfigurationError, StoreError
from signaling.accounts import FIRST_ACCOUNT, ScryptPasswords, first_account, remove_account, set_account
from signaling.passwords import Cost
from signaling.store.folder import LINK_SECRET, SECRET_BYTES, secret_of
from signaling.store.interface import Account, AuditLine, ConsoleSession
from signaling.store.memory import MemoryStore
from signaling.store.sqlite import SqliteStore

CHEAP = ScryptPasswords(Cost(log2_n=4, r=1, p=1, iterations=10))

# -- accounts ---------------------------------------------------------------------------------------------------------


async def test_the_first_account_is_made_once_and_its_password_is_kept_nowhere() -> None:
    store = MemoryStore()
    password = await first_account(store, now=5.0, passwords=CHEAP)
    assert password is not None
    (account,) = await store.accounts()
    assert (account.name, account.role, account.created_at) == (FIRST_ACCOUNT, "admin", 5.0)
    assert CHEAP.verify(password, account.password_hash)
    assert password not in repr((await store.accounts(), await store.audit()))
    assert await first_account(store, now=6.0, passwords=CHEAP) is None
    assert await store.accounts() == (account,)


async def test_an_account_can_be_changed_in_part_and_the_audit_says_so() -> None:
    store = MemoryStore()
    assert await set_account(store, "ada", role="admin", password="first-one", by="x", now=1.0, passwords=CHEAP)
    assert await set_account(store, "bob", password="another-one", by="x", now=1.0, passwords=CHEAP)
    before = await store.account("bob")
    assert before is not None
    assert before.role == "viewer"
    assert not await set_account(store, "bob", role="operator", by="ada", now=2.0, passwords=CHEAP)
    after = await store.account("bob")
    assert after is not None
    assert (after.role, after.password_hash, after.created_at, after.changed_at) == (
        "operator", before.password_hash, 1.0, 2.0,
    )  # fmt: skip
    facts = {"role": "operator", "new": False, "password": "as before"}
    assert (await store.audit())[-1] == AuditLine(
        at=2.0, by="ada", action="account", target="bob", facts=facts, number=3
    )


async def test_a_new_password_ends_the_sessions_and_another_role_does_not() -> None:
    store = MemoryStore()
    await set_account(store, "ada", role="admin", password="first-one", by="x", now=1.0, passwords=CHEAP)
    await store.write([ConsoleSession(token_hash="0a" * 32, account="ada", expires_at=100.0)])
    await set_account(store, "ada", role="admin", by="x", now=2.0, passwords=CHEAP)
    assert await store.session("0a" * 32, now=3.0) is not None
    await set_account(store, "ada", password="second-one", by="x", now=2.0, passwords=CHEAP)
    assert await store.session("0a" * 32, now=3.0) is None


async def test_the_last_admin_stays() -> None:
    store = MemoryStore()
    for name, role in (("ada", "admin"), ("bob", "operator")):
        await set_account(store, name, role=role, password="long-enough", by="x", now=1.0, passwords=CHEAP)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="last admin"):
        await remove_account(store, "ada", by="x", now=2.0)
    with pytest.raises(ConfigurationError, match="last admin"):
        await set_account(store, "ada", role="viewer", by="x", now=2.0)
    await set_account(store, "bob", role="admin", by="x", now=3.0)
    await remove_account(store, "ada", by="x", now=4.0)
    assert [(each.name, each.role) for each in await store.accounts()] == [("bob", "admin")]
    assert (await store.audit())[-1].action == "account-removed"


@pytest.mark.parametrize(
    ("name", "fields", "what"),
    [
        ("../x", {"password": "long-enough"}, "name"),
        ("", {"password": "long-enough"}, "name"),
        ("x" * 65, {"password": "long-enough"}, "name"),
        ("ada", {"password": "short"}, "password"),
        ("ada", {}, "password"),
        ("ada", {"password": "long-enough", "role": "root"}, "role"),
    ],
)
async def test_what_may_not_be_an_account_is_named(name: str, fields: dict[str, str], what: str) -> None:
    store = MemoryStore()
    with pytest.raises(ConfigurationError, match=what):
        await set_account(store, name, by="x", now=1.0, passwords=CHEAP, **fields)  # type: ignore[arg-type]
    assert (await store.accounts(), await store.audit()) == ((), ())


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_made_once_and_is_another_in_another_folder(tmp_path: Path) -> None:
    first = secret_of(tmp_path / "a", LINK_SECRET)
    assert len(first) == SECRET_BYTES
    assert secret_of(tmp_path / "a", LINK_SECRET) == first
    assert secret_of(tmp_path / "b", LINK_SECRET) != first
    assert [path.name for path in (tmp_path / "a").iterdir()] == [LINK_SECRET]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps others out by the user's folder")
def test_a_secret_is_for_its_owner_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret_of(tmp_path, LINK_SECRET)
    path = tmp_path / LINK_SECRET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert caplog.text == ""
    path.chmod(0o644)
    secret = secret_of(tmp_path, LINK_SECRET)
    assert "chmod 600" in caplog.text
    assert secret.hex() not in caplog.text


@pytest.mark.parametrize("text", ["", "abc\n", "g" * 64 + "\n", "a" * 64])
def test_a_damaged_secret_is_not_replaced_unasked(tmp_path: Path, text: str) -> None:
    (tmp_path / LINK_SECRET).write_text(text, newline="\n")
    with pytest.raises(StoreError, match="is damaged"):
        secret_of(tmp_path, LINK_SECRET)
    assert (tmp_path / LINK_SECRET).read_text() == text


# -- the commands -----------------------------------------------------------------------------------------------------

Say = Callable[[str], None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Return what puts a text on the standard input of the next command."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_accounts_are_added_listed_changed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signaling.accounts.ScryptPasswords", lambda: CHEAP)  # as costly a one is timed elsewhere
    account = ["account", "--data", str(tmp_path / "data")]
    for name, role in (("ada", "admin"), ("bob", "viewer")):
        typed(f"password of {name}\n")
        assert main([*account, "add", name, "--role", role, "--password-stdin"]) == 0
    typed("another one\r\n")
    assert main([*account, "set", "bob", "--role", "operator", "--password-stdin"]) == 0
    capsys.readouterr()
    assert main([*account, "list"]) == 0
    assert capsys.readouterr().out == "ada\tadmin\nbob\toperator\n"
    assert main([*account, "remove", "bob"]) == 0
    assert main([*account, "remove", "ada"]) == 1
    assert "last admin" in capsys.readouterr().err


def test_an_account_can_be_made_beside_a_running_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signaling.accounts.ScryptPasswords", lambda: CHEAP)

    async def serve() -> Account | None:
        server = SqliteStore(tmp_path)
        typed(" long enough \nmore\n")
        words = ["account", "--data", str(tmp_path), "add", "ada", "--role", "admin", "--password-stdin"]
        assert await asyncio.to_thread(main, words) == 0
        account = await server.account("ada")
        await server.close()
        return account

    account = asyncio.run(serve())
    assert account is not None
    assert CHEAP.verify(" long enough ", account.password_hash)
    assert "long enough" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text", "what"),
    [
        (["add", "ada", "--password-stdin"], "\n", "password on standard input"),
        (["add", "ada", "--password-stdin"], "short\n", "8 to 256 characters"),
        (["add", "ada"], "", "no terminal"),
        (["add", "a/b", "--password-stdin"], "long enough\n", "name"),
        (["set", "ada", "--role", "viewer"], "", "`add` makes an account"),
        (["remove", "ada"], "", "no accounts yet"),
    ],
)
def test_what_cannot_be_done_with_an_account_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: Say, words: list[str], text: str, what: str
) -> None:
    typed(text)
    assert main(["account", "--data", str(tmp_path), *words]) == 1
    error = capsys.readouterr().err
    assert what in error
    assert not text.strip() or text.strip() not in error


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["account", "--data", str(tmp_path / "nowhere"), "list"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
