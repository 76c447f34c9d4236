"""The waiting room: who is proposed to whom, and what becomes of proposals.

1. Only who waits, is connected and has loaded its environment is proposed. Who still loads keeps its place meanwhile.
2. A match begins when all proposed have confirmed. Until then everybody keeps its place in the queue.
3. If one does not confirm in time, or declines, it goes out of the queue; the others wait on where they were. If one
   loses its connection, all wait on, and it keeps its place for as long as it is waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from p2pclient.common.lobby_messages import Waiting
from p2pclient.common.room_messages import Confirm, Decline, Proposed, Withdrawn
from p2pclient.common.stages import Stage
from signaling.effects import Decided, Effect
from signaling.lifecycle import MATCH_STEPS, MatchState, step
from signaling.matching.base import Candidate, Proposal, Round
from signaling.probing import Probing
from signaling.room_state import Booking, Participant, PendingMatch, RoomState
from signaling.rounds import Rounds, members_line, without
from signaling.running import RunningMatches

MAX_CANDIDATES = 500
"""Of one round; who waits behind them has its turn when they are fewer."""

SHORT_QUEUE = 32

_OTHERS_KEPT = "Somebody was not ready. You keep your place."
_TOO_LATE = "A game was found for you, but this computer did not answer in time. You can wait again."


class Pairing:
    """See the module's docstring for the rules."""

    def __init__(self, state: RoomState, running: RunningMatches, probing: Probing) -> None:
        self._state = state
        self._running = running
        self._probing = probing
        self._rounds = Rounds(state, probing)

    # -- the queue ----------------------------------------------------------------------------------------------------

    def enter(self, participant: Participant, *, now: float) -> None:
        """Put somebody who is idle at the end of the queue."""
        participant.enter(Stage.WAITING, now=now)
        participant.told, participant.wait_is_over, participant.reason = None, False, ""
        participant.ready_since = now if participant.ready else None
        self._state.queue.append(participant.id)
        self._state.give_place(participant)

    def set_ready(self, participant: Participant, ready: bool, *, now: float) -> None:
        """Its environment is loaded, or is not."""
        participant.ready = ready
        participant.touch()
        if participant.stage is Stage.WAITING:
            since = now if participant.ready_since is None else participant.ready_since
            participant.ready_since = since if ready else None

    def remove(self, participant: Participant, why: str, *, now: float, stage: Stage = Stage.IDLE) -> list[Effect]:
        """Take somebody out of the queue. Its proposal comes to nothing, and the others keep their place."""
        effects: list[Effect] = []
        if participant.stage is Stage.MATCHED:
            effects = self.withdraw(self._state.pending[participant.proposal_id], why, now=now)
        if participant.stage is Stage.WAITING:
            self._state.queue.remove(participant.id)
            participant.enter(stage, now=now)
            participant.ready_since, participant.reason = None, ""
        return effects

    def free(self) -> list[Participant]:
        """Return who may be proposed and is not reserved, the next one first."""
        waiting = (self._state.participants[each] for each in self._state.queue)
        return [each for each in waiting if each.is_free and not each.booking]

    # -- proposals ----------------------------------------------------------------------------------------------------

    def settle(self, *, now: float, tell_all: bool = False) -> list[Effect]:
        """Propose whoever goes together now, and tell those who wait what has changed for them.

        That only the number of those who wait is another one is told in a long queue with ``tell_all`` only: it would
        send as many messages as it has members for each one who comes.
        """
        effects = self._keep_bookings(now)
        if not self._state.is_held:
            effects += self._ask_matcher(now)
        return [*effects, *self._tell_waiting(tell_all)]

    def _ask_matcher(self, now: float) -> list[Effect]:
        free = self.free()[:MAX_CANDIDATES]
        if not free or self._room_left() <= 0:
            self._state.matching_problem = ""  # nobody is kept waiting by it
            return []
        candidates = tuple(self._rounds.candidate(each, now) for each in free)
        if self._state.rules.matcher_is_aside:
            return self._rounds.ask_aside(candidates, now=now)
        return self._follow(candidates, self._rounds.ask(candidates, now=now), now)

    def answered(self, request: int, found: Round, *, now: float) -> list[Effect]:
        """A matcher that was asked aside has answered. Does nothing for a question that nobody asks any more."""
        candidates = self._rounds.asked(request)
        if not candidates:
            return []
        found = self._rounds.checked(found, candidates)
        is_held = self._state.is_held
        self._rounds.close(is_final=not (is_held or found.proposals), now=now)
        if is_held:
            return []
        return self._follow(candidates, without(found, {each.id for each in self.free()}), now)

    def _room_left(self) -> int:
        state = self._state
        return state.limits.matches - len(state.matches) - len(state.pending)

    def _follow(self, candidates: Sequence[Candidate], found: Round, now: float) -> list[Effect]:
        """Do what a round came to, for whoever of its candidates is here."""
        here = self._state.participants
        for each in candidates:
            if each.id in here:
                here[each.id].reason = ""
        for rejection in found.rejections:
            for member in rejection.members:
                if member in here:
                    here[member].reason = rejection.why
        effects: list[Effect] = []
        chosen: dict[str, Proposal] = {}
        for proposal in found.proposals[: max(0, self._room_left())]:
            pending, said = self.propose(proposal, now=now)
            effects += said
            chosen[pending.id] = proposal
        effects += self._probing.want(found.to_measure, now=now)
        return [*effects, *self._rounds.written(candidates, found, chosen, now=now)]

    def propose(self, proposal: Proposal, *, now: float, is_forced: bool = False) -> tuple[PendingMatch, list[Effect]]:
        """Ask all members to confirm. They must be free."""
        state = self._state
        state.proposals_made += 1
        within = state.rules.confirm_within_s
        pending = PendingMatch(
            id=f"q{state.proposals_made}-{state.entropy.getrandbits(16):04x}",
            members=proposal.members,
            why=proposal.why,
            condition=proposal.condition,
            deadline=now + within,
            since=now,
            is_forced=is_forced,
        )
        state.pending[pending.id] = pending
        effects: list[Effect] = []
        for member in proposal.members:
            known = state.participants[member]
            known.enter(Stage.MATCHED, now=now)
            known.proposal_id, known.reason = pending.id, ""
            said = Proposed(proposal_id=pending.id, seats=state.settings.seats, confirm_within_s=within)
            effects += state.send(member, said)
        return pending, effects

    def force(self, members: Sequence[str], why: str, *, now: float) -> list[Effect]:
        """Propose these without asking the matcher. They must be free."""
        proposal = Proposal(tuple(members), why)
        pending, effects = self.propose(proposal, now=now, is_forced=True)
        line = {"decision": "forced", "proposal": pending.id, **members_line(proposal)}
        return [Decided(line), *effects]

    def confirm(self, participant: Participant | None, confirm: Confirm, *, now: float) -> list[Effect]:
        """A client is there and ready. Does nothing for a proposal that is gone, or is not its own."""
        pending = self._state.pending.get(confirm.proposal_id)
        if pending is None or participant is None or participant.id not in pending.members:
            return []
        pending.confirmed.add(participant.id)
        if not pending.confirmed.issuperset(pending.members) or not all(map(self._state.is_present, pending.members)):
            return []
        del self._state.pending[pending.id]
        self._state.queue = [each for each in self._state.queue if each not in pending.members]
        for booking in list(self._state.bookings.values()):
            if booking.members == pending.members:
                self._answer(booking, "done", "")
        self._forget_bookings(pending.members)
        return self._running.begin(pending, now=now)

    def decline(self, participant: Participant | None, decline: Decline, *, now: float) -> list[Effect]:
        """A client does not take its place, and leaves the waiting room."""
        pending = self._state.pending.get(decline.proposal_id)
        if pending is None or participant is None or participant.id not in pending.members:
            return []
        return self.withdraw(pending, "declined", out={participant.id}, now=now)

    def withdraw(
        self, pending: PendingMatch, why: str, *, now: float, out: Collection[str] = (), message: str = _OTHERS_KEPT
    ) -> list[Effect]:
        """A proposal comes to nothing. Those in ``out`` leave the queue, the others keep their place."""
        state = self._state
        pending.state = step(MATCH_STEPS, pending.state, MatchState.ENDED)
        del state.pending[pending.id]
        kept = [each for each in pending.members if each not in out]
        effects: list[Effect] = []
        for member in pending.members:
            known = state.participants[member]
            known.enter(Stage.WAITING, now=now)
            known.proposal_id, known.told = "", None
            is_out = member in out
            words = _TOO_LATE if is_out else message
            effects += state.send(member, Withdrawn(proposal_id=pending.id, message=words, waiting=not is_out))
            if is_out:
                self.remove(known, why, now=now)
        line: dict[str, object] = {"decision": "withdrawn", "proposal": pending.id, "why": why}
        line.update(kept=kept, out=sorted(out))
        state.note("proposal", f"A proposal came to nothing: {why}.", now, severity="warning")
        causes = [(each, state.participants[each].address) for each in pending.members]
        return [*state.decide(line, causes=causes, now=now), *effects]

    def expire(self, *, now: float) -> list[Effect]:
        """Let go of who has not confirmed in time."""
        effects: list[Effect] = []
        for pending in [each for each in self._state.pending.values() if now >= each.deadline]:
            late = {each for each in pending.members if each not in pending.confirmed}
            effects += self.withdraw(pending, "not confirmed in time", out=late, now=now)
        return effects

    # -- those who are to play together as soon as they can -----------------------------------------------------------

    def book(self, members: Sequence[str], why: str, until: float, *, action: str = "") -> None:
        """Reserve participants for each other. Whoever was reserved before for others no longer is."""
        self._forget_bookings(members)
        self._state.bookings_made += 1
        number = self._state.bookings_made
        self._state.bookings[number] = Booking(tuple(members), why, until, action)
        for member in members:
            self._state.participants[member].booking = number
            self._state.participants[member].touch()

    def _keep_bookings(self, now: float) -> list[Effect]:
        state = self._state
        effects: list[Effect] = []
        for booking in list(state.bookings.values()):
            members = [state.participants.get(each) for each in booking.members]
            asked = any(each is not None and each.stage is Stage.MATCHED for each in members)
            if any(each is None for each in members) or (now >= booking.until and not asked):
                self._forget_bookings(booking.members)
                self._answer(booking, "failed", "Not all of them came.")
            elif all(each is not None and each.is_free for each in members):
                effects += self.force(booking.members, booking.why, now=now)
        return effects

    def _answer(self, booking: Booking, state: str, detail: str) -> None:
        for ask in self._state.asks:
            if ask.id == booking.action and ask.state == "sent":
                ask.state, ask.detail = state, detail

    def _forget_bookings(self, members: Collection[str]) -> None:
        for number, booking in list(self._state.bookings.items()):
            if not set(members).isdisjoint(booking.members):
                del self._state.bookings[number]
                for each in booking.members:
                    if each in self._state.participants:
                        self._state.participants[each].booking = 0
                        self._state.participants[each].touch()

    # -- what those who wait are told ---------------------------------------------------------------------------------

    def _tell_waiting(self, tell_all: bool) -> list[Effect]:
        effects: list[Effect] = []
        seats = self._state.settings.seats
        waiting = [each for each in self._state.queue if self._state.participants[each].stage is Stage.WAITING]
        tell_all = tell_all or len(waiting) <= SHORT_QUEUE
        for index, each in enumerate(waiting):
            known = self._state.participants[each]
            needed = max(0, (index // seats + 1) * seats - len(waiting))
            place = Waiting(position=index + 1, waiting=len(waiting), needed=needed)
            told = known.told
            same = told is not None and (told.position, told.needed) == (place.position, place.needed)
            if known.connection is not None and (told != place if tell_all else not same):
                known.told = place
                effects += self._state.send(each, place)
        return effects
