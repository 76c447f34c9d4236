"""From a seat that the server gave to what a match is played with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from p2pclient.common.lobby_messages import Matched
from p2pclient.envhost.client import EnvHost
from p2pclient.match.plan import Ended, MatchEvent
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.participant_settings import ParticipantSettings
from p2pclient.runtime.person import Person
from p2pclient.runtime.planning import make_plan, players
from p2pclient.runtime.playing import Table
from p2pclient.runtime.presenter import WindowLink
from p2pclient.transport.base import PeerTransport


def make_table(
    matched: Matched,
    ready: Mapping[str, Any],
    transports: Mapping[int, PeerTransport],
    settings: ParticipantSettings,
    *,
    label: str,
    host: EnvHost,
    renew: Callable[[], Awaitable[tuple[EnvHost, Mapping[str, Any]]]],
    person: Person,
    window: WindowLink,
    on_runner: Callable[[MatchRunner], None],
    on_event: Callable[[MatchEvent], None],
    explain: Callable[[Ended], Ended],
) -> Table:
    """Return what a participant's match is played with; for what is passed on, see :class:`Table`.

    Raises:
        ConfigurationError: the environment does not fit the match, or has no such bot.
    """
    return Table(
        plan=make_plan(matched, ready, bot=settings.bot, seed=settings.seed, render=not settings.headless),
        host=host,
        renew=renew,
        person=person,
        window=window,
        trace=settings.trace,
        out=settings.out,
        title=str(ready["title"]),
        transports=transports,
        players=players(matched, label=label, bot=settings.bot),
        settings={
            **msgspec.to_builtins(matched.settings),
            "label": label,
            "url": settings.url,
            "condition": matched.condition,
        },
        # Who plays alone has all seats, and one keyboard: the others stay idle.
        human_seats=() if settings.bot else matched.own_seats[:1],
        keys=settings.keys,
        fault=settings.fault,
        returns=matched.returns,
        on_runner=on_runner,
        on_event=on_event,
        explain=explain,
    )
