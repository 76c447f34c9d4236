"""Asking for a place while the server may be away: not an error, but a wait that the person can see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import REFUSALS, Join, Welcome
from p2pclient.runtime.signaling_client import SignalingClient

log = logging.getLogger("tandem.client")

_AWAY = frozenset({"not-connected", "connection-lost", "timeout"})
"""Why a request fails while there is no connection to the server."""


async def join_patiently(
    signaling: SignalingClient, join: Join, news: asyncio.Event, on_away: Callable[[str], None]
) -> Welcome:
    """Join; while the server is away, wait until it is back.

    Args:
        news: set whenever the connection may have changed.
        on_away: told why it has to wait.

    Raises:
        SignalingError: the server refused.
    """
    while True:
        try:
            return _noted(join, await signaling.join(join))
        except SignalingError as error:
            if signaling.connected or error.code not in _AWAY:
                raise
            log.warning("%s", error)
            on_away(str(error))
        while not signaling.connected:
            news.clear()
            await news.wait()


def _noted(join: Join, welcome: Welcome) -> Welcome:
    if join.last_match is not None and welcome.watch is None and welcome.match is None:
        why = REFUSALS.get(welcome.not_watched, welcome.not_watched)
        log.warning("match %s, in which this client was, is not watched: %s", join.last_match.match_id, why)
    return welcome
