"""The console over HTTP and WebSocket, as a browser and as somebody hostile would use it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from console_rig import (
    PASSWORDS,
    QUICK,
    RehearsedRoom,
    make_console,
    running_app,
    running_console,
    store_with_accounts,
)
from starlette.applications import Starlette

from p2pclient.common.errors import SignalingError, StoreError
from signaling.accounts import ScryptPasswords, remove_account, set_account
from signaling.actions import Hold, PauseMatch
from signaling.console.desk import RoomDesk
from signaling.console.login import SESSION_S, Clocks, Login
from signaling.console.viewer import LOGGED_OUT, MOST_ANSWERS, NOT_UNDERSTOOD, TOO_SLOW, Answer, Viewer
from signaling.effects import Effect, Noted
from signaling.rows import RoomRow
from signaling.store.interface import Account
from signaling.store.memory import MemoryStore
from signaling.web import WebApp

MATCH = "0001-51f0a9c2"


@dataclass
class Site:
    """A running console, what is behind it, and a browser's session."""

    url: str
    room: RehearsedRoom
    store: MemoryStore
    session: aiohttp.ClientSession

    async def log_in(self, name: str = "ada", password: str | None = None, *, origin: str | None = None) -> int:
        form = {"name": name, "password": PASSWORDS[name][1] if password is None else password}
        headers = {"Origin": origin or self.url}
        async with self.session.post(
            f"{self.url}/console/login", data=form, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status

    async def get(self, path: str) -> aiohttp.ClientResponse:
        async with self.session.get(self.url + path, allow_redirects=False) as answer:
            await answer.read()
            return answer

    @contextlib.asynccontextmanager
    async def feed(self, *, origin: str | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        headers = {"Origin": origin or self.url}
        async with asyncio.timeout(20), self.session.ws_connect(f"{self.url}/console/feed", headers=headers) as socket:
            yield socket


async def next_of(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    while True:
        message = json.loads(await socket.receive_str())
        if message["type"] == kind:
            return message  # type: ignore[no-any-return]


async def ask(socket: aiohttp.ClientWebSocketResponse, action: object, number: int = 1) -> dict[str, Any]:
    await socket.send_str(json.dumps({"id": number, "action": action}))
    answer = await next_of(socket, "answer")
    assert answer["id"] == number
    return answer


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("signaling.console.feed.PERIOD_S", 0.1)  # nobody reads along
    room, store = RehearsedRoom(), await store_with_accounts()
    jar = aiohttp.CookieJar(unsafe=True)
    async with running_console(room, store) as url, aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Site(url, room, store, session)


# -- logging in -------------------------------------------------------------------------------------------------------


async def test_only_who_logged_in_sees_the_console(site: Site) -> None:
    assert (await site.get("/console")).headers["Location"] == "/console/login"
    assert (await site.get(f"/console/history?match={MATCH}")).status == 401
    assert (await site.get("/console/audit")).status == 401
    assert (await site.get("/console/login")).status == 200
    assert await site.log_in() == 303
    page = await site.get("/console")
    assert page.status == 200
    assert "console.js" in await page.text()
    assert (await site.get("/console/login")).headers["Location"] == "/console"


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site) -> None:
    form, headers = {"name": "ada", "password": PASSWORDS["ada"][1]}, {"Origin": site.url}
    async with site.session.post(
        f"{site.url}/console/login", data=form, headers=headers, allow_redirects=False
    ) as answer:
        cookie = answer.headers["Set-Cookie"]
    name = f"tandem_console_{site.url.rpartition(':')[2]}"
    assert cookie.startswith(f"{name}=")
    assert {"httponly", "samesite=strict", "path=/console"} <= {each.strip().lower() for each in cookie.split(";")}


async def test_under_tls_the_session_cookie_is_never_sent_without() -> None:
    console, sent = make_console(RehearsedRoom(), await store_with_accounts()), []
    headers = [(b"host", b"lab:8765"), (b"origin", b"https://lab:8765")]
    scope = {"type": "http", "method": "POST", "path": "/console/login", "headers": headers, "scheme": "https"}
    scope |= {"server": ("lab", 8765), "client": ("10.0.0.9", 1), "query_string": b"", "root_path": ""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"name=vi&password=look", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await Starlette(routes=console.routes())(scope, receive, send)
    assert sent[0]["status"] == 303
    assert b"; secure" in dict(sent[0]["headers"])[b"set-cookie"].lower()


async def test_pages_forbid_what_they_do_not_need(site: Site) -> None:
    for path in ("/console", "/console/login", "/console/static/console.js", "/metrics"):
        headers = (await site.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


async def test_a_wrong_password_is_refused_the_same_way_as_a_name_that_nobody_has(site: Site) -> None:
    pages = []
    for name in ("ada", "nobody"):
        form = {"name": name, "password": "wrong"}
        async with site.session.post(f"{site.url}/console/login", data=form, headers={"Origin": site.url}) as answer:
            assert answer.status == 401
            assert "Set-Cookie" not in answer.headers
            pages.append((await answer.text()).replace(name, "?"))
    assert pages[0] == pages[1]
    assert (await site.get("/console")).status == 303


async def test_too_many_wrong_passwords_must_wait_and_the_right_one_too(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert [await site.log_in("ada", "wrong password") for _ in range(3)] == [401] * 3
    assert [await site.log_in("ada", "wrong password") for _ in range(2)] == [429] * 2
    assert await site.log_in() == 429
    lines = await site.store.audit()
    found = [(line.by, line.action, line.target, line.facts) for line in lines]
    facts = {"address": "127.0.0.1", "outcome": "wrong-password"}
    assert found == [("server", "login", "ada", facts)] * 3  # those who may not even try do not fill the log
    assert "wrong password" not in caplog.text


async def test_a_password_that_was_typed_as_a_name_is_not_written_down(site: Site) -> None:
    form = {"name": "my secret password", "password": ""}
    async with site.session.post(f"{site.url}/console/login", data=form, headers={"Origin": site.url}) as answer:
        assert answer.status == 401
    (line,) = await site.store.audit()
    assert line.facts["outcome"] == "wrong-password"
    assert "secret" not in repr(line)


async def test_a_store_that_fails_lets_nobody_in_and_shows_no_paths(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*arguments: object, **options: object) -> None:
        raise StoreError("/srv/lab/data.sqlite cannot be read.")

    await site.log_in()
    site.store.session = fail  # type: ignore[method-assign,assignment]
    answer = await site.get("/console")
    assert answer.status == 503
    assert "/srv/lab" not in await answer.text()
    assert "/srv/lab/data.sqlite" in caplog.text


async def test_only_so_many_log_ins_are_checked_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    going, may_go = threading.Semaphore(0), threading.Event()

    def verify(self: object, password: str, hashed: str) -> bool:
        going.release()
        return may_go.wait(20)

    monkeypatch.setattr(ScryptPasswords, "verify", verify)
    monkeypatch.setattr("signaling.console.login.MOST_AT_ONCE", 1)
    first = asyncio.create_task(site.log_in("ada"))
    await asyncio.to_thread(going.acquire)
    assert await site.log_in("olu") == 429
    may_go.set()
    assert await first == 303


async def test_a_password_hash_that_cannot_be_read_is_said_and_lets_nobody_in(site: Site) -> None:
    await site.store.write([Account(name="ada", password_hash="damaged", role="admin")])
    assert await site.log_in() == 401
    assert (await site.get("/console")).status == 303


async def test_sessions_outlive_a_restart_and_only_their_hashes_are_kept() -> None:
    store, jar = await store_with_accounts(), aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        async with running_console(RehearsedRoom(), store) as url:
            assert await Site(url, RehearsedRoom(), store, session).log_in() == 303
        (token,) = [cookie.value for cookie in jar]
        assert token not in repr(store._rows)
        login = Login(store, QUICK, clocks=Clocks(now=lambda: 0.0, epoch=time.time))
        found = await login.find(token)
        assert found is not None
        assert found.account.name == "ada"
        late = Login(store, QUICK, clocks=Clocks(now=lambda: 0.0, epoch=lambda: time.time() + SESSION_S))
        assert await late.find(token) is None
        await set_account(store, "ada", by="test", now=0.0, password="another one", passwords=QUICK)
        assert await login.find(token) is None


@pytest.mark.parametrize("token", ["", "x", "x" * 65, "é" * 9, "\ud800", "' OR 1=1 --"])
async def test_what_is_no_token_is_nobody(token: str) -> None:
    login = Login(await store_with_accounts(), QUICK, clocks=Clocks(now=lambda: 0.0, epoch=time.time))
    assert await login.find(token) is None


async def test_a_name_is_shown_again_as_text(site: Site) -> None:
    form = {"name": '"><script>alert(1)</script>', "password": "x"}
    async with site.session.post(f"{site.url}/console/login", data=form, headers={"Origin": site.url}) as answer:
        text = await answer.text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "ftp://{host}", "http://["])
async def test_forms_and_feeds_of_other_sites_are_refused(site: Site, origin: str) -> None:
    origin = origin.replace("{host}", site.url.removeprefix("http://"))
    assert await site.log_in(origin=origin) == 403
    assert await site.log_in() == 303
    async with site.session.post(f"{site.url}/console/logout", headers={"Origin": origin}) as answer:
        assert answer.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with site.feed(origin=origin):
            pass
    assert refused.value.status == 403
    assert (await site.get("/console")).status == 200


async def test_forms_that_are_none_are_refused(site: Site) -> None:
    for body in (
        b"",
        b"name=ada",
        b"name=a&name=b&password=c",
        b"\xff\xfe",
        b"a=1&" * 50,
        b"name=a&password=" + b"x" * 9000,
    ):
        async with site.session.post(
            f"{site.url}/console/login", data=body, headers={"Origin": site.url}, allow_redirects=False
        ) as answer:
            assert answer.status == 400
    assert await site.store.audit() == ()


async def test_logging_out_ends_the_session_everywhere(site: Site) -> None:
    await site.log_in()
    cookies = {cookie.key: cookie.value for cookie in site.session.cookie_jar}
    async with site.feed() as socket:
        await next_of(socket, "room")
        async with site.session.post(
            f"{site.url}/console/logout", headers={"Origin": site.url}, allow_redirects=False
        ) as answer:
            assert answer.headers["Location"] == "/console/login"
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == LOGGED_OUT
    site.session.cookie_jar.update_cookies(cookies)
    assert (await site.get("/console")).status == 303


async def test_a_changed_account_counts_at_once(site: Site) -> None:
    await site.log_in("olu")
    async with site.feed() as socket:
        await next_of(socket, "room")
        await set_account(site.store, "olu", by="test", now=0.0, role="viewer")
        refused = await ask(socket, {"kind": "hold"})
        assert refused["ok"] is False
        assert "role operator" in refused["message"]
        await remove_account(site.store, "olu", by="test", now=0.0)
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == LOGGED_OUT


# -- files ------------------------------------------------------------------------------------------------------------


async def test_only_the_page_s_own_files_are_served(site: Site) -> None:
    script = await site.get("/console/static/console.js")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    for name in ("../pages.py", "..%2fpages.py", "%2e%2e%2fpages.py", "pages.py", "console.js/", "", "\x00", "con"):
        assert (await site.get(f"/console/static/{name}")).status in (404, 307, 400)
    async with site.session.get(
        f"{site.url}/console/static/console.js", headers={"If-None-Match": script.headers["ETag"]}
    ) as answer:
        assert answer.status == 304


async def test_a_server_s_own_pages_stay_beside_the_console() -> None:
    async def no_sockets(*arguments: object) -> None:
        raise AssertionError("not a client")

    app = WebApp(no_sockets, health=lambda: {"ok": True}, max_links=1)
    app.add_routes(make_console(RehearsedRoom(), await store_with_accounts()).routes())
    async with running_app(app) as url, aiohttp.ClientSession() as session:
        for path, word in (("/healthz", "true"), ("/console", "Log in"), ("/metrics", "tandem_"), ("/", "tandem join")):
            async with session.get(url + path) as answer:
                assert answer.status == 200
                assert word in await answer.text()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{url}/console/feed")


async def test_an_action_s_effects_are_carried_out_before_it_is_answered() -> None:
    done: list[object] = []

    class Room:
        def row(self, *, now: float, epoch: float) -> RoomRow:
            return RoomRow(at=epoch + now)

        def act(self, action: object, *, by: str, now: float) -> tuple[str, list[Effect]]:
            done.append((action, by, now))
            return "a7", [Noted("held", {})]

    async def carry_out(effects: Sequence[Effect]) -> None:
        done.extend(effects)

    desk = RoomDesk(Room(), carry_out)
    assert await desk.act(Hold(), by="ada", now=3.0) == "a7"
    assert done == [(Hold(), "ada", 3.0), Noted("held", {})]
    assert desk.row(now=1.0, epoch=2.0).at == 3.0


async def test_metrics_are_there_without_logging_in(site: Site) -> None:
    answer = await site.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'tandem_participants{state="playing"}' in await answer.text()


# -- the feed ---------------------------------------------------------------------------------------------------------


async def test_feed_shows_the_room_again_and_again(site: Site) -> None:
    await site.log_in("vi")
    async with site.feed() as socket:
        hello = await next_of(socket, "hello")
        assert (hello["account"], hello["role"], hello["may_act"], hello["may_audit"]) == ("vi", "viewer", False, False)
        shown = [await next_of(socket, "room") for _ in range(3)]
        assert shown[0]["room"]["at"] < shown[2]["room"]["at"]
        assert [each["state"] for each in shown[2]["room"]["matches"]] == ["ended", "playing", "playing", "playing"]
        assert shown[2]["room"]["participants"][6]["label"] == site.room.label


async def test_feed_without_a_session_says_nothing_but_that(site: Site) -> None:
    async with site.feed() as socket:
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == LOGGED_OUT


async def test_an_action_is_done_answered_shown_soon_and_written_down(site: Site) -> None:
    await site.log_in("olu")
    async with site.feed() as socket:
        await next_of(socket, "room")
        answer = await ask(socket, {"kind": "pause", "match": MATCH}, 17)
        assert answer == {"type": "answer", "id": 17, "ok": True, "message": "a1"}
        shown = await next_of(socket, "room")
        while not shown["room"]["actions"]:
            shown = await next_of(socket, "room")
        assert shown["room"]["actions"][0]["by"] == "olu"
    assert site.room.acted == [(PauseMatch(match=MATCH), "olu")]
    (line,) = await site.store.audit(limit=1)
    assert (line.by, line.action, line.target) == ("olu", "pause", MATCH)
    assert line.facts == {
        "address": "127.0.0.1",
        "outcome": "ok",
        "study": "study",
        "id": "a1",
        "action": {"kind": "pause", "match": MATCH},
    }


async def test_what_an_action_changed_is_shown_before_the_next_full_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.console.feed.PERIOD_S", 3600.0)
    jar = aiohttp.CookieJar(unsafe=True)
    async with running_console(RehearsedRoom()) as url, aiohttp.ClientSession(cookie_jar=jar) as session:
        site = Site(url, RehearsedRoom(), MemoryStore(), session)
        await site.log_in("olu")
        async with site.feed() as socket:
            assert (await next_of(socket, "room"))["room"]["actions"] == []
            await ask(socket, {"kind": "hold"})
            shown = await next_of(socket, "room")
            assert [action["kind"] for action in shown["room"]["actions"]] == ["hold"]


async def test_a_viewer_may_not_act_and_the_try_is_written_down(site: Site) -> None:
    await site.log_in("vi")
    async with site.feed() as socket:
        answer = await ask(socket, {"kind": "end", "match": MATCH})
    assert (answer["ok"], answer["message"]) == (False, "This needs the role operator; yours is viewer.")
    assert site.room.acted == []
    (line,) = await site.store.audit(limit=1)
    assert (line.action, line.facts["outcome"]) == ("end", "not-allowed")


async def test_what_the_room_refuses_is_said_and_written_down(site: Site) -> None:
    await site.log_in("olu")
    site.room.refuse = SignalingError("no-match", "That match is over.")
    async with site.feed() as socket:
        answer = await ask(socket, {"kind": "end", "match": MATCH})
    assert (answer["ok"], answer["message"]) == (False, "That match is over.")
    assert (await site.store.audit(limit=1))[0].facts["outcome"] == "no-match"


async def test_a_bug_in_an_action_is_logged_and_ends_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.log_in("olu")
    site.room.refuse = ZeroDivisionError("a bug")  # type: ignore[assignment]
    async with site.feed() as socket:
        answer = await ask(socket, {"kind": "hold"})
        assert not answer["ok"]
        assert "a bug" not in answer["message"]
        assert "a bug" in caplog.text
        site.room.refuse = None
        assert (await ask(socket, {"kind": "hold"}, 2))["ok"]
    assert [line.facts["outcome"] for line in await site.store.audit(limit=2)] == ["server-error", "ok"]


async def test_an_action_that_cannot_be_written_down_is_not_called_done(site: Site) -> None:
    await site.log_in("olu")

    async def fail(records: object) -> None:
        raise StoreError("The disk is full.")

    async with site.feed() as socket:
        await next_of(socket, "room")
        site.store.write = fail  # type: ignore[method-assign]
        answer = await ask(socket, {"kind": "hold"})
    assert answer["ok"] is False
    assert "The disk is full." in answer["message"]


@pytest.mark.parametrize(
    "action",
    [
        {"kind": "explode"},
        {"kind": "pause"},
        {"kind": "pause", "match": "../../etc"},
        {"kind": "pause", "match": 5},
        {"kind": "pair", "participants": []},
        {"kind": "pair", "participants": ["a"] * 99},
        {"kind": "extend", "match": MATCH, "seconds": -1},
        {"kind": "extend", "match": MATCH, "seconds": 1e300},
        {"kind": "tell", "text": "x" * 1001},
        {"kind": "hold", "more": 1},
        None,
        [],
        "hold",
    ],
)
async def test_an_action_that_is_none_is_refused_and_the_feed_goes_on(site: Site, action: object) -> None:
    await site.log_in("olu")
    async with site.feed() as socket:
        assert (await ask(socket, action))["ok"] is False
        assert (await ask(socket, {"kind": "hold"}, 2))["ok"] is True
    assert len(site.room.acted) == 1


LONG = '{"id": 1, "more": "' + "x" * 20000 + '"}'


@pytest.mark.parametrize("text", ["", "{", "[1]", LONG, '{"id": -1}', '{"id": true}', '{"id": "1"}', "[" * 9000])
async def test_what_is_no_request_ends_the_feed(site: Site, text: str) -> None:
    await site.log_in("olu")
    async with site.feed() as socket:
        await socket.send_str(text)
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == NOT_UNDERSTOOD


async def test_a_flood_of_actions_is_slowed_down(site: Site) -> None:
    await site.log_in("olu")
    async with site.feed() as socket:
        answers = [await ask(socket, {"kind": "hold"}, number) for number in range(40)]
    assert answers[0]["ok"]
    assert sum(answer["ok"] for answer in answers) < 40
    assert len(site.room.acted) == sum(answer["ok"] for answer in answers)
    assert "Too many" in next(answer["message"] for answer in answers if not answer["ok"])


async def test_a_console_that_takes_nothing_gets_only_the_newest_room_then_and_is_closed_if_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken, may_take, enough = [], asyncio.Event(), asyncio.Event()

    class SlowSocket:
        async def send_text(self, text: str) -> None:
            await may_take.wait()
            taken.append(text)
            if len(taken) == 3:
                enough.set()

    viewer = Viewer(SlowSocket(), None, "")  # type: ignore[arg-type]
    sending = asyncio.create_task(viewer.send_what_is_due())
    for number in range(6):
        viewer.show(b"room %d" % number)
        await asyncio.sleep(0)
    may_take.set()
    viewer.answer(Answer(id=1, ok=True, message="a1"))
    await enough.wait()
    assert taken[0] == "room 0"
    assert sorted(taken[1:])[0] == "room 5"
    assert '"id":1' in sorted(taken[1:])[1]
    may_take.clear()
    monkeypatch.setattr("signaling.console.viewer.SEND_TIMEOUT_S", 0.01)
    viewer.show(b"room 6")
    await sending
    assert viewer.closed_with == TOO_SLOW


async def test_a_console_that_asks_but_reads_no_answers_is_closed() -> None:
    viewer = Viewer(None, None, "")  # type: ignore[arg-type]
    for number in range(MOST_ANSWERS + 1):
        assert viewer.closed_with is None
        viewer.answer(Answer(id=number, ok=True, message=""))
    assert viewer.closed_with == TOO_SLOW


async def test_a_room_that_cannot_be_shown_is_logged_and_shown_again_later(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.log_in("vi")
    async with site.feed() as socket:
        await next_of(socket, "room")
        whole, failed = site.room.row, asyncio.Event()

        def fail(*, now: float, epoch: float) -> RoomRow:
            failed.set()
            raise ZeroDivisionError

        site.room.row = fail  # type: ignore[method-assign]
        await failed.wait()
        site.room.row = whole  # type: ignore[method-assign]
        await next_of(socket, "room")
    assert "could not be shown" in caplog.text


async def test_history_of_a_match_is_there_for_a_console_that_is_opened_later(site: Site) -> None:
    await site.log_in("vi")
    async with site.feed() as socket:
        for _ in range(2):
            await next_of(socket, "room")
    found = json.loads(await (await site.get(f"/console/history?match={MATCH}")).text())
    assert len(found["at"]) >= 1
    assert found["seats"]["0"]["rtt_ms"][-1] > 0
    assert json.loads(await (await site.get("/console/history?match=none")).text()) == {"at": [], "seats": {}}


async def test_the_audit_log_is_for_admins(site: Site) -> None:
    await site.log_in("olu")
    assert (await site.get("/console/audit")).status == 403
    await site.log_in("ada")
    found = json.loads(await (await site.get("/console/audit")).text())
    assert [(line["by"], line["action"]) for line in found["entries"]] == [("olu", "login"), ("ada", "login")]
