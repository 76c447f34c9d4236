"""STUN and TURN servers that clients are told, with credentials for one match. Pure.

The scheme is the one that coturn calls ``use-auth-secret`` (draft-uberti-behave-turn-rest-00): the TURN server and this
one share a secret; the user name is the time at which it expires and the match, and the password is base64 of
HMAC-SHA1 over the user name. The TURN server needs no list of users, and the secret never leaves either machine.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from p2pclient.common.path_messages import IceServerOffer, IceServers

VALID_S = 900.0
"""Enough for the attempts at the beginning of a match; who needs a new connection later asks for new ones."""


@dataclass(frozen=True, slots=True)
class IceRules:
    """Which servers help clients to find paths to each other; none unless the person who serves names some."""

    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    turn_secret: str = field(default="", repr=False)
    """What ``static-auth-secret`` is to coturn."""
    valid_s: float = VALID_S

    def offer(self, match_id: str, *, epoch: float) -> IceServers:
        """Return what the clients of a match are told at ``epoch``, seconds since 1970."""
        username = turn_username(match_id, expires=int(epoch + self.valid_s))
        credential = turn_credential(self.turn_secret, username)
        servers = [IceServerOffer(url=url) for url in self.stun]
        servers += [IceServerOffer(url=url, username=username, credential=credential) for url in self.turn]
        return IceServers(match_id=match_id, servers=tuple(servers), valid_s=self.valid_s if self.turn else 0.0)


def turn_username(match_id: str, *, expires: int) -> str:
    """Return the user name that is good until ``expires``, seconds since 1970."""
    return f"{expires}:{match_id}"


def turn_credential(secret: str, username: str) -> str:
    """Return the password that belongs to a user name."""
    # SHA-1 is what TURN servers compute here; as an HMAC it has no known weakness.
    return base64.b64encode(hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()).decode()
