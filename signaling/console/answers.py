"""How the console answers over HTTP: with its headers on everything, and bodies that are read with a bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from p2pclient.common.errors import StoreError

_log = logging.getLogger("tandem.console")

MOST_BODY_BYTES = 8 * 1024
BODY_TIMEOUT_S = 10.0

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


def secured(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with the console's headers on whatever it answers; 503 while the store cannot be reached."""

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


async def read_body(request: Request) -> bytes | None:
    """Return the body of a request; None if it is too large, or does not come."""
    content = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MOST_BODY_BYTES:
                    return None
    except (TimeoutError, ClientDisconnect):
        return None
    return content


def json_answer(content: object, status: int = 200) -> Response:
    """Return plain data or structs as JSON."""
    return Response(msgspec.json.encode(content), status, headers={"Content-Type": "application/json"})
