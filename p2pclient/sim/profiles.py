"""Named networks. All figures are one way; a round trip takes twice the delay."""

from __future__ import annotations

from p2pclient.common.errors import ConfigurationError
from p2pclient.sim.network import LinkSpec

PROFILES: dict[str, LinkSpec] = {
    "lan": LinkSpec(delay_ms=1.0, jitter_ms=0.5),
    "wifi": LinkSpec(delay_ms=50.0, jitter_ms=20.0, loss=0.01),
    "mobile": LinkSpec(delay_ms=100.0, jitter_ms=20.0, loss=0.05, burst=4.0),
    "intercontinental": LinkSpec(delay_ms=120.0, jitter_ms=15.0, loss=0.02),
    "terrible": LinkSpec(delay_ms=250.0, jitter_ms=100.0, loss=0.15, duplicate=0.02, reorder=0.05),
}
"""From a cable in a lab to a network on which nobody should have to play."""

DESCRIPTIONS = {
    "lan": "machines in one room, by cable",
    "wifi": "two homes in one country, over wireless adapters",
    "mobile": "telephones as modems: losses come about four at a time",
    "intercontinental": "good lines, half the world between them",
    "terrible": "a seventh is lost, some comes twice, much comes out of order",
}


def profile(name: str) -> LinkSpec:
    """Return a named network.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if name not in PROFILES:
        raise ConfigurationError("--profile", name, ", ".join(PROFILES))
    return PROFILES[name]
