"""The console's pages: log-in, log-out, the page itself with its files, and what it fetches besides the feed."""

from __future__ import annotations

import asyncio
import hashlib
import html
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from p2pclient.common.errors import SignalingError, StoreError
from signaling.console.feed import Feed
from signaling.console.login import SESSION_S, Login
from signaling.console.metrics import CONTENT_TYPE, render_metrics
from signaling.console.requests import address_of, cookie_name, is_encrypted, is_same_origin, token_of
from signaling.roles import may
from signaling.store.interface import Store

_log = logging.getLogger("tandem.console")

STATIC = Path(__file__).parent / "static"
MOST_FORM_BYTES = 8 * 1024
FORM_TIMEOUT_S = 10.0
AUDIT_SHOWN = 500

# Not the system's table of types: on Windows that is the registry, where .js may be anything.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer", browsers send "Origin: null" with forms: log-ins could not be told from forged ones.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


class Pages:
    """The HTTP side of the console."""

    def __init__(self, login: Login, feed: Feed, store: Store) -> None:
        self._login, self._feed, self._store = login, feed, store
        self._files = _read_files()

    def routes(self) -> list[BaseRoute]:
        """Return what to add to the server's routes."""
        return [
            Route("/console", _secured(self._console)),
            Route("/console/", _secured(self._console)),
            Route("/console/login", _secured(self._show_login)),
            Route("/console/login", _secured(self._log_in), methods=["POST"]),
            Route("/console/logout", _secured(self._log_out), methods=["POST"]),
            Route("/console/static/{name}", _secured(self._static)),
            Route("/console/history", _secured(self._history)),
            Route("/console/audit", _secured(self._show_audit)),
            Route("/metrics", _secured(self._metrics)),
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
        return _json(self._feed.history.of_match(request.query_params.get("match", "")))

    async def _show_audit(self, request: Request) -> Response:
        who = await self._login.find(token_of(request))
        if who is None:
            return PlainTextResponse("Log in first.", 401)
        if not may(who.account.role, "audit"):
            return PlainTextResponse(f"This needs the role admin; yours is {who.account.role}.", 403)
        return _json({"entries": await self._store.audit(limit=AUDIT_SHOWN)})

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


def _secured(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except StoreError as error:
            _log.error("%s cannot be answered: %s", request.url.path, error)
            response = PlainTextResponse("The server cannot reach its data. Its log says more.", 503)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return answer


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
    content = b""
    try:
        async with asyncio.timeout(FORM_TIMEOUT_S):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MOST_FORM_BYTES:
                    return None
        fields = parse_qs(content.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except (ValueError, TimeoutError, ClientDisconnect):
        return None
    names, passwords = fields.get("name", []), fields.get("password", [])
    return (names[0], passwords[0]) if len(names) == len(passwords) == 1 else None


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), headers={"Content-Type": "application/json"})
