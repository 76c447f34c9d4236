"""What is read off a request: where it comes from, and the token in its cookie."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection


def is_same_origin(connection: HTTPConnection) -> bool:
    """True if the request comes from a page of this very server. Browsers say so in ``Origin`` (RFC 6454)."""
    origin, host = connection.headers.get("origin", ""), connection.headers.get("host", "")
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()


def is_encrypted(connection: HTTPConnection) -> bool:
    """True if it came through TLS."""
    return connection.url.scheme in ("https", "wss")


def cookie_name(connection: HTTPConnection) -> str:
    """Return the name of the session's cookie. Cookies are shared by all ports of a host, so it names the port."""
    server = connection.scope.get("server")
    return f"tandem_console_{server[1] if server else 0}"


def token_of(connection: HTTPConnection) -> str | None:
    """Return the session's token, unchecked; None if there is none."""
    return connection.cookies.get(cookie_name(connection))


def address_of(connection: HTTPConnection) -> str:
    """Return the address of the other side. Headers that proxies add are not believed."""
    return connection.client.host if connection.client is not None else ""
