"""A personal link: a server's address, and behind ``#`` what the server has signed for one participant.

Behind ``#``, because no program sends that along when it opens the address: so it never gets into a log.
"""

from __future__ import annotations

from p2pclient.common.errors import ConfigurationError

MAX_LINK_CHARS = 4096
"""Of the signed part."""
_MARK = "join="


def with_link(url: str, link: str) -> str:
    """Return the address of a server with a link, as it is given to a participant."""
    return f"{url.split('#')[0]}#{_MARK}{link}"


def split_link(address: str) -> tuple[str, str | None]:
    """Return the address of the server, and the link if there is one."""
    url, _, rest = address.strip().partition("#")
    return url, rest.removeprefix(_MARK) if rest.startswith(_MARK) else None


def check_shape(link: str) -> str:
    """Return a link that may be sent to a server; what it is worth is for the server to say.

    Raises:
        ConfigurationError: it is none. What was typed is not in the message: it may be most of a link.
    """
    text = link.strip()
    if not text or len(text) > MAX_LINK_CHARS or not text.isascii() or not text.isprintable():
        raise ConfigurationError("the link", f"a text of {len(text)} characters", "the whole of what you were given")
    return text
