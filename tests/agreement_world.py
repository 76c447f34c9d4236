"""Two worlds in which agreements on lost peers are tried: a timed one that plays, and one where any order may happen.

In the :class:`TimedWorld` every peer plays: it makes an input per frame, may run a window ahead, settles, compares
chain values, keeps inputs back to what all have verified, notices silence. Links delay, lose, break in one or both
directions and hold. In the :class:`DisorderedWorld` anybody may suspect anybody at any moment, crash, and each lane
delivers its next message whenever the dice say so. Both know the truth: every input that a peer ever made.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random

from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.agreement import Agreed, Agreement, Undecided
from p2pclient.protocol.control import Envelope, PeersLost, decode_control, encode_control

FILL = b"\x00"
TICK = 0.1
WINDOW = 8
DROP_AFTER = 6.0
ACCUSED_AFTER = 2.5
PATIENCE = 9.0


def true_input(peer: int, frame: int) -> bytes:
    """The input that a peer makes for a frame; never the fill input."""
    return b"\x01" + blake2b(f"{peer}/{frame}".encode(), digest_size=2).digest()


def true_inputs(peer: int, first: int, last: int) -> list[bytes]:
    return [true_input(peer, frame) for frame in range(first, last + 1)]


def over_the_wire(message: PeersLost) -> PeersLost:
    read = decode_control(encode_control(Envelope(1, 1, 0, message))).message
    assert isinstance(read, PeersLost)
    return read


@dataclass(frozen=True)
class Commit:
    """One peer's decision to go on."""

    by: int
    lost: frozenset[int]
    cuts: dict[int, int]


def check_commits(commits: Iterable[Commit], seats: Mapping[int, Sequence[int]]) -> None:
    """No two decisions contradict each other, whoever made them, whenever. Every side here needs a majority."""
    found = list(commits)
    for one in found:
        held = sum(len(seats[peer]) for peer in seats.keys() - one.lost)
        assert 2 * held > sum(map(len, seats.values()))
        for other in found:
            assert one.lost <= other.lost or other.lost <= one.lost, (one, other)
            for peer in one.lost & other.lost:
                assert one.cuts[peer] == other.cuts[peer], (peer, one, other)


def check_inputs(agreed: Agreed, last_here: dict[int, int]) -> None:
    """An agreement brings exactly the true inputs that are missing here."""
    assert set(agreed.cuts) == set(agreed.inputs) == agreed.lost
    for peer, inputs in agreed.inputs.items():
        assert list(inputs) == list(range(last_here[peer] + 1, agreed.cuts[peer] + 1))
        assert all(value == true_input(peer, frame) for frame, value in inputs.items())


@dataclass
class Player:
    """One peer that plays."""

    id: int
    agreement: Agreement
    others: tuple[int, ...]
    is_up: bool = True
    made: int = 0
    """Frames for which it made an input."""
    have: dict[int, int] = field(default_factory=dict)
    """Newest frame by peer of which its input is here."""
    chain: dict[int, int] = field(default_factory=dict)
    """Newest frame by peer that it called settled."""
    heard: dict[int, float] = field(default_factory=dict)
    frozen: dict[int, int] = field(default_factory=dict)
    """Newest frame by lost peer of which its input was here when it was given up."""
    cuts: dict[int, int] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    history: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    """Inputs of all peers by settled frame."""
    verified: int = NULL_FRAME
    paused_until: float = 0.0

    @property
    def settled(self) -> int:
        newest = [self.have[peer] for peer in self.others if peer not in self.cuts]
        return min([*newest, self.made - 1])

    def settle(self) -> None:
        for frame in range(len(self.history), self.settled + 1):
            held = {peer: self.cuts.get(peer, frame) for peer in (self.id, *self.others)}
            self.history[frame] = tuple(
                true_input(peer, frame) if frame <= held[peer] else FILL for peer in sorted(held)
            )
        values = [self.chain[peer] for peer in self.others if peer not in self.cuts]
        self.verified = max(self.verified, min([*values, len(self.history) - 1]))


