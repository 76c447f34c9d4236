"""Accounts, downloads and matches of earlier over HTTP: for whose role they are, by the rules, and written down."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from console_rig import PASSWORDS, RehearsedRoom, running_console, store_with_accounts

from p2pclient.common.match_settings import DEFAULT_STUDY
from signaling.console.archive import old_match, table
from signaling.console.records import LINES_AT_ONCE, MATCHES_SHOWN
from signaling.store.interface import AuditLine, Decision, Match, Record
from signaling.store.memory import MemoryStore

WORD = "a secret word"


class Admin:
    """A browser that is logged in, and the store behind the server."""

    def __init__(self, url: str, store: MemoryStore, session: aiohttp.ClientSession) -> None:
        self.url, self.store, self.session = url, store, session

    async def log_in(self, name: str) -> None:
        form = {"name": name, "password": PASSWORDS[name][1]}
        async with self.session.post(f"{self.url}/console/login", data=form, headers={"Origin": self.url}) as answer:
            assert answer.status == 200

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self.session.get(f"{self.url}/console/{path}") as answer:
            return answer.status, await answer.read()

    async def change(self, content: object, *, origin: str | None = None) -> tuple[int, str]:
        headers = {"Origin": origin or self.url}
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        async with self.session.post(f"{self.url}/console/accounts", data=data, headers=headers) as answer:
            return answer.status, (await answer.json())["message"]

    async def roles(self) -> dict[str, str]:
        return {each.name: each.role for each in await self.store.accounts()}

    async def audited(self, action: str) -> list[AuditLine]:
        return [each for each in await self.store.audit() if each.action == action]


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    store = await store_with_accounts()
    jar = aiohttp.CookieJar(unsafe=True)
    async with running_console(RehearsedRoom(), store) as url, aiohttp.ClientSession(cookie_jar=jar) as session:
        found = Admin(url, store, session)
        await found.log_in("ada")
        yield found


# -- accounts ---------------------------------------------------------------------------------------------------------


async def test_accounts_are_listed_made_changed_and_removed_and_each_is_written_down(admin: Admin) -> None:
    assert await admin.change({"does": "add", "name": "eve", "role": "operator", "password": WORD}) == (
        200,
        "eve is added.",
    )
    before = await admin.store.account("eve")
    assert (await admin.change({"does": "set", "name": "eve", "role": "admin"}))[0] == 200
    assert (await admin.change({"does": "set", "name": "eve", "password": f"{WORD}!"}))[0] == 200
    after = await admin.store.account("eve")
    assert before is not None
    assert after is not None
    assert (before.role, after.role) == ("operator", "admin")
    assert before.password_hash != after.password_hash
    status, shown = await admin.get("accounts")
    assert status == 200
    assert {each["name"]: each["role"] for each in json.loads(shown)["accounts"]} == await admin.roles()
    assert b"hash" not in shown
    assert await admin.change({"does": "remove", "name": "eve"}) == (200, "eve is removed.")
    assert "eve" not in await admin.roles()
    lines = [*await admin.audited("account"), *await admin.audited("account-removed")]
    assert [(each.by, each.target, each.facts["address"]) for each in lines] == [("ada", "eve", "127.0.0.1")] * 4
    assert WORD not in repr(await admin.store.audit())


async def test_a_new_password_ends_the_sessions_of_its_account(admin: Admin) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        vi = Admin(admin.url, admin.store, session)
        await vi.log_in("vi")
        assert (await vi.get("matches"))[0] == 200
        assert (await admin.change({"does": "set", "name": "vi", "password": WORD}))[0] == 200
        assert (await vi.get("matches"))[0] == 401


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"does": "add", "name": "olu", "role": "viewer", "password": WORD}, "one that is not there yet"),
        ({"does": "add", "name": "new", "role": "viewer"}, "for a new account"),
        ({"does": "add", "name": "new", "role": "viewer", "password": "short"}, "8 to"),
        ({"does": "add", "name": "a b", "role": "viewer", "password": WORD}, "letters, digits"),
        ({"does": "set", "name": "nobody", "role": "viewer"}, "one that is there"),
        ({"does": "set", "name": "olu"}, "a role, a password, or both"),
        ({"does": "set", "name": "ada", "role": "viewer"}, "the last admin"),
        ({"does": "remove", "name": "ada"}, "the last admin"),
        ({"does": "remove", "name": "nobody"}, "ada, olu, vi"),
    ],
)
async def test_what_tandem_account_refuses_is_refused_here_too(admin: Admin, change: dict[str, Any], says: str) -> None:
    before = await admin.store.accounts()
    status, message = await admin.change(change)
    assert status == 400
    assert says in message
    assert await admin.store.accounts() == before
    [line] = await admin.audited("account")
    assert line.facts["outcome"] == "refused"
    assert line.target == (change["name"] if change["name"] in PASSWORDS else "")  # it may be a password


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", {"does": "drop", "name": "vi"}, {"does": "remove", "name": "vi", "more": 1},
     {"does": "set", "name": "vi", "role": "king"}, {"does": "remove", "name": "x" * 65}, b"[" * 4000, b"x" * 20000],
)  # fmt: skip
async def test_what_is_no_change_is_refused(admin: Admin, content: object) -> None:
    assert (await admin.change(content))[0] == 400
    assert await admin.roles() == {name: role for name, (role, _) in PASSWORDS.items()}


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_form_of_another_site_changes_no_account(admin: Admin, origin: str) -> None:
    status, _ = await admin.change({"does": "remove", "name": "vi"}, origin=origin)
    assert status == 403
    assert "vi" in await admin.roles()


@pytest.mark.parametrize("name", ["vi", "olu"])
async def test_only_admins_see_accounts_and_logs_and_a_try_is_written_down(admin: Admin, name: str) -> None:
    await admin.log_in(name)
    for path in ("accounts", "audit", "download/audit.csv", "download/decisions.jsonl"):
        assert (await admin.get(path))[0] == 403, path
    assert (await admin.change({"does": "set", "name": name, "role": "admin"}))[0] == 403
    assert (await admin.roles())[name] == PASSWORDS[name][0]
    [line] = await admin.audited("account")
    assert (line.by, line.target, line.facts["outcome"]) == (name, name, "not-allowed")


async def test_who_is_not_logged_in_gets_nothing(admin: Admin) -> None:
    admin.session.cookie_jar.clear()
    for path in ("accounts", "audit", "matches", "download/audit.csv"):
        assert (await admin.get(path))[0] == 401, path
    assert (await admin.change({"does": "remove", "name": "vi"}))[0] == 401


# -- downloads --------------------------------------------------------------------------------------------------------


async def fill(store: MemoryStore, count: int) -> None:
    lines: Sequence[Record] = [
        AuditLine(at=float(number), by="ada", action="tell", target="=HYPERLINK(1)", facts={"n": number})
        for number in range(count)
    ]
    await store.write(lines)


async def test_the_whole_audit_log_can_be_taken_home(admin: Admin) -> None:
    await fill(admin.store, 2 * LINES_AT_ONCE + 7)
    _, content = await admin.get("download/audit.jsonl")
    lines = [json.loads(each) for each in content.splitlines()]
    assert [each["number"] for each in lines] == list(range(1, 2 * LINES_AT_ONCE + 7 + 3))  # with log-in and download
    assert lines[-1]["action"] == "download"
    assert lines[-1]["target"] == "audit.jsonl"


async def test_a_spreadsheet_takes_nothing_in_it_for_a_formula(admin: Admin) -> None:
    await fill(admin.store, 1)
    _, content = await admin.get("download/audit.csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [(row["action"], row["target"]) for row in rows] == [
        ("login", ""),
        ("tell", "'=HYPERLINK(1)"),
        ("download", "audit.csv"),
    ]
    assert rows[1]["time"] == "1970-01-01T00:00:00.000+00:00"
    assert json.loads(rows[1]["facts"]) == {"n": 0}
    assert table([["-1+1", 'a "b", c', 3]]) == b'\'-1+1,"a ""b"", c",3\r\n'


async def test_the_study_s_decisions_can_be_taken_home_and_no_others(admin: Admin) -> None:
    line = {"decision": "begun", "match": "0001-a", "proposal": "q1", "members": ["a", "b"]}
    await admin.store.write(
        [Decision(study_id=DEFAULT_STUDY, at=5.0, line=line), Decision(study_id="other", at=6.0, line=line)]
    )
    _, content = await admin.get("download/decisions.csv")
    [row] = csv.DictReader(io.StringIO(content.decode()))
    assert (row["decision"], row["match"], json.loads(row["facts"])) == ("begun", "0001-a", {"members": ["a", "b"]})
    assert json.loads((await admin.get("download/decisions.jsonl"))[1])["line"] == line
    for name in ("accounts.csv", "audit.xml", "audit", "..%2faudit.csv"):
        assert (await admin.get(f"download/{name}"))[0] == 404


# -- matches of earlier -----------------------------------------------------------------------------------------------


async def test_matches_of_earlier_are_read_page_by_page(admin: Admin) -> None:
    count = 2 * MATCHES_SHOWN + 3
    await admin.store.write(
        [
            Match(id=f"m{each}", study_id=DEFAULT_STUDY, state="ended", reason="complete", seats=("a",))
            for each in range(count)
        ]
    )
    seen: list[str] = []
    more, pages = True, 0
    while more:
        path = f"matches?before={seen[-1]}" if seen else "matches"
        page = json.loads((await admin.get(path))[1])
        seen += [each["id"] for each in page["matches"]]
        more, pages = page["more"], pages + 1
        assert page["counts"] == {"complete": count}
    assert seen == [f"m{each}" for each in reversed(range(count))]
    assert pages == 3
    assert json.loads((await admin.get("matches?before=nobody"))[1])["matches"] == []


def test_a_kept_match_is_shown_by_the_names_of_then() -> None:
    labels = {"a": ("P-1", "LAB01", False), "b": ("", "", True)}
    told = ({"verified_frames": 90, "desyncs": 1}, {"verified_frames": 88, "desyncs": 0}, {"verified_frames": "x"})
    kept = Match(
        id="m", study_id="s", state="ended", reason="left", seats=("a", "b"), results=told, started_at=10.0,
        ended_at=70.04, room={"seats": {"a": [1], "b": [0]}, "labels": labels, "condition": "fast"},
    )  # fmt: skip
    shown = old_match(kept)
    assert [(each.seat, each.label, each.station, each.bot) for each in shown.seats] == [
        (1, "P-1", "LAB01", False),
        (0, "", "", True),
    ]
    assert (shown.verified_frames, shown.desyncs, shown.running_for_s, shown.condition) == (88, 1, 60.0, "fast")
    assert old_match(Match(id="m", study_id="s", room={"labels": 3})).verified_frames is None
