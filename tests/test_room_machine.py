"""Everything that can happen to a room, in any order: no ghosts, nobody forgotten, a screen for everybody.

``TANDEM_ROOM_RUNS=10000`` runs as many examples as that; the suite runs a few.
"""

from __future__ import annotations

import os
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    Admitted,
    Finished,
    Join,
    LastMatch,
    Leave,
    Matched,
    MatchResult,
    MatchSettings,
    PeerBack,
    PeerGone,
    ServerMessage,
    Waiting,
    Watch,
    Welcome,
)
from p2pclient.common.room_messages import (
    Command,
    Confirm,
    Decline,
    Done,
    Health,
    Proposed,
    Ready,
    Removed,
    Report,
    Withdrawn,
)
from p2pclient.common.stages import SCREENS, Stage
from signaling.actions import (
    Action,
    AddBot,
    EndMatch,
    Hold,
    Move,
    Pair,
    PauseMatch,
    Release,
    Remove,
    StartAll,
    Tell,
)
from signaling.durable import read_room
from signaling.effects import AskMatcher, Disconnect, Effect, Kept, Send, StartBot
from signaling.matching.simple import FirstCome
from signaling.room import Room
from signaling.room_state import Limits, Rules
from signaling.rows import MATCH_STATES, PARTICIPANT_STATES
from signaling.store.memory import MemoryStore

RUNS = int(os.environ.get("TANDEM_ROOM_RUNS", "40"))
T = TypeVar("T")
LABELS = ("", "", "A", "B", "C")
RULES = [
    Rules(grace_s=15.0, confirm_within_s=30.0),
    Rules(grace_s=5.0, confirm_within_s=10.0, wait_limit_s=20.0),
    Rules(grace_s=5.0, confirm_within_s=10.0, wait_limit_s=20.0, after_wait="bot", wait_bot="seeker", starts_bots=True),
    Rules(grace_s=5.0, confirm_within_s=10.0, wait_limit_s=20.0, after_wait="alone"),
    Rules(grace_s=5.0, confirm_within_s=10.0, matcher_is_aside=True),
]