class TimedWorld:
    """Peers that play over links with weather; a run of one seed is always the same."""

    def __init__(self, peers: int, *, seed: int, delay: float = 0.05, jitter: float = 0.05, loss: float = 0.05) -> None:
        self.dice = Random(seed)
        self.now = 0.0
        self.delay, self.jitter, self.loss = delay, jitter, loss
        self._order = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._arrived_by: dict[tuple[int, int], float] = {}
        self._held_until: dict[tuple[int, int], float] = {}
        self.broken: set[tuple[int, int]] = set()
        self.messages = 0
        self.seats = seats = {peer: (peer,) for peer in range(peers)}
        self.players = {
            peer: Player(
                peer,
                Agreement(peer, seats, is_valid=lambda _, value: len(value) == 3, patience=PATIENCE),
                tuple(other for other in seats if other != peer),
                have=dict.fromkeys(seats, NULL_FRAME),
                chain=dict.fromkeys(seats, NULL_FRAME),
                heard=dict.fromkeys(seats, 0.0),
            )
            for peer in seats
        }
        for player in self.players.values():
            self.at(self.dice.random() * TICK, lambda player=player: self._tick(player))  # type: ignore[misc]

    # -- faults -------------------------------------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._due, (time, self._order, action))

    def crash(self, peer: int) -> None:
        self.players[peer].is_up = False

    def pause(self, peer: int, seconds: float) -> None:
        self.players[peer].paused_until = self.now + seconds

    def cut(self, one: int, other: int, *, both_ways: bool = True) -> None:
        """A link breaks: what is under way is gone too."""
        self.broken.add((one, other))
        if both_ways:
            self.broken.add((other, one))

    def part(self, *sides: Iterable[int]) -> None:
        """Nothing crosses from one side to another any more."""
        groups = [set(side) for side in sides]
        for player in self.players:
            for other in self.players:
                if not any({player, other} <= group for group in groups):
                    self.cut(player, other)

    def hold(self, one: int, other: int, seconds: float) -> None:
        """What is sent from one to the other arrives when the hold ends."""
        self._held_until[one, other] = self.now + seconds

    # -- time ---------------------------------------------------------------------------------------------------

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = until

    def run_until_decided(self, limit: float) -> None:
        """Run until nobody who is up waits for a decision, and nothing can open one any more."""
        while self.is_open():
            assert self.now < limit, {p.id: (p.agreement.verdict, p.agreement.living) for p in self.up()}
            self.run(self.now + 0.5)

    def is_open(self) -> bool:
        """Is somebody undecided, or does somebody still count on a peer that it can never hear again."""
        for player in self.up():
            if isinstance(player.agreement.verdict, Undecided):
                return True
            # Whoever may not go on needs no further decision.
            if isinstance(player.agreement.verdict, Agreed):
                living = player.agreement.living
                deaf = [p for p in living if (p, player.id) in self.broken or not self.players[p].is_up]
                if deaf or any(player.id not in self.players[p].agreement.living for p in living):
                    return True
        return False

    def up(self) -> list[Player]:
        return [player for player in self.players.values() if player.is_up]

    def _arrival(self, link: tuple[int, int]) -> float:
        return max(self.now + self.delay + self.dice.random() * self.jitter, self._held_until.get(link, 0.0))

    def _tick(self, player: Player) -> None:
        self.at(self.now + TICK, lambda: self._tick(player))
        if not player.is_up or self.now < player.paused_until:
            return
        agreement = player.agreement
        for peer in sorted(agreement.living - {player.id}):
            patience = ACCUSED_AFTER if peer in agreement.accused else DROP_AFTER
            if self.now - player.heard[peer] >= patience:
                self.lose(player, peer)
        for peer in sorted(agreement.peers_to_lose(now=self.now)):
            self.lose(player, peer)
        self._play(player)
        for peer, message in agreement.take_messages():
            self._send_control(player.id, peer, over_the_wire(message))
        for peer in sorted(agreement.living - {player.id}):
            if self.dice.random() >= self.loss:
                self._send_datagram(player, peer)

    def lose(self, player: Player, peer: int) -> None:
        first = player.verified + 1
        player.frozen[peer] = player.have[peer]
        player.agreement.lose(peer, first, true_inputs(peer, first, player.have[peer]), now=self.now)

    def _play(self, player: Player) -> None:
        verdict = player.agreement.verdict
        if isinstance(verdict, Agreed) and verdict.lost - player.cuts.keys():
            check_inputs(verdict, player.frozen)
            player.commits.append(Commit(player.id, verdict.lost, dict(verdict.cuts)))
            player.cuts.update(verdict.cuts)
        newest = [player.have[peer] for peer in player.others if peer not in player.cuts]
        if not newest or player.made <= min(newest) + WINDOW:
            player.made += 1
        player.settle()

    def _send_datagram(self, player: Player, to: int) -> None:
        made, settled, link = player.made - 1, len(player.history) - 1, (player.id, to)

        def arrive() -> None:
            other = self.players[to]
            if link in self.broken or not other.is_up or player.id not in other.agreement.living:
                return
            other.heard[player.id] = self.now
            other.have[player.id] = max(other.have[player.id], made)
            other.chain[player.id] = max(other.chain[player.id], settled)

        self.at(self._arrival(link), arrive)

    def _send_control(self, sender: int, to: int, message: PeersLost) -> None:
        link = (sender, to)
        self._arrived_by[link] = arrival = max(self._arrival(link), self._arrived_by.get(link, 0.0))
        self.messages += 1

        def arrive() -> None:
            if link not in self.broken and self.players[to].is_up:
                self.players[to].agreement.receive(sender, message, now=self.now)

        self.at(arrival, arrive)

    # -- the truth ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """No two histories: neither in decisions nor in verified frames; and no input counts that was not made."""
        check_commits((commit for player in self.players.values() for commit in player.commits), self.seats)
        for player in self.players.values():
            assert player.agreement.drops.keys() <= {"given-up"}
            for other in self.players.values():
                assert all(player.verified <= cut for peer, cut in other.cuts.items() if peer not in player.cuts)
                for frame in range(min(player.verified, other.verified) + 1):
                    assert player.history[frame] == other.history[frame], (player.id, other.id, frame)


