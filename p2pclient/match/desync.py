"""What happens when states differ: name the frame, show both states, and end, or simulate again and compare.

1. Whoever sees a difference stops playing and tells all others its checksums since the last agreement; whoever is told
   so does the same. With all lists, every side names the same first differing frame.
2. Each side fetches its state after that frame, as it was played, and sends it to all; each keeps both states and
   their differences field by field.
3. If the study says so, all sides go back to the last verified frame, simulate the confirmed inputs again and tell
   their checksums once more. They play on only if these agree; what was recorded meanwhile is withdrawn and recorded
   anew. Otherwise, and wherever somebody does not answer in time, the match ends with the reason ``desync``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.envhost.values import encode
from p2pclient.match.core import MatchCore
from p2pclient.match.episode import EvidenceBatch, PlayBatch
from p2pclient.match.evidence import FirstDifference, StateParts, first_difference, split_state
from p2pclient.match.peers import Peer
from p2pclient.match.plan import Desync, Phase
from p2pclient.protocol.control import MAX_CHECKSUMS, Checksums, StatePart
from p2pclient.recorder.records import DesyncEvidence, FramesWithdrawn

PATIENCE = 5.0
"""Seconds without a word from anybody after which a side waits no longer."""
LONGEST = 60.0
"""Seconds after which a desync ends the match, whatever is still under way."""
MAX_ATTEMPTS = 3
"""Desyncs of one match after which nobody tries to go on."""
_OPEN_PARTS = 16
"""Pieces of a state that may wait for their acknowledgement: a state must not crowd out the goodbye."""


class Stage(Enum):
    """How far a desync has been looked into."""

    NAMING = "naming"
    FETCHING = "fetching"
    EXCHANGING = "exchanging"
    SIMULATING = "simulating"
    COMPARING = "comparing"


@dataclass(slots=True)
class _Case:
    """One desync."""

    after: int
    """Newest frame on which all agreed."""
    began: float
    heard: float
    stage: Stage = Stage.NAMING
    named: FirstDifference | None = None
    state: bytes = b""
    """Ours after the named frame, as bytes; empty if we did not come so far."""
    parts: dict[int, list[StatePart]] = field(default_factory=dict)
    """Pieces that are still to be sent, by peer."""
    states: dict[int, StateParts] = field(default_factory=dict)


class DesyncCourse:
    """Sees the desyncs of one match through."""

    def __init__(self, core: MatchCore) -> None:
        self._core = core
        self._case: _Case | None = None
        self._attempts = 0
        self._lists: dict[tuple[int, int], Checksums] = {}
        """What each peer told, by peer and round. Every desync has two rounds: as played, and simulated again."""

    # -- what peers say -----------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """States differ somewhere after what is verified: stop, and exchange checksums."""
        core, episode = self._core, self._core.episode
        if self._case is not None:
            self._case.heard = now
        if self._case is not None or episode is None or core.ended is not None or core.phase is Phase.FINISHING:
            return
        self._case = _Case(episode.chain.verified_frame, now, now)
        core.unreported = self._report_as_known
        core.change_phase(Phase.DIVERGED)
        self._tell_checksums(2 * self._attempts)

    def receive_checksums(self, peer: Peer, message: Checksums, now: float) -> None:
        """Take a peer's list; it sees a desync even if we do not."""
        if message.round not in (2 * self._attempts, 2 * self._attempts + 1):
            return
        self._lists[peer.id, message.round] = message
        # How an episode ended is told again by those who go on.
        peer.over.pop(message.episode, None)
        self.begin(now)

    def receive_state(self, peer: Peer, part: StatePart, now: float) -> None:
        """Take a piece of a peer's state."""
        case = self._case
        if case is None:
            return
        case.heard = now
        try:
            case.states.setdefault(peer.id, StateParts()).add(part)
        except RemoteProtocolError as error:
            peer.endpoint.drops[error.reason] += 1

    def _tell_checksums(self, number: int) -> None:
        core, case = self._core, self._case
        assert case is not None
        assert core.episode is not None
        kept = core.episode.chain.checksums_since(case.after)[-MAX_CHECKSUMS:]
        first = kept[0][0] if kept else case.after + 1
        core.peers.tell(Checksums(core.number, first, [c for _, c in kept], number))

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, *, is_batch_out: bool, now: float) -> list[list[Any]] | EvidenceBatch | PlayBatch | None:
        """Take the next step that is possible; returns the batch for the host, if one is needed.

        Call it in every tick of a divergence.
        """
        case = self._case
        assert case is not None
        if now - case.heard > PATIENCE or now - case.began > LONGEST:
            self._close("interrupted", now)
            return None
        if case.stage is Stage.NAMING and self._has_all(2 * self._attempts):
            case.named = self._compare(2 * self._attempts)
            case.stage = Stage.FETCHING
            case.heard = now
        if case.stage is Stage.FETCHING and not is_batch_out:
            return self._fetch(case, now)
        if case.stage is Stage.EXCHANGING:
            self._exchange(case)
            if self._has_all_states(case):
                return self._after_exchange(case, now)
        if case.stage is Stage.COMPARING and self._has_all(2 * self._attempts + 1):
            self._decide(case, now)
        return None

    def _has_all(self, number: int) -> bool:
        return all((peer.id, number) in self._lists for peer in self._core.peers)

    def _compare(self, number: int) -> FirstDifference | None:
        episode, case = self._core.episode, self._case
        assert episode is not None
        assert case is not None
        theirs = {peer.id: self._lists[peer.id, number] for peer in self._core.peers}
        return first_difference(dict(episode.chain.checksums_since(case.after)), theirs)

    # -- both states --------------------------------------------------------------------------------------------

    def _fetch(self, case: _Case, now: float) -> EvidenceBatch | None:
        episode = self._core.episode
        assert episode is not None
        if case.named is None:
            self._close("interrupted", now)
            return None
        if case.named.frame > episode.recorded or not self._core.plan.goes_back:
            self._have_state(case, None)
            return None
        return episode.plan_evidence(case.named.frame)

    def take_evidence(self, batch: EvidenceBatch, results: Sequence[Any], now: float) -> None:
        """Our state after the named frame is here."""
        case = self._case
        if case is not None:
            case.heard = now
            self._have_state(case, results[batch.state]["data"])

    def _have_state(self, case: _Case, state: Any) -> None:
        assert case.named is not None
        case.state = b"" if state is None else encode(state)
        parts = split_state(self._core.number, case.named.frame, case.state)
        case.parts = {peer.id: list(parts) for peer in self._core.peers}
        case.stage = Stage.EXCHANGING

    def _exchange(self, case: _Case) -> None:
        for peer in self._core.peers:
            waiting = case.parts[peer.id]
            while waiting and peer.endpoint.open_control < _OPEN_PARTS:
                peer.endpoint.queue_control(waiting.pop(0))

    def _has_all_states(self, case: _Case) -> bool:
        arrived = all(p.id in case.states and case.states[p.id].is_complete for p in self._core.peers)
        return arrived and not any(case.parts.values())

    # -- the verdict --------------------------------------------------------------------------------------------

    def _after_exchange(self, case: _Case, now: float) -> PlayBatch | None:
        episode = self._core.episode
        assert episode is not None
        plan = self._core.plan
        if plan.on_desync != "resimulate" or not plan.goes_back or self._attempts >= MAX_ATTEMPTS:
            self._close("ended", now)
            return None
        batch = episode.plan_resimulation(case.after + 1)
        if batch is None:
            self.take_resimulation(now)
            return None
        case.stage = Stage.SIMULATING
        case.heard = now
        return batch

    def take_resimulation(self, now: float) -> None:
        """Everything since the last verified frame was simulated again: withdraw, and let the others compare.

        The results must have been handed to the episode, and the withdrawn frames settled anew.
        """
        case = self._case
        assert case is not None
        case.heard = now
        case.stage = Stage.COMPARING
        self._tell_checksums(2 * self._attempts + 1)

    def withdraw(self) -> FramesWithdrawn | None:
        """Take back what was recorded since the last verified frame; None if there was nothing."""
        case, episode = self._case, self._core.episode
        assert case is not None
        assert episode is not None
        recorded = episode.recorded
        newest = {
            peer.id: said.first_frame + len(said.checksums) - 1
            for peer in self._core.peers
            if (said := self._lists.get((peer.id, 2 * self._attempts))) is not None
        }
        episode.withdraw(case.after, newest)
        return FramesWithdrawn(episode.number, case.after + 1) if recorded > case.after else None

    def _decide(self, case: _Case, now: float) -> None:
        difference = self._compare(2 * self._attempts + 1)
        if difference is not None:
            self._close("differed", now)
            return
        core = self._core
        core.unreported = None
        self._write_report(case, "agreed")
        self._case = None
        self._attempts += 1
        self._lists = {key: said for key, said in self._lists.items() if key[1] >= 2 * self._attempts}
        core.change_phase(Phase.PLAYING)

    def _close(self, verdict: str, now: float) -> None:
        """End the match with what is known."""
        core, case = self._core, self._case
        assert case is not None
        core.unreported = None
        self._case = None
        frame = self._write_report(case, verdict)
        text = f"The two games became different at frame {frame} of episode {core.number + 1}."
        core.end("desync", text, leave="desync", now=now)

    def _report_as_known(self, now: float) -> None:
        case = self._case
        # The goodbye of a side that was done first may come together with the last piece of its state.
        is_done = case is not None and case.stage is Stage.EXCHANGING and self._has_all_states(case)
        self._close("ended" if is_done and self._core.plan.on_desync == "end" else "interrupted", now)

    def _write_report(self, case: _Case, verdict: str) -> int:
        """Hand out the event and the report; return the frame that they name."""
        core, named = self._core, case.named
        peers = [peer.id for peer in core.peers]
        if named is None:  # the first that is not known to be equal
            named = FirstDifference(case.after + 1, peers[0], b"", b"")
        core.counters.desyncs += 1
        core.out.events.append(Desync(named.peer, core.number, named.frame, named.ours, named.theirs))
        details = {"peer": named.peer, "first_frame": named.frame, "verdict": verdict}
        core.note("desync", {**details, "ours": named.ours.hex(), "theirs": named.theirs.hex()})
        theirs = _joined(case, named)
        core.out.records.append(DesyncEvidence(core.number, named.frame, named.peer, case.state, theirs, verdict))
        return named.frame

    def report_first_state(self, peer: Peer, ours: bytes, theirs: bytes, now: float) -> None:
        """The first states of an episode differ: nothing was played, and there is nothing to go back to."""
        core = self._core
        core.counters.desyncs += 1
        core.out.events.append(Desync(peer.id, core.number, NULL_FRAME, ours, theirs))
        core.note("desync", {"peer": peer.id, "first_frame": NULL_FRAME, "ours": ours.hex(), "theirs": theirs.hex()})
        text = f"The two games differ at the beginning of episode {core.number + 1}."
        core.end("desync", text, leave="desync", now=now)


def _joined(case: _Case, named: FirstDifference) -> bytes:
    """Return what the named peer sent as its state after the named frame; empty if it sent none, or another one."""
    parts = case.states.get(named.peer)
    return parts.joined() if parts is not None and parts.frame == named.frame else b""
