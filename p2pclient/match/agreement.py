"""Which peers are lost, and after which frame: decided by those who are left, before anything of it counts.

One :class:`Agreement` per peer and match. It opens no connection and reads no clock. In the words used here, a peer is
**lost** once somebody gave it up for good; the others are **living**, and together they are that somebody's **side**.

How it works:

1. Who gives a peer up takes no datagram of it any more, **freezes** what it has of its inputs, and *says* so: to every
   other peer, in a ``PeersLost`` with its whole lost set and all frozen inputs. Lost sets only grow.
2. Reports are merged: what a living peer reports of a lost one is added to what is frozen, and said again. What comes
   from a peer that is lost here changes nothing any more. The frames of a lost peer have no gaps: each side keeps its
   inputs back to the newest frame that *all* have verified, up to which every survivor has everything, so all ranges
   overlap or touch. What would leave a gap is not counted.
3. A round **commits** when every living peer's newest report names the same lost set and the same last frames as
   ours. The last frame of a lost peer is then the newest input that any of them held. A lost set that grows begins the
   next round. Who of the lost said goodbye to somebody is part of the reports, and so known to all who commit.
4. A side goes on only if it holds a strict majority of the seats of all who have not said goodbye, or all peers of a
   set that the server granted; otherwise the verdict is ``Partition``. A later grant can still turn that. (Who said
   goodbye is through, and on no side. Let two sides without a common peer have majorities: together they hold more than
   all seats less the larger number of leavers' seats, but at most all seats less those of all leavers.)

Why two sides never go on with different histories. Let ``p`` commit the lost set ``K`` and ``q`` commit ``L``, both
with a majority. The two sides share a peer ``r``. It said ``K`` and ``L``, and its set only grows: let ``K`` be part
of ``L``. So the side of ``q`` is part of the side of ``p``, and each of its members has said ``K`` with the last
frames ``c`` that ``p`` committed. None forgets, so none of them has less of a peer in ``K``. None can learn more: it
listens only to members of the side of ``p``, and the first of these that knew more than ``c`` would have had it from
another one. So the last frames in ``K`` are ``c`` for both. Grants keep this up as long as the server never grants two
sides that share no peer, nor one beside a majority that may still live.

What a side that commits alone may have recorded. ``p`` commits, and is then cut off before the others commit. It may
simulate and *record* frames past ``c`` as far as inputs of the living are there; but to verify one it needs the chain
values of all living peers past ``c``, which these can only have after they have committed the same. So such frames stay
unverified. For the same reason a verified frame is never after the last frame of a peer that is lost later.

An author that is lost in mid-round. What it reported before we gave it up is merged and stays, and is said again in
our next report, so that it counts for all or, if nobody who heard it is left, for none. Whoever has given the author up
cannot commit the round that included it; the next one has a larger lost set.

A side that has committed, in a later, larger round. Its cuts stand: it says each with no inputs and
``first_frame = cut + 1``. By the argument above, every living peer has the inputs and no other last frame; one that
claims another is never agreed with and is given up in the end.

Two accusations against each other (a broken link: A and P do not hear each other, all others hear both). Nobody joins
an accusation by hearsay: who still hears the accused waits until it gives it up too (:attr:`Agreement.accused`, so that
silence needs less time), or until the accused accuses in turn, which shows that both live. Then the best side without
such a pair is kept: one that may go on, with the most seats, with the lowest ids. All third parties apply the same rule
to the same accusations, so they choose alike; if some of them chose differently for want of news, then their sets
differ, which the same rule settles, and at worst no side has a majority. Who learns that a peer has given *it* up,
gives up that peer: it will never be on one side with it again.

Every wait ends: a pair that stays open for ``patience`` is settled as it is, and who has not agreed for twice that
time is given up. Each such step makes the lost set larger, so there are fewer of them than peers.

A peer may invent inputs that a lost one never sent to others, and nobody left can know. Two different inputs for one
frame are noticed and end it: ``Contradiction``.

Episodes. Who is lost stays lost; frames start anew, and at each barrier the living say again without whom they go on.
A peer that has gone on to the next episode has closed the last one with everybody, so that all of its frames are
settled everywhere: it agrees with any last frame there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from p2pclient.common.errors import LocalMisuseError
from p2pclient.protocol.control import MAX_LOST_FRAMES, MAX_LOST_PEERS, LostInputs, PeersLost

QUIET = 3.0
"""Seconds without news after which two accusations against each other are settled: one broken connection yields several
accusations within a moment, and a silent peer that is accused is given up by all within less."""
PATIENCE = 20.0
"""Above the 15 s of silence after which every living peer has noticed on its own that another is gone."""
MAX_KNOWN = 2048
"""Frames of one lost peer's inputs that are kept: far above what can be unverified, small in memory."""
_MAX_PIECE_BYTES = 24 * 1024
"""Of inputs in one message: with what is around them, well below what a control message may have."""
_FRAME_OVERHEAD = 3
"""Bytes around one joined input on the wire, at most."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """A round is open."""

    waiting_for: frozenset[int]
    """Living peers whose newest report is not the same as ours, or who gave none."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """The side goes on, without ``lost``. At the beginning, with nobody lost, this is the verdict too.

    Only now does anything follow from a loss: the inputs are added, the seats of the lost get the fill input after
    their last frame, and the chain values of the lost are not waited for any more. Were these given up earlier, a side
    that is cut off would call frames verified that nobody has compared.
    """

    lost: frozenset[int]
    cuts: Mapping[int, int]
    """Last frame of each lost peer; ``NULL_FRAME`` if none of its inputs counts."""
    inputs: Mapping[int, Mapping[int, bytes]]
    """By lost peer: the joined inputs that were not here when it was given up, by frame, up to its last one."""
    left: frozenset[int] = frozenset()
    """Those of the lost who said goodbye; of the others nothing was heard any more."""


@dataclass(frozen=True, slots=True)
class Partition:
    """The side has too few seats to go on, and no grant for it."""

    living: frozenset[int]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two peers have different inputs of a lost one for the same frame. Final: one history cannot be told."""

    lost: int
    frame: int
    reporters: tuple[int, int]
    """Whose input was here first, and whose differs from it."""


