"""The player's side of spectators: each is fed with what all players have verified, and nobody ever waits for it.

A spectator says hello as a player does, and asks with :class:`~p2pclient.protocol.control.Watch`. It gets a portable
state, unless it can go on from what it has, and from there on the inputs of all seats by frame, with the chain's value:
all that can be proved to be what was played, and nothing that might yet be taken back. The datagrams of its endpoint
carry them, in *stretches*: runs of frames of one episode, numbered.

What a spectator does, or fails to do, costs the players no more than :data:`OPEN_FRAMES` inputs in a datagram; who
falls behind what the :class:`~p2pclient.match.history.History` keeps is given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.envhost.values import encode
from p2pclient.match.core import MatchCore
from p2pclient.match.episode import PlayBatch
from p2pclient.match.evidence import split_state
from p2pclient.match.history import Chapter, History
from p2pclient.match.plan import Phase, SpectatorGone
from p2pclient.protocol.control import (
    AnyMessage,
    EpisodeOver,
    FeedEnd,
    FeedPause,
    FeedStart,
    Hello,
    Leave,
    Refuse,
    StatePart,
    Unwatch,
    Watch,
)
from p2pclient.protocol.endpoint import LOST_AFTER, ControlReceived, Endpoint, EndpointConfig
from p2pclient.protocol.handshake import differences

OPEN_FRAMES = 64
"""Inputs that may wait for a spectator's acknowledgement in its endpoint; what is beyond stays in the history."""
STATE_EVERY = 2.0
"""Seconds between two states for one spectator: each costs the host of a player a moment."""
_OPEN_PARTS = 2
"""Pieces of a state under way at once, so that inputs pass between them."""
_OPEN_CONTROL = 8
"""Control messages that may be open before another stretch begins."""

_UNDER_WAY = frozenset({Phase.PLAYING, Phase.EPISODE_OVER, Phase.DIVERGED})
_GOODBYES = {"finished": "finished", "desync": "desync"}


@dataclass(slots=True)
class _Feed:
    """One spectator."""

    id: int
    endpoint: Endpoint
    greeted: bool = False
    request: Watch | None = None
    """What it asked for and has not got yet."""
    served: int = 0
    """Number of the request that is served."""
    wants_state: bool = False
    state_at: float = float("-inf")
    """When it got a state."""
    parts: list[StatePart] = field(default_factory=list)
    stretch: int = 0
    episode: int | None = None
    """What is fed; None if nothing is."""
    next: int = 0
    """The next frame to feed."""
    is_over_said: bool = False
    is_pause_said: bool = False
    is_goodbye_said: bool = False
    reason: str = ""
    """Why it is fed no more; empty while it may be."""


