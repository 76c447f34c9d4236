"""What ``tandem serve --screening FILE`` reads, and the functions of the researcher's own that are named in it."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

from p2pclient.common.errors import ConfigurationError
from signaling.hooks import load_function
from signaling.screening_file import parse_rules
from signaling.screening_hooks import ScreeningHook
from signaling.screening_rules import ScreeningRules

MAX_BYTES = 1 << 20


def read_screening(path: Path | ScreeningRules | None) -> ScreeningRules:
    """Return the rules in a file, or as they are if they have been read already; none without one.

    Raises:
        ConfigurationError: it cannot be read, or something in it is wrong; names the key.
    """
    if path is None:
        return ScreeningRules()
    if isinstance(path, ScreeningRules):
        return path
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError("--screening", str(path), f"a file of at most {MAX_BYTES >> 20} MB")
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:  # TOML's errors and those of UTF-8 are ValueErrors
        raise ConfigurationError("--screening", str(path), f"a file in TOML ({error})") from None
    try:
        return parse_rules(table)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error.setting} in {path}", error.value, error.allowed) from None


def screening_hooks(rules: ScreeningRules, folder: Path | None = None) -> dict[str, ScreeningHook]:
    """Load the functions that the rules name; ``folder`` is searched before the current one.

    Raises:
        ConfigurationError: there is no such function, or importing it failed; says why.
    """
    load = functools.partial(load_function, folder=folder)
    wanted = {
        "entry": rules.entry.custom if rules.entry is not None else None,
        "playing": rules.playing.custom if rules.playing is not None else None,
    }
    return {
        which: ScreeningHook(rule.hook, load(rule.hook, setting=f"{which}.custom.hook"), timeout_s=rule.timeout_s)
        for which, rule in wanted.items()
        if rule is not None
    }
