"""From what is typed after ``--matching`` to the matcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from p2pclient.common.errors import ConfigurationError
from signaling.matching.balanced import Balanced
from signaling.matching.base import Candidate, Context, Matcher
from signaling.matching.history import NewPartners, Reunion, RoundRobin
from signaling.matching.hook import Hook
from signaling.matching.rtt import RttAware
from signaling.matching.simple import FirstCome, FixedGroups

Rule = Callable[[Sequence[Candidate], Context, float], Any]

FORMS = (
    "fifo, groups[:ATTRIBUTE], reunion, new-partners, round-robin, balanced:NAME=CAP,NAME=CAP, "
    "rtt[:limit=MS,relax=MS_PER_S,most=MS,probe=yes|no], hook:MODULE:FUNCTION"
)


def choose_matcher(text: str, load: Callable[[str], Rule]) -> Matcher:
    """Return the matcher that ``NAME`` or ``NAME:OPTIONS`` stands for.

    Args:
        load: gives the function that ``module:function`` names.

    Raises:
        ConfigurationError: there is none such, or its options are wrong.
    """
    name, _, options = text.partition(":")
    plain: dict[str, type[Matcher]] = {
        "fifo": FirstCome,
        "reunion": Reunion,
        "new-partners": NewPartners,
        "round-robin": RoundRobin,
    }
    if name in plain and not options:
        return plain[name]()
    if name == "groups":
        return FixedGroups(options or "group")
    if name == "balanced":
        return Balanced({key: _cap(text, value) for key, value in _pairs(text, options)})
    if name == "rtt":
        return _rtt(text, options)
    if name == "hook" and options:
        return Hook(options, load(options))
    raise ConfigurationError("--matching", text, FORMS)


def _rtt(text: str, options: str) -> RttAware:
    names = {"limit": "limit_ms", "relax": "relax_ms_per_s", "most": "most_ms"}
    given = dict(_pairs(text, options))
    try:
        probe = {"yes": True, "no": False}[given.pop("probe", "yes")]
        return RttAware(**{names[key]: float(value) for key, value in given.items()}, probe=probe)
    except (KeyError, ValueError):
        raise ConfigurationError("--matching", text, FORMS) from None


def _pairs(text: str, options: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in options.split(",") if part]
    if not all(key for key, _, _ in pairs) or len({key for key, _, _ in pairs}) < len(pairs):
        raise ConfigurationError("--matching", text, FORMS)
    return [(key, value) for key, _, value in pairs]


def _cap(text: str, value: str) -> int | None:
    if not value:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ConfigurationError("--matching", text, "a cap of 1 or more for each condition, or none")
    return int(value)
