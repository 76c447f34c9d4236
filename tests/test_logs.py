"""Log lines for programs; what strangers cause; and that no secret is in any line, in either format."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signaling_rig import callers, listening_server, running_server

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Join, MatchResult
from p2pclient.runtime.json_logs import JsonFormatter
from p2pclient.runtime.logs import start_logging
from signaling.identity import make_link
from signaling.store.folder import LINK_SECRET, secret_of
from signaling.strangers import SAID_AGAIN_AFTER_S, StrangersLines, calm_uvicorn


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("tandem")
    before = root.handlers, ours.handlers, ours.level, ours.propagate
    yield
    root.handlers, ours.handlers, level, ours.propagate = before
    ours.setLevel(level)
    logging.captureWarnings(False)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def record(message: str, *arguments: Any, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("tandem.x", logging.INFO, __file__, 1, message, arguments, None)
    made.__dict__.update(fields)
    return made


def said(message: str, *arguments: Any, **fields: Any) -> dict[str, Any]:
    text = JsonFormatter().format(record(message, *arguments, **fields))
    assert "\n" not in text
    whole: dict[str, Any] = json.loads(text)
    return whole


def test_line_says_when_how_bad_where_and_what() -> None:
    made = record("matched %s", "m-1", fields={"match": "m-1", "waited": (0.5, float("inf"))}, extra="x")
    made.created = 1_700_000_000.25
    assert json.loads(JsonFormatter().format(made)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "tandem.x",
        "message": "matched m-1",
        "fields": {"extra": "x", "match": "m-1", "waited": [0.5, "inf"]},
    }
    result = said("x", fields={"result": MatchResult(reason="complete")})["fields"]["result"]
    assert result["reason"] == "complete"
    assert "fields" not in said("x")


def test_traceback_is_a_field_of_one_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        whole = said("it failed\nbadly", exc_info=sys.exc_info())
    assert whole["message"] == "it failed\nbadly"
    assert whole["traceback"].startswith("Traceback (most recent call last):\n")
    assert whole["traceback"].endswith("ValueError: first\nsecond")


def test_what_cannot_be_formatted_is_a_line_all_the_same() -> None:
    class Awkward:
        def __str__(self) -> str:
            raise RuntimeError("no")

    deep: list[Any] = []
    deep.append(deep)
    assert "%d" in said("%d", "x")["message"]
    assert "no" in said("x", fields={"a": Awkward(), "deep": deep, "s": "\ud800", 3: {4}})["fields"]["a"]


@given(
    st.text() | st.binary() | st.floats() | st.lists(st.none() | st.integers()) | st.dictionaries(st.text(), st.text())
)
def test_whatever_is_logged_is_one_line_of_json(value: Any) -> None:
    assert said("got %s", value, fields={"value": value})["level"] == "info"


def test_lines_of_libraries_are_json_too_and_text_is_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    start_logging("info", log_format="json")
    logging.getLogger("tandem.here").info("ours", extra={"fields": {"a": 1}})
    logging.getLogger("uvicorn.error").warning("theirs")
    found = lines(stream.getvalue())
    assert [(each["logger"], each["message"]) for each in found] == [
        ("tandem.here", "ours"),
        ("uvicorn.error", "theirs"),
    ]
    start_logging("info")
    logging.getLogger("tandem.here").info("plain")
    assert stream.getvalue().splitlines()[-1].endswith("INFO    tandem.here: plain")


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_password_token_or_link_is_in_a_debug_log(
    log_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    start_logging("debug", log_format=log_format)
    secret = secret_of(tmp_path, LINK_SECRET)
    good = make_link(secret, "P-01", entropy=random.Random(1), single_use=True)
    bad = make_link(bytes(32), "P-02", entropy=random.Random(2))
    async with listening_server(data=tmp_path) as listening, callers(listening.urls[0], 3) as (a, b, c):
        welcome = await a.client.join(Join(link=good))
        for caller, link in ((b, good), (c, bad)):
            with pytest.raises(SignalingError):
                await caller.client.join(Join(link=link, token="s3cret" * 6))
        await b.client.tell(Join(label="x" * 64, link=bad + "\n", token="s3cret" * 6))
        console = f"{listening.urls[0]}/console/login"
        assert listening.first_password is not None
        async with aiohttp.ClientSession() as session:
            for password in ("wrong-pass-word", listening.first_password):
                form = {"name": "admin", "password": password}
                headers = {"Origin": listening.urls[0]}
                async with session.post(console, data=form, headers=headers, allow_redirects=False) as answer:
                    assert answer.status in (303, 401)
                    cookies = [each.value for each in answer.cookies.values()]
        assert cookies, "the second log-in was right"
    text = stream.getvalue()
    assert "refused 'join'" in text, "it is a debug log"
    if log_format == "json":
        assert {"refused 'join'"} <= {each["message"][:14] for each in lines(text)}
    assert welcome.token is not None
    secrets = [welcome.token, "s3cret", listening.first_password, "wrong-pass-word", secret.hex(), *cookies]
    for link in (good, bad):
        secrets += link.split(".")[1:]
    assert [each for each in secrets if each in text] == []


# -- strangers --------------------------------------------------------------------------------------------------------


def request(query: bytes) -> bytes:
    lines_of_it = (
        b"GET /socket.io/?" + query + b" HTTP/1.1",
        b"Host: x",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)),
    )
    return b"\r\n".join((*lines_of_it, b"", b""))


async def test_strangers_cause_warnings_and_no_errors(caplog: pytest.LogCaptureFixture) -> None:
    good = b"EIO=4&transport=websocket"
    not_text = b"\x81\x82\0\0\0\0\xff\xff"  # a frame of text that is none
    async with running_server() as url:
        for query, frame in ((b"", b""), (b"EIO=3", b""), (good + b"&sid=x", b""), (good, not_text), (b"\xff", b"")):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
            writer.write(request(query) + frame)
            async with asyncio.timeout(20):
                while await reader.read(1000):
                    pass
            writer.close()
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []
    warned = [each for each in caplog.records if each.levelno == logging.WARNING and "turned away" in each.getMessage()]
    assert 1 <= len(warned) <= 2, "one for each library"


def test_strangers_lines_are_said_once_a_minute_and_errors_of_ours_stay(caplog: pytest.LogCaptureFixture) -> None:
    times = iter((0.0, 1.0, SAID_AGAIN_AFTER_S, SAID_AGAIN_AFTER_S + 1))
    lines_of = StrangersLines(lambda each: not each.exc_info, now=lambda: next(times))
    for _ in range(4):
        assert not lines_of.filter(record("Invalid session"))
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 2
    assert lines_of.filter(record("a bug", exc_info=(ValueError, ValueError(), None)))


def test_what_was_on_its_way_to_clients_that_have_gone_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    calm_uvicorn()
    calm_uvicorn()
    logging.getLogger("asyncio").warning("SSL connection is closed")
    logging.getLogger("asyncio").warning("something else")
    assert [each.getMessage() for each in caplog.records] == ["something else"]
