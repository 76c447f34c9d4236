"""What clients and the server say about the paths between the clients of a match, and what is relayed by the server.

Part of the conversation in :mod:`p2pclient.common.lobby_messages`, and of its version.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.common.room_messages import Figure, Name, Short

RELAY_EVENT = "relay"

MAX_RELAYED_BYTES = 24 * 1024
"""In one event. Longer control messages go in parts: beside a large one, inputs would wait."""

MAX_ICE_SERVERS = 8

ICE_SCHEMES = ("stun:", "turn:", "turns:")

_URL_CHARS = 256

Lane = Literal["inputs", "control"]
Relayable = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_RELAYED_BYTES)]


class IceServerOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A STUN or TURN server that the clients of one match may use. The credential is a secret of theirs."""

    url: Annotated[str, msgspec.Meta(max_length=_URL_CHARS)]
    username: Annotated[str, msgspec.Meta(max_length=128)] = ""
    credential: Annotated[str, msgspec.Meta(max_length=128)] = ""

    def __repr__(self) -> str:
        return f"IceServerOffer({self.url!r})"  # what is logged has no credentials in it


class AskIceServers(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ask-ice-servers"):
    """Ask for fresh credentials, for a new connection in a match that has run for long.

    Answered by :class:`IceServers`.
    """

    match_id: Name


class IceServers(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ice-servers"):
    """With what help the clients of a match may look for paths to each other."""

    match_id: Name
    servers: Annotated[tuple[IceServerOffer, ...], msgspec.Meta(max_length=MAX_ICE_SERVERS)] = ()
    valid_s: Figure = 0.0
    """From now on; connections made by then go on afterwards. 0: there are no credentials that could expire."""


class Relay(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=RELAY_EVENT):
    """Bytes for another player of the same running match. Neither acknowledged nor kept; may be lost."""

    match_id: Name
    peer: Name
    """The receiver's client id in the match."""
    lane: Lane
    """Of ``inputs`` only the newest wait for a receiver that is slow."""
    data: Relayable


class Relayed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="relayed"):
    """Bytes from another player of the match."""

    match_id: Name
    peer: Name
    """The sender's client id."""
    data: Relayable


class RelayRefused(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="relay-refused"):
    """What was to be relayed was not, at most once a second. ``code`` is one of ``REFUSALS``."""

    code: Short


PathMessage = IceServers | Relayed | RelayRefused
"""What the server says of paths while a match is made or runs."""

MAX_PEERS = MAX_SEATS - 1


def check_ice_url(setting: str, url: str) -> str:
    """Return the URL of a STUN or TURN server.

    Raises:
        ConfigurationError: it is no such URL.
    """
    allowed = "stun:host[:port], turn:host[:port][?transport=udp|tcp] or turns:host[:port][?transport=tcp]"
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdecimal() else (place, "", "3478")
    transports = {"stun": ("",), "turn": ("", "transport=udp", "transport=tcp"), "turns": ("", "transport=tcp")}
    good = host and not set(host) & set("/@# \t") and host.isascii() and ":" not in host and len(url) <= _URL_CHARS
    if not good or not 0 < int(port) < 65536 or query not in transports.get(scheme, ()):
        raise ConfigurationError(setting, url, allowed)
    return url