class Feeds:
    """Feeds the spectators of one match.

    Args:
        facts: on which a spectator must agree.
    """

    def __init__(self, core: MatchCore, facts: Mapping[str, Any]) -> None:
        self._core = core
        self._facts = dict(facts)
        self._feeds: dict[int, _Feed] = {}
        self._history: History | None = None
        self._fetched: tuple[int, Mapping[str, Any]] | None = None
        """A snapshot that is not given to anyone yet, and its episode."""

    def __contains__(self, spectator: int) -> bool:
        return spectator in self._feeds

    def __len__(self) -> int:
        return len(self._feeds)

    def add(self, spectator: int, *, now: float) -> None:
        """Somebody is connected who wants to watch.

        Raises:
            LocalMisuseError: the id is that of a player, or of another spectator.
        """
        core = self._core
        if spectator in self._feeds or spectator == core.plan.own_id or spectator in core.plan.peers:
            raise LocalMisuseError(f"{spectator} is the id of somebody else")
        if self._history is None:
            self._history = History(core.plan.seats, core.episode if core.phase in _UNDER_WAY else None)
        config = EndpointConfig(
            connection=core.plan.connection_id(spectator),
            local_width=sum(len(core.plan.neutral_input(seat)) for seat in range(core.plan.seats)),
            remote_widths=(),
            is_valid=lambda index, value: False,
        )
        feed = _Feed(spectator, Endpoint(config, now=now))
        feed.endpoint.queue_control(Hello(self._facts))
        self._feeds[spectator] = feed

    def remove(self, spectator: int, reason: str = "gone") -> None:
        """A spectator's connection is closed for good. Does nothing for one that is not here."""
        if self._feeds.pop(spectator, None) is not None:
            self._core.out.events.append(SpectatorGone(spectator, reason))
        if not self._feeds:
            self._history = self._fetched = None

    def receive(self, spectator: int, channel: str, data: bytes, *, now: float) -> None:
        """Take in bytes from a spectator."""
        endpoint = self._feeds[spectator].endpoint
        if channel == "inputs":
            endpoint.receive_datagram(data, now=now)
        else:
            endpoint.receive_control(data, now=now)

    @property
    def owe(self) -> bool:
        """True while a spectator that is still heard has not got everything that there is."""
        return any(
            not feed.reason
            and feed.endpoint.silence == "heard"
            and (feed.endpoint.open_control or self._is_behind(feed))
            for feed in self._feeds.values()
        )

    def _is_behind(self, feed: _Feed) -> bool:
        """Is there more to come for a spectator that is fed."""
        chapter = self._chapter(feed)
        if chapter is None or self._history is None:
            return False
        is_all_fed = feed.next > chapter.verified and not feed.endpoint.open_inputs
        is_newest = chapter is self._history.newest
        return not (is_all_fed and is_newest and feed.is_over_said == (chapter.last_frame is not None))

    def _chapter(self, feed: _Feed) -> Chapter | None:
        if feed.episode is None or self._history is None:
            return None
        return self._history.chapter(feed.episode)

    # -- the portable state -------------------------------------------------------------------------------------

    def ask(self, batch: PlayBatch) -> None:
        """Append to a batch of play what fetches a snapshot, if a spectator needs one and the host keeps a fit one."""
        core = self._core
        if self._history is None or core.episode is None or self._fetched is not None or not core.plan.is_portable:
            return
        if not any(feed.wants_state for feed in self._feeds.values()):
            return
        chapter = self._history.chapter(core.number)
        if chapter is None:
            return
        # What is verified by now is marked so once this batch is settled.
        newest = core.episode.chain.verified_frame + 1
        fit = [frame for frame in core.episode.session.snapshots if chapter.first <= frame <= newest]
        if fit:
            batch.snapshot = len(batch.commands)
            batch.commands.append(["get_snapshot", fit[-1]])

    def take_snapshot(self, state: Mapping[str, Any]) -> None:
        """The snapshot that was asked for is here; it goes out in the next tick."""
        self._fetched = self._core.number, state

    def _give_state(self, now: float) -> None:
        """All who wait for a state get the one that was fetched."""
        if self._fetched is None or self._history is None:
            return
        (episode, state), self._fetched = self._fetched, None
        chapter = self._history.chapter(episode)
        if chapter is None or not chapter.may_begin_at(state["frame"]):
            return
        parts = split_state(chapter.number, state["frame"], encode(state["data"]))
        for feed in [feed for feed in self._feeds.values() if feed.wants_state]:
            feed.wants_state = False
            if parts[0].data:
                feed.state_at = now
                self._begin(feed, chapter, state["frame"], parts)
            else:
                self._give_up(feed, "too-large")

    # -- time ---------------------------------------------------------------------------------------------------

    def take_records(self) -> None:
        """Take in what the match has put into its outbox so far."""
        if self._history is not None:
            self._history.take(self._core.out.records, self._core.episode)

    def tick(self, *, now: float, is_paused: bool = False) -> None:
        """Let one frame's time pass, and put what is due into the outbox. The last thing in a tick."""
        if not self._feeds:
            return
        self.take_records()
        self._give_state(now)
        for feed in list(self._feeds.values()):
            self._take_events(feed, now)
            if feed.id in self._feeds:
                self._look_at_silence(feed, now)
        for feed in self._feeds.values():
            if not feed.reason:
                self._serve(feed, now)
                self._say_pause(feed, is_paused)
            if self._core.ended is not None and not feed.is_goodbye_said:
                self._say_goodbye(feed, self._core.ended.reason)
            self._send(feed, now)

    def _take_events(self, feed: _Feed, now: float) -> None:
        feed.endpoint.handle_timer(now=now)
        for event in feed.endpoint.take_events():
            if isinstance(event, ControlReceived):
                self._take_message(feed, event.message)

    def _take_message(self, feed: _Feed, message: AnyMessage) -> None:
        if isinstance(message, Hello) and not feed.greeted and not feed.reason:
            allowed = self._core.plan.allow_mixed_hosts
            found = differences(self._facts, message.facts, allow_mixed_hosts=allowed)
            feed.greeted = not found
            if found:
                feed.endpoint.queue_control(Refuse(found))
                feed.reason = "refused"
        elif isinstance(message, Watch) and feed.greeted and not feed.reason:
            self._stop(feed)
            feed.request = message
        elif isinstance(message, Unwatch):
            self._stop(feed)
        elif isinstance(message, Leave | Refuse):
            self.remove(feed.id, "left")

    def _look_at_silence(self, feed: _Feed, now: float) -> None:
        silent = feed.endpoint.silent_for(now=now)
        if feed.reason and (silent >= LOST_AFTER or not feed.endpoint.open_control):
            self.remove(feed.id, feed.reason)
        elif silent >= self._core.plan.drop_after:
            self.remove(feed.id, "silent")

    def _give_up(self, feed: _Feed, reason: str) -> None:
        self._stop(feed)
        feed.reason = reason
        feed.endpoint.queue_control(FeedEnd(reason))

    def _stop(self, feed: _Feed) -> None:
        """Nothing more of what it was fed: a stretch of its own, or what it acknowledges would be of another one."""
        feed.request, feed.wants_state, feed.is_pause_said = None, False, False
        feed.episode, feed.parts = None, []
        feed.stretch += 1
        feed.endpoint.begin_episode(feed.stretch)

    def _say_pause(self, feed: _Feed, is_paused: bool) -> None:
        """Say that play stands still, or goes on: what is shown does the same, and nobody there would know why."""
        is_asked = feed.episode is not None or feed.request is not None
        if is_asked and is_paused != feed.is_pause_said:
            feed.is_pause_said = is_paused
            feed.endpoint.queue_control(FeedPause(is_paused))

    def _say_goodbye(self, feed: _Feed, reason: str) -> None:
        """The match has ended: say so, if all of it was fed before."""
        if reason != "finished" or not self._is_behind(feed):
            feed.is_goodbye_said = True
            feed.endpoint.queue_control(Leave(_GOODBYES.get(reason, "left")))

    # -- what is fed --------------------------------------------------------------------------------------------

    def _serve(self, feed: _Feed, now: float) -> None:
        if feed.request is not None and feed.endpoint.open_control <= _OPEN_CONTROL:
            self._answer(feed, feed.request, now)
        while feed.parts and feed.endpoint.open_control < _OPEN_PARTS:
            feed.endpoint.queue_control(feed.parts.pop(0))
        if feed.episode is not None:
            self._feed(feed)

    def _answer(self, feed: _Feed, request: Watch, now: float) -> None:
        """Begin where the spectator stands, or wait until we are there too, or see to it that it gets a state."""
        history = self._history
        newest = history.newest if history is not None else None
        if history is None or newest is None:
            return
        if request.episode is not None:
            episode, frame = request.episode, request.frame
            chapter = history.chapter(episode)
            if chapter is not None and chapter.last_frame is not None and frame > chapter.last_frame:
                episode, frame, chapter = episode + 1, 0, history.chapter(episode + 1)
            if (episode, frame) > (newest.number, newest.verified + 1):
                return
            if chapter is not None and chapter.may_begin_at(frame):
                self._begin(feed, chapter, frame)
                return
        if newest.first == 0 and newest.verified == NULL_FRAME:
            self._begin(feed, newest, 0)
        else:
            feed.wants_state = now - feed.state_at >= STATE_EVERY

    def _begin(self, feed: _Feed, chapter: Chapter, frame: int, parts: list[StatePart] | None = None) -> None:
        if feed.request is not None:
            feed.served, feed.request = feed.request.request, None
        feed.stretch += 1
        feed.episode, feed.next, feed.is_over_said, feed.is_pause_said = chapter.number, frame, False, False
        feed.parts = list(parts or [])
        feed.endpoint.begin_episode(feed.stretch, first_frame=frame)
        standing = chapter.at(frame)
        start = FeedStart(
            request=feed.served,
            stretch=feed.stretch,
            episode=chapter.number,
            first_frame=frame,
            chain=standing.chain,
            checksum=standing.checksum,
            totals=list(standing.totals),
            has_state=bool(parts),
        )
        feed.endpoint.queue_control(start)

    def _feed(self, feed: _Feed) -> None:
        chapter, endpoint = self._chapter(feed), feed.endpoint
        if chapter is None or feed.next < chapter.first:
            self._give_up(feed, "behind")
            return
        while endpoint.open_inputs < OPEN_FRAMES and feed.next <= chapter.verified:
            endpoint.queue_input(feed.next, chapter.inputs(feed.next))
            feed.next += 1
            endpoint.set_chain(feed.next - 1, chapter.at(feed.next).chain)
        if chapter.last_frame is None or feed.next <= chapter.last_frame or endpoint.open_control > _OPEN_CONTROL:
            return
        if not feed.is_over_said:
            feed.is_over_said = True
            over = EpisodeOver(chapter.number, chapter.last_frame, chapter.at(feed.next).chain)
            endpoint.queue_control(over)
        assert self._history is not None
        following = self._history.chapter(chapter.number + 1)
        if following is not None and not endpoint.open_inputs:
            self._begin(feed, following, 0)

    def _send(self, feed: _Feed, now: float) -> None:
        out, endpoint = self._core.out, feed.endpoint
        idle = endpoint.silence == "lost" or not endpoint.open_inputs
        for data in endpoint.datagrams_to_send(now=now, idle=idle):
            out.datagrams.append((feed.id, data))
        for data in endpoint.control_to_send():
            out.control.append((feed.id, data))