VERIFIED = 10
"""Newest frame that all have verified in the :class:`DisorderedWorld`."""


class DisorderedWorld:
    """Agreements alone, with everything that time, links and processes can do to them, in any order."""

    def __init__(self, peers: int, dice: Random) -> None:
        self.dice = dice
        self.now = 0.0
        self.pace = dice.choice((0.01, 0.1, 1.0))
        self.seats = {peer: tuple(range(dice.choice((1, 1, 1, 2)))) for peer in range(peers)}
        self.agreements = {
            peer: Agreement(peer, self.seats, is_valid=lambda _, value: len(value) == 3, patience=PATIENCE)
            for peer in self.seats
        }
        self.lanes: dict[tuple[int, int], deque[PeersLost]] = {
            (one, other): deque() for one in self.seats for other in self.seats if one != other
        }
        self.have = {lane: VERIFIED + dice.randrange(8) for lane in self.lanes}
        """Newest frame that ``(peer, of)`` has."""
        self.broken: set[tuple[int, int]] = set()
        self.up = set(self.seats)
        self.frozen: dict[int, dict[int, int]] = {peer: {} for peer in self.seats}
        self.commits: list[Commit] = []
        self.checked: set[tuple[int, frozenset[int]]] = set()

    def play(self, steps: int) -> None:
        """Let ``steps`` things happen: mostly the loss of a few, and now and then anything else that can go wrong."""
        peers = sorted(self.seats)
        doomed = self.dice.sample(peers, self.dice.randrange(1, len(peers) // 2 + 1))
        suspicion, trouble = self.dice.choice((0.05, 0.2)), self.dice.choice((0.0, 0.0, 0.01))
        for _ in range(steps):
            peer, what = self.dice.choice(peers), self.dice.random()
            victim = self.dice.choice(doomed if self.dice.random() < 0.98 else peers)
            if peer not in self.up:
                continue
            if what < suspicion:
                if victim != peer and victim not in self.agreements[peer].lost:
                    self._lose(peer, victim)
            elif what < suspicion + trouble:
                self._trouble(peer)
            elif what < 0.5:
                self._send(peer)
            else:
                self._deliver(self.dice.choice(sorted(self.lanes)))

    def finish(self) -> int:
        """Let everything arrive, every silence be noticed and every wait end; return how many rounds that took."""
        for count in range(1, 400):
            for peer in sorted(self.up):
                self._send(peer)
            for lane in sorted(self.lanes):
                while self.lanes[lane]:
                    self._deliver(lane)
            self._notice_silence()
            if not any(self.lanes.values()) and self._is_calm():
                return count
            self.now += 1.0
        raise AssertionError({peer: (a.verdict, a.living) for peer, a in self.agreements.items() if peer in self.up})

    def _is_calm(self) -> bool:
        """Is everything decided, and nothing left that anybody would do, however long it waits."""
        if any(isinstance(self.agreements[peer].verdict, Undecided) for peer in self.up):
            return False
        return not any(self.agreements[peer].peers_to_lose(now=self.now + 99 * PATIENCE) for peer in self.up)

    def _notice_silence(self) -> None:
        for peer in sorted(self.up):
            for other in sorted(self.agreements[peer].living - {peer}):
                is_silent = other not in self.up or peer in self.agreements[other].lost
                if is_silent or (other, peer) in self.broken:
                    self._lose(peer, other)

    def _trouble(self, peer: int) -> None:
        other = self.dice.choice(sorted(self.seats.keys() - {peer}))
        if self.dice.random() < 0.5:
            self.up.discard(peer)
        else:
            self.broken |= {(peer, other), (other, peer)} if self.dice.random() < 0.5 else {(peer, other)}

    def _lose(self, peer: int, other: int) -> None:
        first = VERIFIED + 1 - self.dice.randrange(3)
        last = self.frozen[peer][other] = self.have[peer, other]
        self.agreements[peer].lose(other, first, true_inputs(other, first, last), now=self.now)
        self._look(peer)

    def _send(self, peer: int) -> None:
        self.now += self.dice.random() * self.pace
        for other in sorted(self.agreements[peer].peers_to_lose(now=self.now)):
            self._lose(peer, other)
        for other, message in self.agreements[peer].take_messages():
            self.lanes[peer, other].append(message)

    def _deliver(self, lane: tuple[int, int]) -> None:
        sender, to = lane
        if self.dice.random() < 0.3 and sender not in self.agreements[to].lost:
            self.have[to, sender] += 1
        if self.lanes[lane]:
            message = self.lanes[lane].popleft()
            if to in self.up and lane not in self.broken:
                self.agreements[to].receive(sender, message, now=self.now)
                self._look(to)

    def _look(self, peer: int) -> None:
        verdict = self.agreements[peer].verdict
        if isinstance(verdict, Agreed) and verdict.lost:
            check_inputs(verdict, self.frozen[peer])
            commit = Commit(peer, verdict.lost, dict(verdict.cuts))
            if (peer, verdict.lost) not in self.checked:
                self.checked.add((peer, verdict.lost))
                self.commits.append(commit)
            for lost, cut in verdict.cuts.items():
                side = self.seats.keys() - verdict.lost
                assert cut >= max(self.frozen[member][lost] for member in side)

    def check(self) -> None:
        check_commits(self.commits, self.seats)
        assert not any(agreement.drops.keys() - {"given-up"} for agreement in self.agreements.values())