Verdict = Undecided | Agreed | Partition | Contradiction


class Agreement:
    """One peer's part in the agreement about lost peers, for a whole match.

    Args:
        own: our own peer id.
        seats_by_peer: seats of every peer at the start of the match, ours included.
        is_valid: is ``joined`` an input that the ``peer`` may send, as ``is_valid(peer, joined)``.
        patience: seconds; above the time in which every living peer notices on its own that another is silent.
    """

    def __init__(
        self,
        own: int,
        seats_by_peer: Mapping[int, Sequence[int]],
        *,
        is_valid: Callable[[int, bytes], bool],
        patience: float = PATIENCE,
    ) -> None:
        if own not in seats_by_peer:
            raise LocalMisuseError(f"peer {own} holds no seats of the match")
        self._own = own
        self._weights = {peer: len(seats) for peer, seats in seats_by_peer.items()}
        self._is_valid = is_valid
        self._patience = patience
        self._finished: set[int] = set()
        self._excused: set[int] = set()
        self._episode = 0
        self._lost: frozenset[int] = frozenset()
        self._grants: set[frozenset[int]] = set()
        self._said: dict[int, frozenset[int]] = {}
        self._left: frozenset[int] = frozenset()
        """Who said goodbye to somebody, as far as heard."""
        self._settled: dict[int, bool] = {}
        """Did a lost peer say goodbye: as it was agreed on."""
        self._changed_at = 0.0
        self._contradiction: Contradiction | None = None
        self._farewells: set[int] = set()
        self._told: dict[int, dict[int, int]] = {}
        self._ahead: dict[int, PeersLost] = {}
        self._known: dict[int, dict[int, tuple[bytes, int]]] = {}
        self._kept: dict[int, tuple[int, int]] = {}
        self._last: dict[int, int] = {}
        self._cuts: dict[int, int] = {}
        self._is_news = False
        self.drops: Counter[str] = Counter()
        """Refused reports by reason."""
        self.verdict: Verdict = Agreed(frozenset(), {}, {})
        """Where the agreement stands. After an ``Agreed`` with peers lost, a larger round may open and close again."""

    @property
    def lost(self) -> frozenset[int]:
        """Peers that were given up here."""
        return self._lost

    @property
    def living(self) -> frozenset[int]:
        """All others and ourselves."""
        return frozenset(self._weights) - self._lost

    @property
    def accused(self) -> frozenset[int]:
        """Living peers that another living one has given up: a short silence of theirs is enough to do the same."""
        return frozenset(accused for _, accused in self._accusations())

    # -- what happens to it -------------------------------------------------------------------------------------

    def lose(self, peer: int, first_frame: int, inputs: Sequence[bytes], *, now: float, has_left: bool = False) -> None:
        """Give a peer up, for good. Take no more datagrams of it, and send it none.

        Args:
            peer: noticed as gone, or one of :meth:`peers_to_lose`.
            first_frame: of ``inputs``; at or before the first frame that not all peers have verified.
            inputs: its joined inputs that are here, without a gap, up to the newest.
            has_left: it said goodbye, so that it is on no side any more.
        """
        if peer == self._own or peer not in self._weights or peer in self._lost:
            raise LocalMisuseError(f"peer {peer} is not another living one")
        self._lost |= {peer}
        self._left |= {peer} if has_left else set()
        self._farewells.add(peer)
        self._changed_at = now
        self._freeze(peer, first_frame, inputs)
        self._review()

    def receive(self, peer: int, message: PeersLost, *, now: float) -> None:
        """Take in a report of another peer. What it must not hold is counted in :attr:`drops`."""
        if peer == self._own or peer not in self._weights:
            raise LocalMisuseError(f"peer {peer} is not another one")
        reason = self._why_refused(peer, message)
        if reason is not None:
            self.drops[reason] += 1
            return
        lost = frozenset(message.lost)
        if lost != self._said.get(peer):
            self._said[peer] = lost
            self._changed_at = now
        self._take_leavers(frozenset(message.left))
        if message.episode == self._episode:
            self._take_inputs(peer, message)
        elif message.episode > self._episode:
            self._ahead[peer] = message
        self._review()

    def grant(self, peers: Iterable[int]) -> None:
        """The server lets any side go on that holds all of ``peers``."""
        self._grants.add(frozenset(peers))
        self._review()

    def finish(self, peer: int) -> None:
        """A living peer is through with the match: it closed the last episode with everybody, and says nothing more.

        So everybody had settled all frames, and there is nothing left on which it could differ.
        """
        if peer in self.living and peer not in self._finished:
            self._finished.add(peer)
            self._review()

    def excuse(self, peer: int, *, is_excused: bool) -> None:
        """A living peer was started again and knows nothing yet, or does again: what it says is not waited for then.

        It goes on from what another living peer tells it once this one's round has committed, so that it differs from
        nobody on any side that it is on.
        """
        if is_excused:
            self._excused.add(peer)
        else:
            self._excused.discard(peer)
        self._review()

    def resume(self, episode: int, cuts: Mapping[int, int], left: Iterable[int]) -> None:
        """Begin where the others stand who went on without the peers in ``cuts``: last frame in ``episode`` of each."""
        self._episode, self._lost = episode, frozenset(cuts)
        self._cuts, self._last = dict(cuts), dict(cuts)
        self._left = frozenset(left)
        self._settled = {peer: peer in self._left for peer in cuts}
        for peer, last in cuts.items():
            self._kept[peer] = last + 1, last
            self._known[peer] = {}
        self._is_news = bool(cuts)
        self.verdict = Agreed(self._lost, dict(cuts), {peer: {} for peer in cuts}, self._left)

    def forgive(self, seconds: float) -> None:
        """Our own program stood still for so long; that counts for nobody's patience."""
        self._changed_at += seconds

    def begin_episode(self, episode: int, *, now: float) -> None:
        """Frames start anew at 0. Call it as soon as the last episode is closed, before the environment is reset."""
        if episode != self._episode + 1:
            raise LocalMisuseError(f"episode {episode} does not follow {self._episode}")
        self._episode = episode
        self._changed_at = now
        ahead, self._ahead = self._ahead, {}
        for kept in (self._told, self._known, self._kept, self._last, self._cuts):
            kept.clear()
        for peer in self._lost:
            self._freeze(peer, 0, ())
        for peer, message in ahead.items():
            self._take_inputs(peer, message)
        self._review()

    def peers_to_lose(self, *, now: float) -> frozenset[int]:
        """Return the living peers that are to be given up for what others said. Look every tick; call :meth:`lose`."""
        left_us = frozenset(peer for peer in self.living if self._own in self._said.get(peer, ()))
        if left_us:
            return left_us
        waited = now - self._changed_at
        accusations = self._accusations()
        if accusations:
            is_mutual = any((accused, by) in accusations for by, accused in accusations)
            if waited < (QUIET if is_mutual else self._patience):
                return frozenset()
            return self.living - self._best_side(accusations)
        if isinstance(self.verdict, Undecided) and waited >= 2 * self._patience:
            return self.verdict.waiting_for
        return frozenset()

    def take_messages(self) -> list[tuple[int, PeersLost]]:
        """Return what is to be sent now, as ``(peer, message)``, in order, over the control lanes.

        A peer that was just given up is told so as well, once and without inputs: it may live behind a link that works
        in one direction, and need not wait for us then.
        """
        lost, left = sorted(self._lost), sorted(self._leavers)
        out = [(peer, PeersLost(self._episode, lost, [], left)) for peer in sorted(self._farewells)]
        if self._is_news:
            report = [PeersLost(self._episode, lost, pieces, left) for pieces in self._pack()]
            out += [(peer, message) for peer in sorted(self.living - {self._own}) for message in report]
        self._farewells.clear()
        self._is_news = False
        return out

    @property
    def _leavers(self) -> frozenset[int]:
        """The lost who said goodbye to somebody. What was agreed on stands."""
        return frozenset(peer for peer in self._lost if self._settled.get(peer, peer in self._left))

    def _take_leavers(self, left: frozenset[int]) -> None:
        before = self._leavers
        self._left |= left
        self._is_news = self._is_news or self._leavers != before

    # -- inputs of the lost -------------------------------------------------------------------------------------

    def _freeze(self, peer: int, first_frame: int, inputs: Sequence[bytes]) -> None:
        self._kept[peer] = first_frame, first_frame + len(inputs) - 1
        self._last[peer] = first_frame + len(inputs) - 1
        self._is_news = True
        self._merge(peer, first_frame, inputs, reporter=self._own)

    def _take_inputs(self, peer: int, message: PeersLost) -> None:
        told = self._told.setdefault(peer, {})
        for part in message.inputs:
            told[part.peer] = part.first_frame + len(part.inputs) - 1
            self._merge(part.peer, part.first_frame, part.inputs, reporter=peer)

    def _merge(self, peer: int, first_frame: int, inputs: Sequence[bytes], *, reporter: int) -> None:
        known = self._known.setdefault(peer, {})
        for frame, value in enumerate(inputs, first_frame):
            value_before, reporter_before = known.setdefault(frame, (value, reporter))
            if value != value_before and self._contradiction is None:
                self._contradiction = Contradiction(peer, frame, (reporter_before, reporter))

    def _why_refused(self, peer: int, message: PeersLost) -> str | None:
        if peer in self._lost:
            return "given-up"
        if abs(message.episode - self._episode) > 1:
            return "other-episode"
        lost = frozenset(message.lost)
        if len(lost) != len(message.lost) or peer in lost or not lost <= frozenset(self._weights):
            return "bad-lost"
        if not lost >= self._said.get(peer, frozenset()):
            return "shrinking"
        if not lost >= frozenset(message.left):
            return "bad-lost"
        for part in message.inputs:
            if part.peer not in lost or part.peer == self._own:
                return "bad-inputs"
            if len(self._known.get(part.peer, ())) + len(part.inputs) > MAX_KNOWN:
                return "too-many"
            if not all(self._is_valid(part.peer, value) for value in part.inputs):
                return "bad-inputs"
        return None

    def _pack(self) -> list[list[LostInputs]]:
        """Return the inputs of all lost peers, as they fit into messages."""
        messages: list[list[LostInputs]] = []
        room = 0
        for piece in self._pieces():
            size = sum(len(value) + _FRAME_OVERHEAD for value in piece.inputs)
            if not messages or size > room or len(messages[-1]) == MAX_LOST_PEERS:
                messages.append([])
                room = _MAX_PIECE_BYTES
            messages[-1].append(piece)
            room -= size
        return messages

    def _pieces(self) -> Iterator[LostInputs]:
        for peer in sorted(self._lost):
            first = self._cuts[peer] + 1 if peer in self._cuts else self._kept[peer][0]
            values = [self._known[peer][frame][0] for frame in range(first, self._last[peer] + 1)]
            widest = max(map(len, values), default=0) + _FRAME_OVERHEAD
            count = min(MAX_LOST_FRAMES, _MAX_PIECE_BYTES // widest)
            for at in range(0, max(1, len(values)), count):
                yield LostInputs(peer, first + at, values[at : at + count])

    # -- the decision -------------------------------------------------------------------------------------------

    def _accusations(self) -> set[tuple[int, int]]:
        """Return ``(by, accused)`` of all pairs of living others that will never be on one side again."""
        living = self.living
        return {(by, accused) for by in living for accused in self._said.get(by, frozenset()) & living}

    def _best_side(self, accusations: set[tuple[int, int]]) -> frozenset[int]:
        others = sorted(self.living - {self._own})
        sides = [frozenset((self._own, *some)) for n in range(len(others) + 1) for some in combinations(others, n)]
        whole = [side for side in sides if not any(by in side and accused in side for by, accused in accusations)]
        return max(whole, key=lambda side: (self._may_go_on(side), self._seats(side), [-p for p in sorted(side)]))

    def _seats(self, side: Iterable[int]) -> int:
        return sum(self._weights[peer] for peer in side)

    def _may_go_on(self, side: frozenset[int]) -> bool:
        is_most = 2 * self._seats(side) > self._seats(self._weights.keys() - self._leavers)
        return is_most or any(grant <= side for grant in self._grants)

    def _review(self) -> None:
        """Count what is here without a gap, and judge."""
        for peer in self._lost - self._cuts.keys():
            while self._last[peer] + 1 in self._known[peer]:
                self._last[peer] += 1
                self._is_news = True
        self.verdict = self._judge()
        if isinstance(self.verdict, Agreed):
            self._cuts = dict(self._last)
            self._settled.update({peer: peer in self._leavers for peer in self._lost})

    def _judge(self) -> Verdict:
        if self._contradiction is not None:
            return self._contradiction
        living = self.living
        if not self._may_go_on(living):
            return Partition(living)
        waiting_for = frozenset(peer for peer in living if peer != self._own and not self._says_the_same(peer))
        if waiting_for:
            return Undecided(waiting_for)
        inputs = {
            peer: {frame: self._known[peer][frame][0] for frame in range(self._kept[peer][1] + 1, last + 1)}
            for peer, last in self._last.items()
        }
        return Agreed(self._lost, dict(self._last), inputs, self._leavers)

    def _says_the_same(self, peer: int) -> bool:
        if peer in self._finished or peer in self._excused:
            return True
        if self._said.get(peer, frozenset()) != self._lost:
            return False
        told = self._told.get(peer, {})
        return peer in self._ahead or all(told.get(lost) == last for lost, last in self._last.items())
