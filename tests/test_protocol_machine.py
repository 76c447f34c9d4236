"""Two endpoints over a connection that loses, doubles and reorders, driven by Hypothesis.

The truth is kept beside them in plain lists: what each side put in must come out of the other, in order, once, whatever
happened in between; and what was lost or doubled must be counted so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2pclient.common.frames import MAX_DATAGRAM_BYTES, NULL_FRAME
from p2pclient.protocol.control import (
    DelayWish,
    Envelope,
    EpisodeReady,
    Leave,
    LostInputs,
    PeersLost,
    StatePart,
    encode_control,
)
from p2pclient.protocol.datagram import decode_datagram
from p2pclient.protocol.endpoint import (
    MAX_AHEAD,
    MAX_OPEN_CONTROL,
    ChainReceived,
    ControlReceived,
    Endpoint,
    EndpointConfig,
    InputReceived,
    SilenceChanged,
)
from p2pclient.protocol.stats import RECENT

WIDTHS = ((1, 2), (4,))
CONNECTION = 77
sides = st.integers(0, 1)


def is_small(seat: int, value: bytes) -> bool:
    return all(byte < 8 for byte in value)


@dataclass
class Truth:
    """One side, and what it said and heard by the books of the test."""

    endpoint: Endpoint
    episode: int = 0
    said_by_episode: list[list[bytes]] = field(default_factory=lambda: [[]])
    chains_by_episode: list[dict[int, bytes]] = field(default_factory=lambda: [{}])
    messages: list[DelayWish] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    chains_heard: list[int] = field(default_factory=list)
    messages_heard: list[DelayWish] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)
    """All it ever sent; the network may deliver any of them, as often as it likes."""
    arrived: list[int] = field(default_factory=list)
    """Indices of its datagrams that were delivered, as they were."""
    lane: list[bytes] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)

    @property
    def said(self) -> list[bytes]:
        return self.said_by_episode[-1]

    @property
    def chains(self) -> dict[int, bytes]:
        return self.chains_by_episode[-1]

    def said_in(self, episode: int) -> list[bytes]:
        """What was said in an episode that the other side stands in; it may be ahead."""
        return self.said_by_episode[episode] if episode <= self.episode else []


class Conversation(RuleBasedStateMachine):
    """Rules are what the network and the two programs may do."""

    @initialize(calm=st.booleans())
    def begin(self, calm: bool) -> None:
        self.now = 0.0
        self.calm = calm
        self.sides = [
            Truth(Endpoint(EndpointConfig(CONNECTION, sum(WIDTHS[i]), WIDTHS[1 - i], is_small), now=0.0))
            for i in range(2)
        ]

    def side(self, index: int) -> tuple[Truth, Truth]:
        return self.sides[index], self.sides[1 - index]

    # -- the programs

    @rule(index=sides, count=st.integers(1, 4), data=st.data())
    def play(self, index: int, count: int, data: st.DataObject) -> None:
        mine, _ = self.side(index)
        width = sum(WIDTHS[index])
        for _ in range(count):
            value = data.draw(st.one_of(st.just(bytes(width)), st.lists(st.integers(0, 7), min_size=width,
                                                                         max_size=width).map(bytes)))  # fmt: skip
            mine.endpoint.queue_input(len(mine.said), value)
            mine.said.append(value)
            mine.endpoint.lead = float(len(mine.said) - 1 - mine.endpoint.newest_heard)
            mine.datagrams += mine.endpoint.datagrams_to_send(now=self.now)
            self.now += 0.01

    @rule(index=sides)
    def keep_alive(self, index: int) -> None:
        mine, _ = self.side(index)
        mine.datagrams += mine.endpoint.datagrams_to_send(now=self.now, idle=True)

    @rule(index=sides, value=st.binary(min_size=8, max_size=8))
    def settle(self, index: int, value: bytes) -> None:
        mine, _ = self.side(index)
        frame = max(mine.chains, default=NULL_FRAME) + 1
        mine.chains[frame] = value
        mine.endpoint.set_chain(frame, value)

    @rule(index=sides, count=st.integers(1, 3))
    def say(self, index: int, count: int) -> None:
        mine, _ = self.side(index)
        for _ in range(count):
            message = DelayWish(len(mine.messages) % 60)
            mine.messages.append(message)
            mine.endpoint.queue_control(message)

    @rule(index=sides)
    def send_control(self, index: int) -> None:
        mine, _ = self.side(index)
        mine.lane += mine.endpoint.control_to_send()

    @rule(index=sides)
    def next_episode(self, index: int) -> None:
        mine, other = self.side(index)
        if mine.episode > other.episode:
            return  # the barrier: nobody is two episodes ahead
        self.take_events(mine, other)
        mine.endpoint.begin_episode(mine.episode + 1)
        mine.episode += 1
        mine.said_by_episode.append([])
        mine.chains_by_episode.append({})
        mine.heard, mine.chains_heard = [], []

    @rule(seconds=st.floats(0.0, 0.05))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.calm)
    @rule(seconds=st.floats(0.3, 20.0))
    def pause(self, seconds: float) -> None:
        self.now += seconds
        for mine in self.sides:
            mine.endpoint.handle_timer(now=self.now)

    # -- the network

    @precondition(lambda self: any(side.datagrams for side in self.sides))
    @rule(index=sides, backs=st.lists(st.integers(0, 9), min_size=1, max_size=8))
    def deliver(self, index: int, backs: list[int]) -> None:
        """Any datagrams of the last ones: late, again, or never."""
        mine, other = self.side(index)
        for back in backs:
            if back < len(mine.datagrams):
                self.carry(mine, other, len(mine.datagrams) - 1 - back)

    def carry(self, sender: Truth, receiver: Truth, number: int) -> None:
        receiver.endpoint.receive_datagram(sender.datagrams[number], now=self.now)
        sender.arrived.append(number)
        self.take_events(receiver, sender)

    @rule(index=sides, count=st.integers(1, 3))
    def deliver_control(self, index: int, count: int) -> None:
        mine, other = self.side(index)
        for data in mine.lane[:count]:
            other.endpoint.receive_control(data, now=self.now)
        del mine.lane[:count]
        self.take_events(other, mine)

    @rule()
    def reconnect(self) -> None:
        for mine in self.sides:
            mine.lane.clear()
            mine.endpoint.resend_control()

    @rule(index=sides, noise=st.binary(max_size=60), version=st.booleans())
    def intrude(self, index: int, noise: bytes, version: bool) -> None:
        """Bytes of somebody else: with a sound beginning, but another connection."""
        mine, other = self.side(index)
        before = sum(mine.endpoint.drops.values())
        mine.endpoint.receive_datagram(b"\x23\xee\xee" + noise if version else noise[:5], now=self.now)
        mine.endpoint.receive_control(noise[:5], now=self.now)
        assert sum(mine.endpoint.drops.values()) == before + 2
        self.take_events(mine, other)

    # -- what must hold

    def take_events(self, mine: Truth, other: Truth) -> None:
        for event in mine.endpoint.take_events():
            if isinstance(event, InputReceived):
                assert event.frame == len(mine.heard)
                assert tuple(map(len, event.values)) == mine.endpoint._config.remote_widths
                mine.heard.append(b"".join(event.values))
            elif isinstance(event, ChainReceived):
                assert event.value == other.chains_by_episode[mine.episode][event.frame]
                mine.chains_heard.append(event.frame)
            elif isinstance(event, ControlReceived):
                assert isinstance(event.message, DelayWish)
                mine.messages_heard.append(event.message)
            elif isinstance(event, SilenceChanged):
                assert mine.levels[-1:] != [event.level]
                mine.levels.append(event.level)

    @invariant()
    def what_came_is_what_was_said(self) -> None:
        for index in range(2):
            mine, other = self.side(index)
            assert mine.heard == other.said_in(mine.episode)[: len(mine.heard)]
            assert mine.endpoint.newest_heard == len(mine.heard) - 1
            assert mine.chains_heard == sorted(set(mine.chains_heard))
            assert mine.messages_heard == other.messages[: len(mine.messages_heard)]
            assert mine.endpoint.open_control <= len(mine.messages)

    @invariant()
    def nobody_forgets_what_the_other_does_not_have(self) -> None:
        for index in range(2):
            mine, other = self.side(index)
            if mine.episode == other.episode:
                assert len(mine.said) - len(mine.endpoint._unacknowledged) <= len(other.heard)
            assert len(mine.messages) - mine.endpoint.open_control <= len(other.messages_heard)
            assert all(len(data) <= MAX_DATAGRAM_BYTES for data in mine.datagrams)

    @invariant()
    def losses_and_copies_are_counted(self) -> None:
        for index in range(2):
            mine, other = self.side(index)
            stats = other.endpoint.stats
            assert 0.0 <= stats.loss <= 1.0
            assert stats.lost >= 0
            # After a silence of seconds any datagram is the newest; and numbers are known back to a bound only.
            if not self.calm or len(mine.datagrams) >= RECENT or not mine.arrived:
                continue
            first = mine.arrived[0]
            known = {number for number in mine.arrived if number >= first}
            assert stats.lost == max(known) - first + 1 - len(known)
            copies = len([n for n in mine.arrived if n >= first]) - len(known)
            assert stats.duplicates == copies
            assert stats.loss == 1 - len(known) / (max(known) - first + 1)

    def teardown(self) -> None:
        """The network heals: a few exchanges later, everything has come."""
        if not hasattr(self, "sides"):
            return
        newest = max(side.episode for side in self.sides)
        for index in range(2):
            if self.sides[index].episode < newest:
                self.next_episode(index)
        self.reconnect()
        for _ in range(4):
            self.now += 5.0
            for index in range(2):
                mine, other = self.side(index)
                mine.datagrams += mine.endpoint.datagrams_to_send(now=self.now)
                self.carry(mine, other, len(mine.datagrams) - 1)
                self.send_control(index)
                self.deliver_control(index, len(mine.lane))
        for index in range(2):
            mine, other = self.side(index)
            assert mine.heard == other.said
            assert mine.chains_heard[-1:] == [max(other.chains)] if other.chains else not mine.chains_heard
            assert mine.messages_heard == other.messages
            assert (mine.endpoint.open_control, len(mine.endpoint._unacknowledged)) == (0, 0)
            assert mine.endpoint.silence == "heard"
            assert not set(mine.endpoint.drops) & {"bad-ack", "gap", "bad-input", "too-far", "no-ack", "flood"}


Conversation.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
TestConversation = Conversation.TestCase


# -- hostile bytes -----------------------------------------------------------------------------------------------


def talk() -> list[bytes]:
    """Datagrams of an honest side, to be spoiled."""
    one = Endpoint(EndpointConfig(CONNECTION, 4, (4,), is_small), now=0.0)
    other = Endpoint(EndpointConfig(CONNECTION, 4, (4,), is_small), now=0.0)
    sent = []
    for frame in range(12):
        one.queue_input(frame, bytes([0, frame % 8, 0, frame // 4]))
        one.set_chain(frame, bytes(8))
        sent += one.datagrams_to_send(now=frame / 60)
        other.receive_datagram(sent[-1], now=frame / 60)
        if frame % 5 == 4:
            one.receive_datagram(other.datagrams_to_send(now=frame / 60)[0], now=frame / 60)
    return sent


HONEST = talk()
HONEST_CONTROL = [
    encode_control(Envelope(1, number, 0, message))
    for number, message in enumerate(
        [
            DelayWish(3),
            EpisodeReady(1, bytes(8)),
            StatePart(0, 3, 0, 2, bytes(40)),
            PeersLost(0, [2], [LostInputs(2, 4, [b"\x00\x01"] * 3)]),
            Leave("left"),
        ],
        start=1,
    )
]
spoils = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4)
strange = st.one_of(
    st.tuples(st.just("raw"), st.binary(max_size=80)),
    st.tuples(st.just("raw"), st.binary(max_size=80).map(lambda noise: b"\x23" + bytes([CONNECTION, 0]) + noise)),
    st.tuples(st.just("datagram"), st.tuples(st.sampled_from(HONEST), spoils)),
    st.tuples(st.just("control"), st.tuples(st.sampled_from(HONEST_CONTROL), spoils)),
)


def spoiled(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    out = bytearray(data)
    for at, byte in changes:
        out[at % len(out)] = byte
    return bytes(out)


@settings(max_examples=300, deadline=None)
@given(st.lists(strange, max_size=40), st.integers(0, 4))
def test_whatever_a_stranger_sends_is_survived_and_bounded(items: list[tuple[str, object]], queued: int) -> None:
    one = Endpoint(EndpointConfig(CONNECTION, 4, (1, 3), is_small), now=0.0)
    for frame in range(queued):
        one.queue_input(frame, bytes(4))
        one.queue_control(Leave("left"))
    for number, (kind, content) in enumerate(items):
        now = number * 0.7
        if kind == "raw":
            assert isinstance(content, bytes)
            one.receive_datagram(content, now=now)
            one.receive_control(content, now=now)
        else:
            data, changes = content  # type: ignore[misc]
            receive = one.receive_datagram if kind == "datagram" else one.receive_control
            receive(spoiled(data, changes), now=now)
        one.handle_timer(now=now)
        (out,) = one.datagrams_to_send(now=now)
        assert len(out) <= MAX_DATAGRAM_BYTES
        assert decode_datagram(out, width=4).next_expected == one.newest_heard + 1
        one.control_to_send()
    frames = []
    for event in one.take_events():
        if isinstance(event, InputReceived):
            frames.append(event.frame)
            assert [len(value) for value in event.values] == [1, 3]
            assert all(is_small(0, value) for value in event.values)
    assert frames == list(range(one.newest_heard + 1))
    assert one.newest_heard < MAX_AHEAD
    assert one.open_control <= MAX_OPEN_CONTROL
    assert len(one._unacknowledged) <= queued
    assert 0.0 <= one.stats.loss <= 1.0
    assert one.rtt is None or 0.0 <= one.rtt < 16.4
