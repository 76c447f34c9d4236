"""A researcher's own function: whatever it does, the server goes on and gets an answer or a reason."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from signaling.screening_hooks import MAX_RUNNING, HookAnswer, ScreeningHook

LONG_S = 30.0


def raises(facts: dict[str, Any]) -> str:
    raise KeyError("age")


def exits(facts: dict[str, Any]) -> None:
    sys.exit(3)


def recurses(facts: dict[str, Any]) -> None:
    recurses(facts)


async def test_a_function_objects_or_does_not() -> None:
    hook = ScreeningHook("rules:admit", lambda facts: f" Not you, {facts['label']}. ", timeout_s=LONG_S)
    assert await hook.ask({"label": "P1"}) == HookAnswer(message="Not you, P1.")
    assert await ScreeningHook("rules:admit", lambda facts: None, timeout_s=LONG_S).ask({}) == HookAnswer()


async def test_a_function_is_given_a_copy() -> None:
    facts = {"label": "P1"}
    await ScreeningHook("rules:admit", lambda given: given.clear(), timeout_s=LONG_S).ask(facts)
    assert facts == {"label": "P1"}


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (raises, "rules:admit: KeyError: 'age'"),
        (exits, "rules:admit: SystemExit: 3"),
        (recurses, "rules:admit: RecursionError"),
        (lambda facts: False, "rules:admit: it returned bool"),
        (lambda facts: "  ", "rules:admit: it returned str"),
    ],
)
async def test_a_function_that_fails_is_an_error_and_no_answer(function: Any, why: str) -> None:
    hook = ScreeningHook("rules:admit", function, timeout_s=LONG_S)
    answer = await hook.ask({})
    assert answer.message is None
    assert answer.error.startswith(why)
    assert hook.running == 0


async def test_a_function_that_hangs_holds_nobody_up_and_is_asked_no_more_when_too_many_hang() -> None:
    let_go = threading.Event()
    calls: list[int] = []

    def hangs(facts: dict[str, Any]) -> None:
        calls.append(1)
        let_go.wait(LONG_S)

    hook = ScreeningHook("rules:admit", hangs, timeout_s=0.05)
    try:
        answers = await asyncio.gather(*(hook.ask({}) for _ in range(MAX_RUNNING + 3)))
        assert all("longer than 0.05 s" in each.error or "have not come back" in each.error for each in answers)
        assert sum("have not come back" in each.error for each in answers) == 3
        assert (len(calls), hook.running) == (MAX_RUNNING, MAX_RUNNING)
    finally:
        let_go.set()
    for thread in threading.enumerate():
        if thread.name == "screening rules:admit":
            thread.join(LONG_S)
    assert await hook.ask({}) == HookAnswer(), "those that came back leave their places to others"
