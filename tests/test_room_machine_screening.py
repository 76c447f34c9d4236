"""The room's state machine once more, with rules: whoever comes is measured, and whoever looks away is excluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from test_room_machine import RULES, RUNS, Client, RoomMachine

from p2pclient.common.room_messages import Health, Proposed, Removed, Report
from p2pclient.common.screening_messages import Facts, Ping, Screen, Screened
from p2pclient.common.stages import Stage
from signaling.effects import AskHook, Effect, Send
from signaling.room import Room
from signaling.screening_file import parse_rules

SCREENING = parse_rules(
    {
        "entry": {"within_s": 10, "ping": {"at_most_ms": 100}, "custom": {"hook": "rules:admit"}},
        "playing": {
            "grace_s": 0,
            "focus": {"warn_after_s": 1, "exclude_after_s": 3, "patience_s": 1},
            "custom": {"hook": "rules:watch", "every_s": 2},
        },
    }
)


class ScreeningMachine(RoomMachine):
    """What clients and researchers do, and computers that are fit or not, functions that object or fail."""

    def __init__(self) -> None:
        self.questions: list[AskHook] = []
        self.asked_of: dict[str, Screen] = {}
        """What was asked last over each connection."""
        self.admitted: set[str] = set()
        super().__init__()

    def make_room(self) -> Room:
        self.questions.clear()
        room = super().make_room()
        rules = replace(RULES[self.rules_index], screening=SCREENING)
        return Room(room.settings, entropy=room._state.entropy, secrets=room._state.secrets, rules=rules,
                    limits=room._state.limits, study="study")  # fmt: skip

    def carry_out(self, effects: Sequence[Effect]) -> None:
        if self.is_cut_off is not None:
            super().carry_out(effects)
            return
        for each in effects:
            client = self.open_ones().get(each.client) if isinstance(each, Send) else None
            is_proposed = isinstance(each, Send) and isinstance(each.message, Proposed)
            if client is not None and is_proposed and client.believes is Stage.SCREENING:
                client.believes = Stage.IDLE  # let in, and proposed before it is told its place
            super().carry_out([each])
            if isinstance(each, AskHook):
                self.questions.append(each)
            if not isinstance(each, Send) or client is None:
                continue
            if isinstance(each.message, Screen):
                assert client.believes in (Stage.IDLE, Stage.FINISHED, Stage.SCREENING)
                client.believes = Stage.SCREENING
                self.asked_of[each.client] = each.message
            elif isinstance(each.message, Removed) and each.message.rule:
                client.believes = Stage.EXCLUDED

    def screened_ones(self) -> list[Client]:
        return [each for each in self.open_ones().values() if each.believes is Stage.SCREENING]

    @precondition(lambda self: self.asked_of and self.has_connected())
    @rule(data=st.data(), ping=st.sampled_from([10.0, 10.0, 10.0, 500.0, None]), own=st.booleans())
    def measure(self, data: st.DataObject, ping: float | None, own: bool) -> None:
        """Answer what was asked last, or what somebody else was asked, or what was asked long ago."""
        client = data.draw(st.sampled_from(self.screened_ones() or [self.pick(data)]))
        assert client.connection is not None
        asked = self.asked_of.get(client.connection) if own else None
        asked = asked or data.draw(st.sampled_from(list(self.asked_of.values())))
        facts = Facts(ping=None if ping is None else Ping(samples=8, median_ms=ping, worst_ms=ping))
        message = Screened(screening_id=asked.screening_id, facts=facts)
        self.carry_out(self.room.screened(client.connection, message, now=self.now))
        self.carry_out(self.room.screened(client.connection, message, now=self.now))

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), said=st.sampled_from([None, None, None, "Not you."]), fails=st.booleans())
    def function_answers(self, data: st.DataObject, said: str | None, fails: bool) -> None:
        question = self.questions.pop(data.draw(st.integers(0, len(self.questions) - 1)))
        error = "rules: KeyError" if fails else ""
        if question.which == "entry" and (said is None or fails):
            self.admitted.add(str(question.facts["participant"]))
        effects = self.room.hook_answered(question.request, None if fails else said, error, now=self.now)
        self.carry_out(effects)

    @precondition(lambda self: self.screened_ones())
    @rule()
    def all_are_let_in(self) -> None:
        """The usual case, so that matches come about."""
        facts = Facts(ping=Ping(samples=8, median_ms=10.0, worst_ms=10.0))
        for client in self.screened_ones():
            assert client.connection is not None
            asked = self.asked_of[client.connection]
            message = Screened(screening_id=asked.screening_id, facts=facts)
            self.carry_out(self.room.screened(client.connection, message, now=self.now))
        for question in [each for each in self.questions if each.which == "entry"]:
            self.questions.remove(question)
            self.admitted.add(str(question.facts["participant"]))
            self.carry_out(self.room.hook_answered(question.request, None, "", now=self.now))

    @precondition(lambda self: any(each.believes is Stage.CONNECTING for each in self.open_ones().values()))
    @rule(data=st.data(), seconds=st.integers(1, 6), focused=st.booleans())
    def play(self, data: st.DataObject, seconds: int, focused: bool) -> None:
        players = [each for each in self.open_ones().values() if each.believes is Stage.CONNECTING]
        client = data.draw(st.sampled_from(players))
        for _ in range(seconds):
            self.now += 1.0
            if client.connection is not None:
                report = Report(match_id=client.match, health=Health(phase="playing", focused=focused))
                self.carry_out(self.room.report(client.connection, report, now=self.now))

    @invariant()
    def nobody_waits_or_plays_who_was_not_let_in(self) -> None:
        row = self.room.row(now=self.now, epoch=self.now)
        for each in row.participants:
            if each.state in ("waiting", "matched", "connecting", "playing") and not each.bot:
                assert each.id in self.admitted


TestScreeningMachine = ScreeningMachine.TestCase
TestScreeningMachine.settings = hypothesis_settings(
    max_examples=max(20, RUNS // 3), stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