def result_of(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits, as everything of a memory store."""
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("it waits for something")


@dataclass
class Client:
    """One program. It believes what it is told, and nothing else."""

    connection: str | None
    label: str = ""
    token: str | None = None
    id: str = ""
    believes: Stage = Stage.IDLE
    proposal: str = ""
    match: str = ""
    proposals: list[str] = field(default_factory=list)
    """All that it ever got."""
    asked: list[str] = field(default_factory=list)

    def hear(self, message: ServerMessage) -> None:
        match message:
            case Welcome():
                self.token, self.id = message.token, message.client_id
                if message.match is None and self.believes in (Stage.CONNECTING, Stage.WATCHING):
                    self.believes = Stage.IDLE
            case Waiting():
                assert self.believes not in (Stage.CONNECTING, Stage.MATCHED)
                self.believes = Stage.WAITING
            case Proposed():
                assert self.believes in (Stage.WAITING, Stage.IDLE)  # it may be proposed before it is told its place
                self.believes, self.proposal = Stage.MATCHED, message.proposal_id
                self.proposals.append(message.proposal_id)
            case Withdrawn():
                assert (self.believes, self.proposal) == (Stage.MATCHED, message.proposal_id)
                self.believes = Stage.WAITING if message.waiting else Stage.IDLE
            case Matched():
                assert self.believes is Stage.MATCHED
                self.believes, self.match = Stage.CONNECTING, message.match_id
            case Admitted():
                self.believes, self.match = Stage.WATCHING, message.match_id
            case PeerGone() | PeerBack():
                assert message.match_id == self.match
                assert message.client_id != self.id
            case Removed():
                self.believes = Stage.FINISHED
            case Command():
                self.asked.append(message.action_id)
                if message.kind == "leave":
                    self.believes = Stage.EXCLUDED


class RoomMachine(RuleBasedStateMachine):
    """Clients come, load, confirm, decline, finish, vanish and return; researchers and the clock do what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 0
        self.generation = 0
        self.rules_index, self.seats = 0, 2
        self.clients: list[Client] = []
        self.confirmed: dict[str, set[str]] = {}
        """Participants by proposal."""
        self.bots: list[StartBot] = []
        self.to_the_matcher: list[AskMatcher] = []
        """All that this server ever asked of a matcher that takes its time."""
        self.known_matches: set[str] = set()
        self.store = MemoryStore()
        self.is_cut_off: bool | None = None
        """The server is about to be killed: False before it has written what it tells, True after that."""
        self.room = self.make_room()
        self.start()

    def make_room(self) -> Room:
        self.generation += 1
        self.to_the_matcher = []
        return Room(
            MatchSettings(env="cogrid:Test", seats=self.seats, on_drop="go-on"),
            entropy=random.Random(self.generation),
            secrets=random.Random(1000 + self.generation),
            rules=RULES[self.rules_index],
            limits=Limits(clients=12, matches=3, bots=2),
            study="study",
        )

    def start(self) -> None:
        """Let the room go on with what is in the store."""
        self.carry_out(self.room.restore(result_of(read_room(self.store, "study")), now=self.now))

    # -- carrying out -------------------------------------------------------------------------------------------------

    def open_ones(self) -> dict[str, Client]:
        return {each.connection: each for each in self.clients if each.connection is not None}

    def carry_out(self, effects: Sequence[Effect]) -> None:
        records = [each.record for each in effects if isinstance(each, Kept)]
        first_told = next((index for index, each in enumerate(effects) if isinstance(each, Send)), len(effects))
        assert not any(isinstance(each, Kept) for each in effects[first_told:]), "told before it is kept"
        if self.is_cut_off is not False:
            result_of(self.store.write(records))
        if self.is_cut_off is not None:
            return
        for each in effects:
            if isinstance(each, Send):
                client = self.open_ones().get(each.client)
                assert client is not None, f"{each.message} is sent to nobody"
                if isinstance(each.message, Matched):
                    self.check_start(each.message, client)
                client.hear(each.message)
            elif isinstance(each, Disconnect):
                client = self.open_ones()[each.client]
                assert client.believes is Stage.FINISHED, "closed without a word"
                client.connection = None
                self.clients.remove(client)
            elif isinstance(each, StartBot):
                self.bots.append(each)
            elif isinstance(each, AskMatcher):
                self.to_the_matcher.append(each)

    def check_start(self, matched: Matched, client: Client) -> None:
        assert client.match != matched.match_id, "a number was given twice"
        members = {client.id, *(peer.client_id for peer in matched.peers)}
        present = {each.id for each in self.open_ones().values()}
        assert members <= present, "a match begins with somebody absent"
        assert members <= self.confirmed[client.proposal], "a match begins that not all have confirmed"
        assert set(self.room.matches[matched.match_id]) == members
        self.known_matches.add(matched.match_id)

    def pick(self, data: st.DataObject, *, connected: bool = True) -> Client:
        return data.draw(st.sampled_from([each for each in self.clients if (each.connection is not None) is connected]))

    def has_connected(self) -> bool:
        return any(each.connection is not None for each in self.clients)

    def connect(self) -> str | None:
        self.count += 1
        name = f"c{self.count}"
        try:
            self.carry_out(self.room.arrive(name, now=self.now))
        except SignalingError as error:
            self.expect(error, "full")
            return None
        return name

    def expect(self, error: SignalingError, *codes: str) -> None:
        assert error.code in codes

    def try_join(self, client: Client, join: Join) -> None:
        """Join; whoever is refused closes its connection, as the real client does."""
        assert client.connection is not None
        before = self.picture()
        try:
            self.carry_out(self.room.join(client.connection, join, now=self.now))
        except SignalingError as error:
            self.expect(error, "label-in-use", "already-matched", "removed", "full")
            assert self.picture() == before, "a refusal changed something"
            if error.code in ("label-in-use", "removed", "full"):
                self.close(client, "disconnected")

    def picture(self) -> object:
        row = self.room.row(now=self.now, epoch=self.now)
        return (row.participants, row.matches, self.room.waiting, self.room.proposed)

    def close(self, client: Client, why: str) -> None:
        connection, client.connection = client.connection, None
        self.clients.remove(client)
        assert connection is not None
        self.carry_out(self.room.depart(connection, why, now=self.now))  # type: ignore[arg-type]

    # -- what clients do ----------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.clients and not self.known_matches)
    @rule(index=st.integers(0, len(RULES) - 1), seats=st.sampled_from([1, 2, 2, 3]))
    def choose_rules(self, index: int, seats: int) -> None:
        self.rules_index, self.seats = index, seats
        self.store = MemoryStore()
        self.room = self.make_room()
        self.start()

    @rule(label=st.sampled_from(LABELS), ready=st.booleans())
    def come(self, label: str, ready: bool) -> None:
        name = self.connect()
        if name is not None:
            self.clients.append(client := Client(name, label))
            self.try_join(client, Join(label=label, ready=ready))

    @precondition(has_connected)
    @rule(data=st.data(), ready=st.booleans())
    def join_again(self, data: st.DataObject, ready: bool) -> None:
        client = self.pick(data)
        if client.believes not in (Stage.FINISHED, Stage.EXCLUDED):
            self.try_join(client, Join(label=client.label, ready=ready))

    @precondition(has_connected)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        client = self.pick(data)
        assert client.connection is not None
        self.carry_out(self.room.ready(client.connection, Ready(), now=self.now))

    @precondition(lambda self: any(each.proposals for each in self.open_ones().values()))
    @rule(data=st.data(), newest=st.booleans(), declines=st.integers(0, 5))
    def answer(self, data: st.DataObject, newest: bool, declines: int) -> None:
        """Confirm or decline: the proposal at hand, one that is long gone, or somebody else's."""
        client = self.pick(data)
        assert client.connection is not None
        everything = [proposal for each in self.clients for proposal in each.proposals] or ["q1-0000"]
        proposal = client.proposal if newest and client.proposal else data.draw(st.sampled_from(everything))
        if declines == 0:
            self.carry_out(self.room.decline(client.connection, Decline(proposal_id=proposal), now=self.now))
        else:
            self.confirmed.setdefault(proposal, set()).add(client.id)
            self.carry_out(self.room.confirm(client.connection, Confirm(proposal_id=proposal), now=self.now))

    @precondition(lambda self: any(each.believes is Stage.MATCHED for each in self.open_ones().values()))
    @rule()
    def all_confirm(self) -> None:
        for client in list(self.open_ones().values()):
            if client.believes is Stage.MATCHED and client.connection is not None:
                self.confirmed.setdefault(client.proposal, set()).add(client.id)
                message = Confirm(proposal_id=client.proposal)
                self.carry_out(self.room.confirm(client.connection, message, now=self.now))

    @precondition(has_connected)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        client = self.pick(data)
        assert client.connection is not None
        self.carry_out(self.room.leave(client.connection, Leave(), now=self.now))
        if client.believes not in (Stage.FINISHED, Stage.EXCLUDED):
            client.believes = Stage.IDLE

    @precondition(has_connected)
    @rule(data=st.data(), own=st.booleans())
    def finish(self, data: st.DataObject, own: bool) -> None:
        client = self.pick(data)
        assert client.connection is not None
        match_id = client.match if own else data.draw(st.sampled_from(sorted(self.known_matches) or ["none"]))
        if not match_id:
            return
        is_its = client.believes is Stage.CONNECTING and client.match == match_id
        if is_its:
            client.believes = Stage.IDLE
        finished = Finished(match_id=match_id, result=MatchResult(reason="complete"))
        self.carry_out(self.room.finish(client.connection, finished, now=self.now))
        self.carry_out(self.room.finish(client.connection, finished, now=self.now))

    @precondition(has_connected)
    @rule(data=st.data(), phase=st.sampled_from(["connecting", "playing", "paused", "stalled", "ended"]))
    def report(self, data: st.DataObject, phase: str) -> None:
        client = self.pick(data)
        assert client.connection is not None
        match_id = data.draw(st.sampled_from(sorted({*self.known_matches, client.match or "none"})))
        report = Report(match_id=match_id, health=Health(phase=phase))  # type: ignore[arg-type]
        self.carry_out(self.room.report(client.connection, report, now=self.now))

    @precondition(has_connected)
    @rule(data=st.data())
    def watch(self, data: st.DataObject) -> None:
        client = self.pick(data)
        assert client.connection is not None
        before = self.picture()
        try:
            self.carry_out(self.room.watch(client.connection, Watch(), now=self.now))
        except SignalingError:
            assert self.picture() == before, "a refusal changed something"

    # -- connections --------------------------------------------------------------------------------------------------

    @precondition(has_connected)
    @rule(data=st.data(), why=st.sampled_from(["disconnected", "silent", "left"]), is_killed=st.booleans())
    def drop(self, data: st.DataObject, why: str, is_killed: bool) -> None:
        """A connection ends; the program lives and may come back, or was killed."""
        client = self.pick(data)
        connection, client.connection = client.connection, None
        assert connection is not None
        if is_killed or why == "left":
            self.clients.remove(client)
        self.carry_out(self.room.depart(connection, why, now=self.now))  # type: ignore[arg-type]
        self.carry_out(self.room.depart(connection, why, now=self.now))  # type: ignore[arg-type]

    @precondition(lambda self: any(each.connection is None for each in self.clients))
    @rule(data=st.data(), ready=st.booleans(), is_restarted=st.booleans())
    def come_back(self, data: st.DataObject, ready: bool, is_restarted: bool) -> None:
        self.return_of(self.pick(data, connected=False), ready=ready, is_restarted=is_restarted)

    @precondition(lambda self: any(each.believes is Stage.CONNECTING for each in self.open_ones().values()))
    @rule(data=st.data(), is_restarted=st.booleans(), seconds=st.sampled_from([0.0, 1.0, 4.0, 20.0]))
    def blip(self, data: st.DataObject, is_restarted: bool, seconds: float) -> None:
        """A player's connection is lost for a while, or its program starts anew."""
        players = [each for each in self.open_ones().values() if each.believes is Stage.CONNECTING]
        client = data.draw(st.sampled_from(players))
        before = client.match
        connection, client.connection = client.connection, None
        assert connection is not None
        self.carry_out(self.room.depart(connection, "disconnected", now=self.now))
        self.pass_time(seconds)
        self.return_of(client, ready=True, is_restarted=is_restarted)
        in_time = seconds < RULES[self.rules_index].grace_s
        if in_time and not is_restarted and client.connection is not None:
            assert client.id in self.room.matches[before], "the seat was not given back"

    def return_of(self, client: Client, *, ready: bool, is_restarted: bool) -> None:
        name = self.connect()
        if name is None:
            return
        before = client.match if client.believes is Stage.CONNECTING else None
        client.connection = name
        last = None
        if is_restarted:
            last = LastMatch(match_id=before, client_id=client.id) if before and client.id else None
            before = None
        if client.believes is not Stage.CONNECTING or before is None:
            client.believes = Stage.IDLE
        self.try_join(
            client, Join(label=client.label, token=client.token, match_id=before, last_match=last, ready=ready)
        )

    @precondition(has_connected)
    @rule(data=st.data(), has_token=st.booleans())
    def open_a_second_tab(self, data: st.DataObject, has_token: bool) -> None:
        first = self.pick(data)
        name = self.connect()
        if name is None:
            return
        second = Client(name, first.label)
        self.clients.append(second)
        is_out = self.room.stage_of(first.id) is Stage.EXCLUDED
        self.try_join(second, Join(label=first.label, token=first.token if has_token else None))
        if has_token and first.token is not None and not is_out and second.connection is not None:
            assert second.id == first.id, "the token did not prove who it is"
            assert first.connection is None, "two clients of one participant"
        elif first.label and not has_token:
            assert second.connection is None, "two clients of one name"

    @rule()
    def restart_the_server(self) -> None:
        """Without a word, and without anything kept."""
        for client in self.clients:
            client.connection = None
        self.bots.clear()
        self.store = MemoryStore()
        self.room = self.make_room()
        self.start()

    @rule()
    def kill_the_server(self) -> None:
        """Without a word; the next one goes on with what is in the store."""
        waited = [each for each in self.room._state.queue if not self.room._state.participants[each].is_ours]
        matches = {match: self.humans_of(match) for match in self.room._state.matches}
        made, held = self.room.matches_made, self.room._state.is_held
        for client in self.clients:
            client.connection = None
        self.bots.clear()
        self.room = self.make_room()
        self.start()
        assert list(self.room.waiting) == waited, "somebody lost its place"
        assert {match: self.humans_of(match) for match in self.room._state.matches} == {
            match: humans for match, humans in matches.items() if humans
        }
        assert (self.room.matches_made, self.room._state.is_held) == (made, held)
        shown = {each.id: each.state for each in self.room.row(now=self.now, epoch=self.now).matches}
        assert all((shown[match] == "ended") is not bool(humans) for match, humans in matches.items())

    def humans_of(self, match_id: str) -> set[str]:
        """Return whose seats of a match are open, but for bots of the server, who end with it."""
        known = self.room._state.participants
        return {each for each in self.room._state.matches[match_id].open if not known[each].is_ours}

    @precondition(lambda self: any(each.believes is Stage.MATCHED for each in self.open_ones().values()))
    @rule(is_written=st.booleans())
    def kill_the_server_when_all_confirm(self, is_written: bool) -> None:
        """It has just decided to begin a match, and dies before it says so."""
        self.is_cut_off = is_written
        self.all_confirm()
        self.is_cut_off = None
        self.kill_what_was_cut_off()

    @precondition(lambda self: any(each.believes is Stage.CONNECTING for each in self.open_ones().values()))
    @rule(data=st.data(), is_written=st.booleans())
    def kill_the_server_when_a_match_is_finished(self, data: st.DataObject, is_written: bool) -> None:
        """Who was not told that its result is known tells it again, from its seat."""
        players = [each for each in self.open_ones().values() if each.believes is Stage.CONNECTING]
        client = data.draw(st.sampled_from(players))
        assert client.connection is not None
        finished = Finished(match_id=client.match, result=MatchResult(reason="complete"))
        self.is_cut_off = is_written
        self.carry_out(self.room.finish(client.connection, finished, now=self.now))
        self.is_cut_off = None
        self.kill_what_was_cut_off()
        self.return_of(client, ready=False, is_restarted=False)
        if client.connection is None:
            return
        self.carry_out(self.room.finish(client.connection, finished, now=self.now))
        client.believes = Stage.IDLE
        (row,) = [each for each in self.room.row(now=self.now, epoch=self.now).matches if each.id == finished.match_id]
        assert not any(seat.present for seat in row.seats if seat.participant_id == client.id)
        (kept,) = [each for each in result_of(self.store.matches("study")) if each.id == finished.match_id]
        assert [each["participant"] for each in kept.results].count(client.id) == 1, "a result was lost, or told twice"

    def kill_what_was_cut_off(self) -> None:
        for client in self.clients:
            client.connection = None
        self.bots.clear()
        self.room = self.make_room()
        self.start()

    @precondition(lambda self: self.bots)
    @rule(data=st.data(), fails=st.booleans())
    def bot_is_started(self, data: st.DataObject, fails: bool) -> None:
        bot = self.bots.pop(data.draw(st.integers(0, len(self.bots) - 1)))
        if fails:
            self.carry_out(self.room.bot_failed(bot.participant, "it cannot", now=self.now))
            return
        name = self.connect()
        if name is not None:
            self.clients.append(client := Client(name, bot.label))
            self.try_join(client, Join(label=bot.label, bot=True, token=bot.token))

    @precondition(lambda self: self.to_the_matcher)
    @rule(data=st.data(), newest=st.booleans())
    def matcher_answers(self, data: st.DataObject, newest: bool) -> None:
        """It answers what it was asked: now, late, or twice."""
        asked = self.to_the_matcher[-1] if newest else data.draw(st.sampled_from(self.to_the_matcher))
        found = FirstCome().propose(asked.candidates, asked.context, asked.now)
        self.carry_out(self.room.matcher_answered(asked.request, found, now=self.now))

    # -- researchers and time -----------------------------------------------------------------------------------------

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        who = [each.id for each in self.clients if each.id] or ["nobody"]
        one, other = data.draw(st.sampled_from(who)), data.draw(st.sampled_from(who))
        match_id = data.draw(st.sampled_from(sorted(self.room.matches) or ["none"]))
        actions: list[Action] = [
            Pair(participants=(one, other)),
            StartAll(),
            Hold(),
            Release(),
            Move(participant=one, position=data.draw(st.integers(0, 4))),
            Tell(text="hello", participant=one),
            Tell(text="hello"),
            Remove(participant=one, text="bye"),
            AddBot(bot="seeker", participant=one),
            AddBot(bot="seeker"),
            PauseMatch(match=match_id),
            EndMatch(match=match_id),
        ]
        before = self.picture()
        try:
            action_id, effects = self.room.act(data.draw(st.sampled_from(actions)), by="eva", now=self.now)
        except SignalingError:
            assert self.picture() == before, "a refusal changed something"
            return
        self.carry_out(effects)
        assert any(each.id == action_id for each in self.room.row(now=self.now, epoch=self.now).actions)

    @precondition(lambda self: any(each.asked for each in self.open_ones().values()))
    @rule(data=st.data(), ok=st.booleans())
    def acknowledge(self, data: st.DataObject, ok: bool) -> None:
        client = self.pick(data)
        assert client.connection is not None
        if client.asked:
            self.carry_out(self.room.done(client.connection, Done(action_id=client.asked.pop(), ok=ok)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 6.0, 11.0, 16.0, 31.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.room.tick(self.now))

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def everybody_present_is_known_and_is_where_it_believes_to_be(self) -> None:
        alike = {
            Stage.IDLE: {Stage.IDLE, Stage.FINISHED},
            Stage.CONNECTING: {Stage.CONNECTING, Stage.PLAYING},
            Stage.FINISHED: {Stage.FINISHED, Stage.IDLE},
            # That a match is over, its players tell those who watch.
            Stage.WATCHING: {Stage.WATCHING, Stage.IDLE},
        }
        assert self.room.clients == len(self.open_ones())
        for connection, client in self.open_ones().items():
            participant = self.room.participant_of(connection)
            stage = Stage.IDLE if participant is None else self.room.stage_of(participant)
            assert stage in alike.get(client.believes, {client.believes}), (client, stage)
            assert stage is not None
            assert all(SCREENS[stage]), "nothing to show"
            if stage is Stage.MATCHED:
                assert participant in self.room.proposed[client.proposal]

    @invariant()
    def nobody_is_in_two_places(self) -> None:
        waiting = self.room.waiting
        proposed = [each for members in self.room.proposed.values() for each in members]
        seated = [each for members in self.room.matches.values() for each in members]
        everybody = [*waiting, *proposed, *seated]
        assert len(set(everybody)) == len(everybody)

    @invariant()
    def one_client_takes_part_under_a_name(self) -> None:
        row = self.room.row(now=self.now, epoch=self.now)
        labels = [each.label for each in row.participants if each.label]
        assert len(set(labels)) == len(labels)
        assert all(each.state in PARTICIPANT_STATES for each in row.participants)
        assert all(each.state in MATCH_STATES for each in row.matches)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        row = self.room.row(now=self.now, epoch=self.now)
        free = [each for each in row.participants if each.state == "waiting" and not each.reason.startswith("It")]
        is_full = len(self.room.matches) + len(self.room.proposed) >= 3
        # Whoever came after the question is in the next one.
        is_asked = RULES[self.rules_index].matcher_is_aside and self.room._pairing._rounds._question.is_open
        assert row.paused or is_full or is_asked or len(free) < self.seats

    def teardown(self) -> None:
        """When all are gone and time has passed, nothing is left."""
        for client in list(self.open_ones().values()):
            if client.connection is not None:
                self.close(client, "disconnected")
        self.now += 1000.0
        self.carry_out(self.room.tick(self.now))
        row = self.room.row(now=self.now, epoch=self.now)
        assert row.participants == ()
        assert (self.room.clients, self.room.waiting, self.room.proposed, self.room.matches) == (0, (), {}, {})


TestRoomMachine = RoomMachine.TestCase
TestRoomMachine.settings = hypothesis_settings(
    max_examples=RUNS, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
