"""Which paths led to the peers of a match, by frame and time: for the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pclient.runtime.link_history import PathUsed
from p2pclient.runtime.peer_link import PeerLink

At = tuple[int, int]
"""Episode and frame."""


@dataclass(frozen=True, slots=True)
class _Stay:
    path: PathUsed
    first: At


class PathLog:
    """What became of the links of one match. Made when the match begins.

    Args:
        links: by peer.
        began: when that was, by the loop's clock.
    """

    def __init__(self, links: Mapping[int, PeerLink], *, began: float) -> None:
        self._links = links
        self._began = began
        self._stays: dict[int, list[_Stay]] = {peer: [] for peer in links}
        for peer in links:
            self.note_change(peer, (0, 0))

    def note_change(self, peer: int, at: At) -> None:
        """Another path leads to a peer from a frame on."""
        if peer in self._links:
            stays = self._stays[peer]
            stays += [_Stay(path, at) for path in self._links[peer].history[len(stays) :]]

    @property
    def kinds(self) -> set[str]:
        """Kinds of path that were used."""
        return {stay.path.connection for stays in self._stays.values() for stay in stays}

    def as_data(self) -> list[dict[str, Any]]:
        """Return every stay on a path, by peer and in order; times are seconds since the match began."""
        data = []
        for peer, stays in self._stays.items():
            follow: list[_Stay | None] = [*stays[1:], None]
            for stay, after in zip(stays, follow, strict=True):
                path = stay.path
                data.append(
                    {
                        "peer": peer,
                        "connection": path.connection,
                        "local_address": path.local_address,
                        "remote_address": path.remote_address,
                        "why": path.why,
                        "attempt": path.number,
                        "from_s": max(0.0, round(path.since - self._began, 3)),
                        "to_s": None if path.until is None else round(path.until - self._began, 3),
                        "from": list(stay.first),
                        "to": None if after is None else list(after.first),
                    }
                )
        return data
