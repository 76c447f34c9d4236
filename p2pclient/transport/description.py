"""Checks a peer's session description before aiortc sees it.

aiortc takes much on trust: a description without a fingerprint or without candidates raises in a task that nobody
awaits, or waits for ever. Here it is parsed, held to the one shape that this program makes, and written anew from what
was understood.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Literal

from aiortc import RTCSessionDescription, sdp

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.transport.base import MAX_CONTROL_BYTES

MAX_SDP_CHARS = 32 * 1024
MAX_CANDIDATES = 64
MAX_FINGERPRINTS = 8

FINGERPRINT_LENGTHS = {"sha-256": 95, "sha-384": 143, "sha-512": 191}
"""Characters of a fingerprint, by the algorithms that aiortc checks."""


def read_description(description: Mapping[str, Any], kind: Literal["offer", "answer"]) -> RTCSessionDescription:
    """Return the checked description.

    Raises:
        RemoteProtocolError: ``bad-description``; the detail says what is wrong with it.
    """
    if not isinstance(description, Mapping) or description.get("type") != kind:
        raise _bad(f"not a description of type {kind}")
    text = description.get("sdp")
    if not isinstance(text, str) or not 0 < len(text) <= MAX_SDP_CHARS:
        raise _bad(f"its sdp is not a text of 1 to {MAX_SDP_CHARS} characters")
    try:
        session = sdp.SessionDescription.parse(text)
        session.type = kind
        _check_session(session)
        _check_security(session.media[0], kind)
        _check_candidates(session.media[0])
        return RTCSessionDescription(sdp=str(session), type=kind)
    except RemoteProtocolError:
        raise
    except Exception as error:  # noqa: BLE001  the parser meets hostile text with whatever its indexing and casting raise
        raise _bad(f"it cannot be read ({type(error).__name__})") from None


def _bad(detail: str) -> RemoteProtocolError:
    return RemoteProtocolError("bad-description", detail)


def _check_session(session: sdp.SessionDescription) -> None:
    if len(session.media) != 1 or session.media[0].kind != "application":
        raise _bad("it does not describe exactly one connection for data")
    media = session.media[0]
    if media.profile != "UDP/DTLS/SCTP" or not 0 < (media.sctp_port or 0) < 65536:
        raise _bad("it does not offer data channels")
    if not 0 < len(media.rtp.muxId) <= 16 or any(group.items != [media.rtp.muxId] for group in session.group):
        raise _bad("its groups name other connections")
    largest = media.sctpCapabilities
    if largest is not None and 0 < largest.maxMessageSize < MAX_CONTROL_BYTES:
        raise _bad(f"it takes messages of {largest.maxMessageSize} bytes only")


def _check_security(media: sdp.MediaDescription, kind: str) -> None:
    if media.ice is None or not media.ice.usernameFragment or not media.ice.password:
        raise _bad("it has no ICE credentials")
    if len(media.ice.usernameFragment) > 256 or not 22 <= len(media.ice.password) <= 256:
        raise _bad("its ICE credentials are of the wrong length")
    if media.dtls is None or not 0 < len(media.dtls.fingerprints) <= MAX_FINGERPRINTS:
        raise _bad("it has no fingerprint")
    known = [print_ for print_ in media.dtls.fingerprints if print_.algorithm.lower() in FINGERPRINT_LENGTHS]
    if not known or any(len(print_.value) != FINGERPRINT_LENGTHS[print_.algorithm.lower()] for print_ in known):
        raise _bad("its fingerprint is of an unknown kind")
    if media.dtls.role not in (("auto", "client", "server") if kind == "offer" else ("client", "server")):
        raise _bad("it does not say who begins the handshake")


def _check_candidates(media: sdp.MediaDescription) -> None:
    if len(media.ice_candidates) > MAX_CANDIDATES:
        raise _bad(f"it has more than {MAX_CANDIDATES} candidates")
    media.ice_candidates = [each for each in media.ice_candidates if _is_usable(each)]
    if not media.ice_candidates:
        raise _bad("it names no address at which the partner can be reached")
    # There is no trickle: without this mark a failed connection would be waited for for ever.
    media.ice_candidates_complete = True


def _is_usable(candidate: Any) -> bool:
    """Return whether a candidate is one UDP address of one machine; names (mDNS) are not looked up."""
    try:
        address = ipaddress.ip_address(candidate.ip)
    except ValueError:
        return False
    is_one_machine = not (address.is_multicast or address.is_unspecified or candidate.ip == "255.255.255.255")
    return (
        is_one_machine
        and candidate.component == 1
        and candidate.protocol.lower() == "udp"
        and 0 < candidate.port < 65536
    )
