"""What is said to find a server on a LAN: one datagram to ask, one to answer, and the same facts for mDNS and HTTP.

A datagram is ``b"tandem"``, the version, the kind (one byte each), and a MessagePack map. Versions are refused by their
number, so the rest may change. A question is padded to :data:`QUERY_BYTES` and no answer is longer, so that nobody can
use a server to multiply what it sends to somebody else. Nothing in here is secret and nothing is proof: whoever is on
the LAN can say anything, and what a client then gets is checked like any other server's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar

import msgspec

from p2pclient.common.errors import ConfigurationError, RemoteProtocolError

DISCOVERY_VERSION = 1
DISCOVERY_PORT = 8766
"""UDP, on the server. Several servers on one machine share it."""
DISCOVERY_GROUP = "ff12::7461:6e64"
"""IPv6 has no broadcast: a transient link-local group (RFC 4291, section 2.7)."""
SERVICE_TYPE = "_tandem._tcp.local."
"""For mDNS (RFC 6763)."""
FACTS_PATH = "/discovery"
"""Where a server gives its facts over HTTP."""

QUERY_BYTES = 600
MAX_ADDRESSES = 8
MAX_ROOM_CHARS = 40
DEFAULT_ROOM = "Tandem"

_MAGIC = b"tandem"
_QUERY, _ANSWER = 1, 2
_HEAD = len(_MAGIC) + 2

M = TypeVar("M")

_ServerId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
_Nonce = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Text = Annotated[str, msgspec.Meta(max_length=64)]
_Address = Annotated[str, msgspec.Meta(max_length=45)]


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself."""

    server_id: _ServerId
    """Differs for every run of every server; the same one found in several ways is known by it."""
    room: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ROOM_CHARS)]
    """How people call it."""
    computer: _Text
    """The name of its machine."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    secure: bool = False
    """Whether it speaks HTTPS."""
    protocol: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
    """Its version of the lobby's messages."""
    version: _Text = ""
    """Its program's."""
    study: _Text | msgspec.UnsetType = msgspec.UNSET
    """What is studied there, for people. Left out where it is not said, as by servers that know of no studies."""
    addresses: Annotated[tuple[_Address, ...], msgspec.Meta(max_length=MAX_ADDRESSES)] = ()
    """Where it may be reached, the most useful first."""

    def __post_init__(self) -> None:
        for text in (self.room, self.computer, self.version, self.study or ""):
            if not text.isprintable():  # it ends up on terminals
                raise ValueError("a name with characters that cannot be printed")
        for each in self.addresses:
            if "%" in each:  # a zone is this machine's own word; what comes as one could be anything
                raise ValueError("an address with a zone")
            ip_address(each)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Who is there?"""

    nonce: _Nonce
    pad: Annotated[bytes, msgspec.Meta(max_length=QUERY_BYTES)] = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """I am."""

    nonce: _Nonce
    """The query's: an answer to nobody's question is not believed."""
    facts: ServerFacts


def encode_query(nonce: bytes) -> bytes:
    """Return a query of exactly :data:`QUERY_BYTES`."""
    bare = len(_datagram(_QUERY, Query(nonce=nonce, pad=b"\0" * 256)))
    return _datagram(_QUERY, Query(nonce=nonce, pad=b"\0" * (256 + QUERY_BYTES - bare)))


def encode_answer(nonce: bytes, facts: ServerFacts) -> bytes:
    """Return an answer, never longer than a query; addresses that do not fit are left out, the least useful first."""
    while True:
        datagram = _datagram(_ANSWER, Answer(nonce=nonce, facts=facts))
        if len(datagram) <= QUERY_BYTES or not facts.addresses:
            return datagram
        facts = msgspec.structs.replace(facts, addresses=facts.addresses[:-1])


def decode_query(datagram: bytes) -> Query:
    """Check a datagram from outside.

    Raises:
        RemoteProtocolError: reason ``foreign``, ``size``, ``version``, ``kind`` or ``malformed``.
    """
    if len(datagram) != QUERY_BYTES:
        raise RemoteProtocolError("size" if datagram.startswith(_MAGIC) else "foreign")
    return _decode(datagram, _QUERY, Query)


def decode_answer(datagram: bytes) -> Answer:
    """Check a datagram from outside.

    Raises:
        RemoteProtocolError: reason ``foreign``, ``size``, ``version``, ``kind`` or ``malformed``.
    """
    if len(datagram) > QUERY_BYTES:
        raise RemoteProtocolError("size")
    return _decode(datagram, _ANSWER, Answer)


def facts_to_txt(facts: ServerFacts) -> dict[str, str]:
    """Return the facts for an mDNS TXT record; address and port are in records of their own."""
    return {
        "v": str(DISCOVERY_VERSION),
        "id": facts.server_id,
        "room": facts.room,
        "computer": facts.computer,
        "protocol": str(facts.protocol),
        "version": facts.version,
        "secure": str(int(facts.secure)),
        **({"study": facts.study} if facts.study else {}),
    }


def facts_from_txt(txt: Mapping[bytes, bytes | None], port: int, addresses: tuple[str, ...]) -> ServerFacts:
    """Check what mDNS says.

    Raises:
        RemoteProtocolError: reason ``version`` or ``malformed``.
    """
    try:
        said = {key.decode("ascii"): (value or b"").decode("utf-8") for key, value in txt.items()}
        if int(said.get("v", "")) != DISCOVERY_VERSION:
            raise RemoteProtocolError("version", said.get("v", "")[:10])
        facts = {"server_id": said["id"], "room": said["room"], "computer": said["computer"], "port": port}
        facts |= {"protocol": int(said["protocol"]), "version": said["version"], "secure": said["secure"] == "1"}
        facts |= {"study": said["study"]} if "study" in said else {}
        return facts_of({**facts, "addresses": addresses[:MAX_ADDRESSES]})
    except (KeyError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise RemoteProtocolError("malformed", str(error)[:200]) from None


def facts_of(plain: Any) -> ServerFacts:
    """Check facts that came as plain data, such as from JSON.

    Raises:
        RemoteProtocolError: reason ``malformed``.
    """
    try:
        return msgspec.convert(plain, ServerFacts)
    except (msgspec.ValidationError, RecursionError) as error:
        raise RemoteProtocolError("malformed", str(error)[:200]) from None


def check_room(room: str) -> str:
    """Return the room's name as it is told. Raises ConfigurationError if it cannot be one."""
    name = " ".join(room.split())
    if not 1 <= len(name) <= MAX_ROOM_CHARS or not name.isprintable() or len(name.encode()) > MAX_ROOM_CHARS:
        raise ConfigurationError("room", room, f"1 to {MAX_ROOM_CHARS} letters, such as Lab 2")
    return name


def same_room(a: str, b: str) -> bool:
    """True if a person would call it the same: neither case nor spaces count."""
    return "".join(a.split()).casefold() == "".join(b.split()).casefold()


def _datagram(kind: int, message: Query | Answer) -> bytes:
    return _MAGIC + bytes((DISCOVERY_VERSION, kind)) + msgspec.msgpack.encode(message)


def _decode(datagram: bytes, kind: int, expected: type[M]) -> M:
    if len(datagram) < _HEAD or not datagram.startswith(_MAGIC):
        raise RemoteProtocolError("foreign")
    if datagram[len(_MAGIC)] != DISCOVERY_VERSION:
        raise RemoteProtocolError("version", str(datagram[len(_MAGIC)]))
    if datagram[len(_MAGIC) + 1] != kind:
        raise RemoteProtocolError("kind")
    try:
        return msgspec.msgpack.decode(datagram[_HEAD:], type=expected)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RemoteProtocolError("malformed", str(error)[:200]) from None
