"""Asks a study's own matching function in a thread of its own. Edge; the rule is :mod:`signaling.matching.hook`."""

from __future__ import annotations

import logging

from signaling.asides import Aside, NoAnswerError
from signaling.effects import AskMatcher
from signaling.matching.base import Round
from signaling.matching.hook import Hook

_log = logging.getLogger("tandem.signaling")

WITHIN_S = 2.0
"""For an answer; meanwhile nobody is matched, and everything else goes on."""


class MatchingHook:
    """One call at a time: a function that keeps something between two calls need not be made for threads."""

    def __init__(self, hook: Hook, *, timeout_s: float = WITHIN_S) -> None:
        self._hook = hook
        self._aside: Aside[Round] = Aside(hook.name, timeout_s=timeout_s, most=1)

    async def ask(self, question: AskMatcher) -> Round:
        """Return what it says; never raises. A function that does not come back is an error in the round."""

        def propose() -> Round:
            try:
                return self._hook.propose(question.candidates, question.context, question.now)
            except BaseException as error:  # noqa: BLE001 - somebody else's code: even SystemExit ends only this thread
                return Round(error=f"{self._hook.name}: {type(error).__name__}: {error}")

        try:
            return await self._aside.call(propose)
        except NoAnswerError as error:
            _log.warning("%s gave no answer: %s", self._hook.name, error)
            return Round(error=f"{self._hook.name} gave no answer, and nobody is matched: {error}.")
