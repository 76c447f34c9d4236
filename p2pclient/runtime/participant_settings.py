"""What one client of a server is told on its command line."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pclient.transport.impairment import ImpairmentSpec


@dataclass(frozen=True, slots=True)
class ParticipantSettings:
    """One client: which server, who plays, what is recorded, and what goes wrong on purpose."""

    url: str
    out: Path
    trust: ssl.SSLContext | None = None
    """Checks the server's certificate; None: as the system does."""
    label: str = ""
    token: str | None = field(default=None, repr=False)
    """By which the server expects this client, if it started it itself."""
    link: str | None = field(default=None, repr=False)
    """A personal link, which says who this is; None without one."""
    station: str = ""
    """The machine's name in the lab."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Of the participant, for the server's matcher."""
    bot: str | None = None
    """Name of the scripted bot that plays instead of a person."""
    seed: int = 0
    """Of the bot and of the impairment."""
    matches: int = 1
    """Matches to play one after the other; 0 for as long as the person goes on."""
    impairment: ImpairmentSpec = field(default_factory=ImpairmentSpec)
    path: str | None = None
    """The only kind of path to the others to be used; None for the best that works."""
    linger: bool = True
    """Leave the results on the screen until the person goes on."""
    linger_s: float | None = None
    """After that many seconds it goes on by itself; None: never."""
    keys: str = "all"
    """Which keys of each binding the person uses: ``all``, ``first`` or ``second``."""
    share_keys: bool = False
    """Report every key and focus change, for a second window at the same keyboard."""
    headless: bool = False
    """No window: views are not drawn but for the last one."""
    trace: bool = False
    """Write a trace of each match into its run folder."""
    fault: Mapping[str, Any] | None = None
    """For tests: makes this client's environment wrong."""
    host_options: Mapping[str, Any] = field(default_factory=dict)
    allowed_envs: tuple[str, ...] = ()
    """Environments of the person's own that the server may ask for, as ``module:factory``."""
