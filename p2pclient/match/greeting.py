"""The handshake: no match begins between sides whose facts differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pclient.match.core import MatchCore
from p2pclient.match.peers import Peer
from p2pclient.match.plan import Phase
from p2pclient.protocol.control import Hello, Refuse
from p2pclient.protocol.handshake import differences


def greet(core: MatchCore, facts: Mapping[str, Any], peer: Peer, message: Hello, now: float) -> bool:
    """Compare a peer's facts with ours; True if all peers have been greeted thereby, and the match can begin."""
    if peer.greeted:
        return False
    found = differences(facts, message.facts, allow_mixed_hosts=core.plan.allow_mixed_hosts)
    if found:
        if peer.is_returning:  # whatever was started there, it is not what played: that one may still come
            if peer.is_news("return-refused"):
                peer.offer(Refuse(found))
                core.note("return-refused", {"peer": peer.id, "differences": found})
            return False
        peer.offer(Refuse(found))
        text = "The two machines do not fit together. " + "; ".join(found)
        core.end("refused", text, leave="error", now=now)
        return False
    peer.greeted = True
    return core.phase is Phase.HANDSHAKING and all(each.greeted for each in core.peers)
