"""Two runners over an in-memory transport, on virtual time: what they are asked for, and how they say it goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runner_rig import RATE, Client, on_virtual_time

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.presentation import KeyChange
from p2pclient.match.plan import ENDED_EARLY
from p2pclient.match.sources import KeyboardSource
from p2pclient.recorder.records import FrameRecorded
from p2pclient.transport.memory import memory_pair


def clients(**settings: Any) -> tuple[Client, Client]:
    a, b = memory_pair(asyncio.get_running_loop())
    return Client(0, a, **settings), Client(1, b, **settings)


def test_what_any_client_asks_for_happens_on_all_at_one_frame() -> None:
    async def scenario() -> None:
        a, b = clients()
        await asyncio.sleep(2.0)
        b.runner.request_pause("A break")
        b.runner.request_pause("A break")
        await asyncio.sleep(3.0)
        assert [each.health().phase for each in (a, b)] == ["paused", "paused"]
        assert a.match.changes.pause_reason == "A break"
        stands = [each.health().frame for each in (a, b)]
        await asyncio.sleep(5.0)
        assert [each.health().frame for each in (a, b)] == stands
        a.runner.request_resume()
        await asyncio.sleep(1.0)
        a.runner.request_extend(40)
        ended = [await a.task, await b.task]
        assert [each.reason for each in ended] == ["finished", "finished"]
        assert [each.unverified for each in ended] == [0, 0]
        frames = [[r for r in each.records if isinstance(r, FrameRecorded)] for each in (a, b)]
        assert frames[0] == frames[1]
        assert len(frames[0]) == 240
        assert a.changes == b.changes
        assert [kind for kind, _, _ in a.changes] == ["pause", "resume", "extend"]
        assert a.changes[0][2] == stands[0]
        assert a.runner.seconds > 240 / RATE + 7.0
        with pytest.raises(LocalMisuseError, match="already ended"):
            b.runner.request_pause()

    on_virtual_time(scenario)


def test_an_end_that_was_asked_for_is_complete_and_says_so() -> None:
    async def scenario() -> None:
        a, b = clients()
        await asyncio.sleep(2.0)
        b.runner.request_end("The lab closes")
        a.runner.request_end()
        ended = [await a.task, await b.task]
        assert [(each.reason, each.unverified, each.is_complete) for each in ended] == [(ENDED_EARLY, 0, True)] * 2
        assert a.match.changes.done == b.match.changes.done
        assert len(a.match.changes.done) == 1
        assert a.health().phase == "ended"

    on_virtual_time(scenario)


def test_extending_a_match_without_a_length_is_refused_with_a_sentence() -> None:
    async def scenario() -> None:
        a, b = clients(frames=0, episodes=1)
        await asyncio.sleep(1.0)
        with pytest.raises(LocalMisuseError, match="no length in frames"):
            a.runner.request_extend(10)
        a.runner.request_end()
        await a.task
        await b.task

    on_virtual_time(scenario)


def test_health_tells_how_the_match_goes() -> None:
    async def scenario() -> None:
        a, b = clients()
        assert a.health().phase == "connecting"
        await asyncio.sleep(4.0)
        health = a.health()
        assert health.phase == "playing"
        assert health.rate_hz == pytest.approx(RATE, rel=0.2)
        assert 40 < health.frame < 90
        assert 0 < health.verified_frames <= health.frame
        assert health.step_ms == pytest.approx(0.5)
        assert health.focused
        assert len(health.scores) == 2
        assert health.scores[0] > 0
        (peer,) = health.peers
        assert peer.seats == (1,)
        assert peer.path == "loopback"
        assert peer.rtt_ms is not None
        assert 0 <= peer.rtt_ms < 1000 / RATE
        assert peer.loss == 0.0
        assert peer.frames_ahead is not None
        assert abs(peer.frames_ahead) < 3
        assert peer.silent_s < 0.2
        a.runner.request_end()
        await a.task
        await b.task

    on_virtual_time(scenario)


def test_what_is_pressed_in_a_pause_does_not_act_behind_it() -> None:
    controls = {
        "mode": "press",
        "bindings": [{"keys": ["KeyA"], "input": b"\x01"}],
        "neutral": [b"\x00"],
    }
    keyboard = KeyboardSource(controls, 0)
    keyboard.receive(KeyChange("KeyA", True, 1.0))
    keyboard.rest()
    assert keyboard.sample().payload == b"\x00"
    held = KeyboardSource({**controls, "mode": "held"}, 0)
    held.receive(KeyChange("KeyA", True, 1.0))
    held.rest()
    assert held.sample().payload == b"\x01"
