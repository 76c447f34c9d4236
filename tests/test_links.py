"""Personal links on their way: made by a command, handed out, taken apart by a client, used at a server."""

from __future__ import annotations

import argparse
import io
import logging
import os
import random
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from signaling_rig import Caller, callers, listening_server

from p2pclient.cli.main import main
from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.join_link import MAX_LINK_CHARS, with_link
from p2pclient.common.lobby_messages import Join, LastMatch, Waiting, Welcome
from p2pclient.runtime.bookmark import Bookmark, Command, link_mark
from p2pclient.runtime.results import error_screen
from p2pclient.settings.place import link_of, server_urls_of
from p2pclient.settings.tandem_file import TandemFile
from signaling.identity import JoinPolicy, check_link, make_link, refusal, split_link
from signaling.room_state import Rules
from signaling.store.folder import LINK_SECRET, secret_of
from signaling.store.sqlite import SqliteStore

Say = Callable[[str], None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Standard input says this."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


# -- the command ------------------------------------------------------------------------------------------------------


def test_links_are_printed_for_labels_and_good_at_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: Say
) -> None:
    typed("P-02\n\n  P-03 \r\n")
    words = ["link", "--data", str(tmp_path), "--url", "http://10.0.0.1:8765", "--expires", "2h", "--once"]
    assert main([*words, "--attribute", "group=A=1", "P-01", "-"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [label for label, _ in rows] == ["P-01", "P-02", "P-03"]
    secret, now = secret_of(tmp_path, LINK_SECRET), time.time()
    ids = set()
    for label, address in rows:
        url, link = split_link(address)
        assert url == "http://10.0.0.1:8765"
        assert link is not None
        claims = check_link(secret, link, now=now)
        assert (claims.label, claims.attributes) == (label, {"group": "A=1"})
        assert claims.expires is not None
        assert now + 3600 < claims.expires <= now + 7200
        ids.add(claims.link_id)
    assert len(ids - {None}) == 3


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["P-01", "a/b"], "a label is 'a/b'"),
        (["P-01", "p-01"], "each once"),
        ([], "the labels"),
        (["P-01", "--attribute", "group"], "NAME=VALUE"),
    ],
)
def test_no_link_is_printed_if_one_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], what: str
) -> None:
    assert main(["link", "--data", str(tmp_path), *words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert what in printed.err


@pytest.mark.parametrize("time_text", ["", "7", "d", "-1d", "0h", "1.5h", "9999999d", "²d"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, time_text: str) -> None:
    with pytest.raises(SystemExit):
        main(["link", "--data", str(tmp_path), f"--expires={time_text}", "P-01"])


def test_secret_that_signs_is_its_owners_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    assert main(["link", "--data", str(folder), "P-01"]) == 0
    assert capsys.readouterr().out.startswith("P-01\t1.")
    if sys.platform != "win32":
        assert stat.S_IMODE((folder / LINK_SECRET).stat().st_mode) == 0o600


# -- the client's side ------------------------------------------------------------------------------------------------


def words(url: str | None, link: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(url=url, link=link)


def test_link_is_found_behind_the_address_or_by_itself() -> None:
    text = "1.abc.def"
    whole = with_link("http://lab:8765", text)
    assert (link_of(words(whole), TandemFile()), server_urls_of(whole)) == (text, ("http://lab:8765",))
    assert link_of(words(None, text), TandemFile()) == text
    assert link_of(words("lab", whole), TandemFile()) == text
    assert link_of(words(None), TandemFile(server=whole)) == text
    assert link_of(words("lab"), TandemFile(server=whole)) is None, "the file's server is not meant, nor its link"
    assert link_of(words("http://lab:8765"), TandemFile()) is None


@pytest.mark.parametrize("text", ["http://lab:8765#join=", "lab#join=" + "x" * (MAX_LINK_CHARS + 1), "lab#join=a\x00b"])
def test_what_cannot_be_a_link_is_said_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="the whole of what you were given") as caught:
        link_of(words(text), TandemFile())
    assert "xxx" not in str(caught.value)


def test_two_links_are_one_too_many() -> None:
    with pytest.raises(ConfigurationError, match="one link"):
        link_of(words("lab#join=1.a.b", "1.a.c"), TandemFile())


def test_note_of_a_client_is_taken_by_the_same_link_only_and_does_not_hold_it(tmp_path: Path) -> None:
    def bookmark(link: str | None) -> Bookmark:
        return Bookmark(tmp_path, Command(url="u", label="", bot=None, link=link_mark(link)))

    bookmark("1.abc.def").put(LastMatch(match_id="m", client_id="c"), "t" * 43)
    (note,) = tmp_path.iterdir()
    said = note.read_text()
    assert "1.abc.def" not in said
    note.write_text(said.replace(f'"process":{os.getpid()}', '"process":999999999'))  # as if its process had ended
    assert bookmark("1.abc.xyz").take() is None
    assert bookmark(None).take() is None
    assert bookmark("1.abc.def").take() == LastMatch(match_id="m", client_id="c")


def test_who_has_taken_part_is_thanked() -> None:
    screen = error_screen(refusal("already-finished"), None)
    assert screen.title == "Thank you for taking part"
    assert error_screen(refusal("link-expired"), None).title == "This did not work"


# -- over a real server -----------------------------------------------------------------------------------------------


async def test_link_for_one_use_over_restarts_of_a_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tandem")
    rules = Rules(join=JoinPolicy(links_only=True))
    link = make_link(secret_of(tmp_path, LINK_SECRET), "P-01", entropy=random.Random(1), single_use=True)
    a = Caller()
    async with listening_server(data=tmp_path, rules=rules) as first:
        await a.client.connect(first.urls[0])
        with pytest.raises(SignalingError, match="personal link only"):
            await a.client.join(Join())
        welcome = await a.client.join(Join(link=link))
        await a.next(Waiting)
        async with callers(first.urls[0], 1) as (b,):
            with pytest.raises(SignalingError, match="has been used already"):
                await b.client.join(Join(link=link))
    try:
        await a.until(lambda: not a.client.connected)
        async with listening_server(data=tmp_path, rules=rules, port=first.port) as second:
            assert (await a.next(Welcome)).client_id == welcome.client_id, "it comes back by itself"
            async with callers(second.urls[0], 1) as (b,):
                with pytest.raises(SignalingError, match="has been used already"):
                    await b.client.join(Join(link=link))
    finally:
        await a.client.close()
    store = SqliteStore(tmp_path, serve=False, program="test")
    assert list((await store.used_links()).values()) == [welcome.client_id]
    assert [each.label for each in await store.participants("study")] == ["P-01"]
    await store.close()
    assert link not in caplog.text
    assert link.split(".")[1] not in caplog.text


async def test_use_that_cannot_be_kept_gives_no_place(tmp_path: Path) -> None:
    link = make_link(secret_of(tmp_path, LINK_SECRET), "P-01", entropy=random.Random(1), single_use=True)
    claims = check_link(secret_of(tmp_path, LINK_SECRET), link, now=time.time())
    async with listening_server(data=tmp_path) as listening, callers(listening.urls[0], 1) as (a,):
        store = listening.server._store
        assert isinstance(store, SqliteStore)
        await store._read(lambda connection: connection.execute("PRAGMA query_only = 1").fetchone())
        with pytest.raises(SignalingError) as caught:
            await a.client.join(Join(link=link))
        assert caught.value.code == "server-error"
        assert not a.client.take_messages()
        assert await store.used_links() == {}
    async with listening_server(data=tmp_path) as listening, callers(listening.urls[0], 1) as (b,):
        await b.client.join(Join(link=link))  # it is still good
        store = listening.server._store
        assert isinstance(store, SqliteStore)
        assert set(await store.used_links()) == {claims.link_id}
        assert [each.label for each in await store.participants("study")] == ["P-01"]
