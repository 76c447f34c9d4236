"""The console's pages: log-in, log-out, the page itself with its files, and what it fetches besides the feed."""

from __future__ import annotations

import hashlib
import html
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from p2pclient.common.errors import SignalingError
from signaling.console.answers import json_answer, read_body, secured
from signaling.console.feed import Feed
from signaling.console.login import SESSION_S, Login
from signaling.console.metrics import CONTENT_TYPE, render_metrics
from signaling.console.requests import address_of, cookie_name, is_encrypted, is_same_origin, token_of

STATIC = Path(__file__).parent / "static"

# Not the system's table of types: on Windows that is the registry, where .js may be anything.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


class Pages:
    """The HTTP side of the console."""

    def __init__(self, login: Login, feed: Feed) -> None:
        self._login, self._feed = login, feed
        self._files = _read_files()

    def routes(self) -> list[BaseRoute]:
        """Return what to add to the server's routes."""
        return [
            Route("/console", secured(self._console)),
            Route("/console/", secured(self._console)),
            Route("/console/login", secured(self._show_login)),
            Route("/console/login", secured(self._log_in), methods=["POST"]),
            Route("/console/logout", secured(self._log_out), methods=["POST"]),
            Route("/console/static/{name}", secured(self._static)),
            Route("/console/history", secured(self._history)),
            Route("/metrics", secured(self._metrics)),
            WebSocketRoute("/console/feed", self._feed.serve),
        ]

    async def _console(self, request: Request) -> Response:
        if await self._login.find(token_of(request)) is None:
            return RedirectResponse("/console/login", 303)
        return self._page("index.html")

    async def _show_login(self, request: Request) -> Response:
        if await self._login.find(token_of(request)) is not None:
            return RedirectResponse("/console", 303)
        return self._login_page("")

    async def _log_in(self, request: Request) -> Response:
        if not is_same_origin(request):
            return self._login_page("Log in on this page, please.", status=403)
        form = await _read_form(request)
        if form is None:
            return self._login_page("The server did not understand the form. Try again.", status=400)
        try:
            token = await self._login.log_in(form[0], form[1], address=address_of(request))
        except SignalingError as error:
            return self._login_page(
                str(error), name=form[0], status=429 if error.code in ("too-often", "busy") else 401
            )
        answer = RedirectResponse("/console", 303)
        answer.set_cookie(
            cookie_name(request),
            token,
            max_age=int(SESSION_S),
            path="/console",
            secure=is_encrypted(request),
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _log_out(self, request: Request) -> Response:
        if not is_same_origin(request):
            return PlainTextResponse("Log out on the console's own page.", 403)
        who = await self._login.find(token_of(request))
        if who is not None:
            await self._login.log_out(who, address=address_of(request))
        answer = RedirectResponse("/console/login", 303)
        answer.delete_cookie(cookie_name(request), path="/console", httponly=True, samesite="strict")
        return answer

    async def _static(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            return PlainTextResponse("There is no such file.", 404)
        # Asked for again each time, answered without the content if it is the same: a new version is never half old.
        headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers={**headers, "Content-Type": file.media_type})

    async def _history(self, request: Request) -> Response:
        if await self._login.find(token_of(request)) is None:
            return PlainTextResponse("Log in first.", 401)
        return json_answer(self._feed.history.of_match(request.query_params.get("match", "")))

    async def _metrics(self, request: Request) -> Response:
        feed = self._feed
        text = render_metrics(feed.row, feed.alerts, consoles=feed.consoles, lag_s=feed.lag_s)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    def _page(self, name: str) -> Response:
        file = self._files[name]
        return Response(file.content, headers={"Content-Type": file.media_type})

    def _login_page(self, message: str, *, name: str = "", status: int = 200) -> Response:
        page = self._files["login.html"].content.decode("utf-8")
        page = page.replace("{{message}}", html.escape(message)).replace("{{name}}", html.escape(name[:64]))
        return Response(page, status, headers={"Content-Type": TYPES[".html"]})


def _read_files() -> dict[str, _File]:
    """Read every file that may be asked for: nothing else can be, whatever a path says."""
    found = {}
    for path in sorted(STATIC.iterdir()):
        if path.suffix in TYPES:
            content = path.read_bytes()
            found[path.name] = _File(content, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


async def _read_form(request: Request) -> tuple[str, str] | None:
    """Return name and password of a form; None if it is none, too large, or does not come."""
    content = await read_body(request)
    if content is None:
        return None
    try:
        fields = parse_qs(content.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError:
        return None
    names, passwords = fields.get("name", []), fields.get("password", [])
    return (names[0], passwords[0]) if len(names) == len(passwords) == 1 else None
