"""To which of a link's relayed transports something belongs that the server brought from the peer."""

from __future__ import annotations

from p2pclient.transport.base import PeerTransport
from p2pclient.transport.relay import RelayTransport, read_head


class RelayDoor:
    """The relayed transports of one link, open and being made."""

    def __init__(self) -> None:
        self._transports: list[RelayTransport] = []

    def add(self, transport: RelayTransport) -> None:
        """There is a new one."""
        self._transports.append(transport)

    def remove(self, transport: PeerTransport) -> None:
        """One has ended. Does nothing for a transport of another kind."""
        self._transports = [each for each in self._transports if each is not transport]

    def addressee(self, frame: bytes) -> RelayTransport | None:
        """Return the transport that a frame is meant for, or that waits for a peer that says hello."""
        head = read_head(frame)
        if head is None:
            return None
        for each in self._transports:
            if each.own == head.to or (head.is_hello and each.theirs == head.sender):
                return each
        return next((each for each in self._transports if head.is_hello and each.is_calling), None)

    @staticmethod
    def is_call(frame: bytes) -> bool:
        """Does the peer say hello, so that a transport may be made for it."""
        head = read_head(frame)
        return head is not None and head.is_hello
