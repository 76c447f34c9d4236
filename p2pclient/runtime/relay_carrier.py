"""How relayed frames get to the server."""

from __future__ import annotations

from typing import Literal, cast

from p2pclient.runtime.signaling_client import SignalingClient


class ServerCarrier:
    """Brings frames to one peer of the current match, see :class:`~p2pclient.transport.relay.RelayCarrier`."""

    def __init__(self, signaling: SignalingClient, client_id: str) -> None:
        self._signaling = signaling
        self._client_id = client_id

    def carry(self, lane: str, frame: bytes) -> bool:
        """See :class:`RelayCarrier`."""
        return self._signaling.relay(self._client_id, cast(Literal["inputs", "control"], lane), frame)

    def describe(self) -> tuple[str, str]:
        """See :class:`RelayCarrier`."""
        return self._signaling.url, self._client_id
