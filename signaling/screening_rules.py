"""The rules by which participants are let in, warned and excluded: data, as it is in a researcher's file. Pure."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from p2pclient.common.room_messages import Sentence
from p2pclient.common.screening_messages import Share

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
Version = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,6}(\.[0-9]{1,6}){0,3}\Z")]
HookName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")]
Samples = Annotated[int, msgspec.Meta(ge=1, le=600)]
OnDoubt = Literal["admit", "exclude"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: what it does not know is an error, never passed over."""


# ---------------------------------------------------------------------------------------------------------------------
# On entry


class EntryRule(_Table, frozen=True, kw_only=True):
    """What every rule on entry has."""

    message: Sentence = ""
    """Shown to who is not let in; ``{measured}`` and ``{required}`` are filled in. Empty: the rule's own words."""
    unknown: OnDoubt = "exclude"
    """What follows if the computer could not measure it."""

    own_words: ClassVar[str] = ""

    @property
    def words(self) -> str:
        """What is said to who does not meet it."""
        return self.message or self.own_words


class SystemRule(EntryRule, frozen=True, kw_only=True):
    """The operating system."""

    allowed: Annotated[tuple[Literal["Windows", "Linux", "macOS"], ...], msgspec.Meta(min_length=1)]

    own_words = "This study runs on {required} only, and this computer has {measured}. Please use another computer."


class VersionRule(EntryRule, frozen=True, kw_only=True):
    """A version: of this program, or of its Python."""

    at_least: Version


class ProgramRule(VersionRule, frozen=True, kw_only=True):
    own_words = (
        "This program is too old for the study: it is version {measured}, and {required} is needed. "
        "Please install the newer one and start again."
    )


class PythonRule(VersionRule, frozen=True, kw_only=True):
    own_words = (
        "This computer's Python is too old for the study: it is version {measured}, and {required} is needed. "
        "Please install a newer one and start again."
    )


class DisplayRule(EntryRule, frozen=True, kw_only=True):
    """Pixels of the display; a display that stands upright counts as if it lay on its side."""

    min_width: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    min_height: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1

    own_words = (
        "The display is too small for this study: it has {measured} pixels, and it needs {required}. "
        "Please use a larger display, or choose a higher resolution in the system's settings, and start again."
    )


class RefreshRule(EntryRule, frozen=True, kw_only=True):
    """Pictures per second that the display can show. Many systems do not say it."""

    at_least_hz: Positive
    at_most_hz: Positive = 1e6
    unknown: OnDoubt = "admit"

    own_words = (
        "The display shows {measured} pictures per second, and this study needs {required}. "
        "Please choose another refresh rate in the system's display settings and start again."
    )


class PacingRule(EntryRule, frozen=True, kw_only=True):
    """How evenly the window could show pictures at the rate of the match."""

    max_missed: Share = 0.05
    max_p99_ms: Positive | None = None

    own_words = (
        "This computer could not show the pictures smoothly ({measured}; allowed: {required}). "
        "Please close other programs, plug in the power cable, keep the window in view, and start again."
    )


class PingRule(EntryRule, frozen=True, kw_only=True):
    """Round trip to the server, median."""

    at_most_ms: Positive

    own_words = (
        "The connection to the server is too slow for this study ({measured}; allowed: {required}). Please use a "
        "cable instead of a wireless network, stop downloads and video calls, and start again."
    )


class EnvironmentRule(EntryRule, frozen=True, kw_only=True):
    """What will be played can be loaded here, and is the right one."""

    digests: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...] = ()
    """Digests of its code that are accepted; empty: any."""

    own_words = (
        "The game is not installed on this computer as the study needs it ({measured}). "
        "Please tell the person who looks after you."
    )


class MemoryRule(EntryRule, frozen=True, kw_only=True):
    """Memory that is free, and that is there at all."""

    free_mb: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 0
    total_mb: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 0

    own_words = (
        "This computer has too little memory left for the study ({measured}; needed: {required}). "
        "Please close other programs and start again."
    )


class PowerRule(EntryRule, frozen=True, kw_only=True):
    """Mains, or a battery that is full enough. A computer without a battery always meets it."""

    battery_at_least: Share = 1.0
    """Enough without mains; 1 for mains only."""
    unknown: OnDoubt = "admit"

    own_words = "This computer runs on its battery ({measured}). Please plug in the power cable and start again."


class HookRule(_Table, frozen=True, kw_only=True):
    """A function of the researcher's own: ``hook(facts) -> None``, or the message to who is not let in."""

    hook: HookName
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    on_error: OnDoubt = "admit"
    """What follows if it raises, takes too long or returns something else."""
    message: Sentence = (
        "This computer could not be checked because something failed on the server. "
        "Please tell the person who looks after you."
    )
    """For ``on_error = "exclude"``."""


class Entry(_Table, frozen=True, kw_only=True):
    """Rules for who wants to take part. One that is absent is not checked."""

    within_s: Annotated[float, msgspec.Meta(ge=5, le=600)] = 60.0
    """Time in which the client has to answer."""
    no_answer: Sentence = "This computer could not be checked in time. Please close other programs and start again."
    bots: bool = False
    """Are bots screened as well."""
    system: SystemRule | None = None
    program: ProgramRule | None = None
    python: PythonRule | None = None
    memory: MemoryRule | None = None
    power: PowerRule | None = None
    display: DisplayRule | None = None
    refresh_rate: RefreshRule | None = None
    environment: EnvironmentRule | None = None
    ping: PingRule | None = None
    frame_pacing: PacingRule | None = None
    custom: HookRule | None = None


# ---------------------------------------------------------------------------------------------------------------------
# While playing


class PlayRule(_Table, frozen=True, kw_only=True):
    """What every rule while playing has. A warning always comes first."""

    warning: Sentence = ""
    message: Sentence = ""
    action: Literal["exclude", "warn"] = "exclude"
    patience_s: Seconds = 5.0
    """Shortest time from the warning to the exclusion."""

    own_warning: ClassVar[str] = ""
    own_words: ClassVar[str] = ""
    calm_s: ClassVar[float] = 3.0
    """How long all must be well until the warning is taken back."""

    @property
    def is_shared(self) -> bool:
        """Is what is measured as much the others' as its own."""
        return False

    @property
    def warning_words(self) -> str:
        """What is said first."""
        return self.warning or self.own_warning

    @property
    def words(self) -> str:
        """What is said to who is excluded."""
        return self.message or self.own_words


class WindowedRule(PlayRule, frozen=True, kw_only=True):
    """Of the last ``window`` samples, about one a second, ``violations`` are bad."""

    window: Samples = 20
    violations: Samples = 10
    warn_violations: Samples | None = None
    """Half of them, unless said otherwise."""

    @property
    def warn_at(self) -> int:
        """Bad samples at which the warning comes."""
        return self.warn_violations if self.warn_violations is not None else max(1, self.violations // 2)


class PlayPingRule(WindowedRule, frozen=True, kw_only=True):
    """Round trip: to the server, or to the others in the match (the median over them)."""

    at_most_ms: Positive
    of: Literal["server", "peers"] = "server"

    own_warning = "Your connection is slow at the moment. Please stop downloads and video calls on this network."
    own_words = (
        "Your connection was too slow for the game to go on. What you have played is kept. "
        "Please tell the person who looks after you."
    )

    @property
    def is_shared(self) -> bool:
        return self.of == "peers"


class LossRule(WindowedRule, frozen=True, kw_only=True):
    """Share of the datagrams from the others that did not arrive (the median over them)."""

    at_most: Share

    own_warning = "Your connection loses data at the moment. If you can, use a cable or move closer to the router."
    own_words = (
        "Your connection lost too much data for the game to go on. What you have played is kept. "
        "Please tell the person who looks after you."
    )

    @property
    def is_shared(self) -> bool:
        return True


class TimedRule(PlayRule, frozen=True, kw_only=True):
    """Something lasts: for ``warn_after_s``, then for ``exclude_after_s``, or for ``total_s`` of the match in all."""

    warn_after_s: Seconds
    exclude_after_s: Seconds
    total_s: Seconds | None = None


class FrameRateRule(TimedRule, frozen=True, kw_only=True):
    """Frames per second are below ``at_least``, a share of the nominal rate, while nobody else is waited for."""

    at_least: Share = 0.8
    warn_after_s: Seconds = 4.0
    exclude_after_s: Seconds = 15.0

    own_warning = "The game runs slowly on this computer. Please close other programs."
    own_words = (
        "This computer was too slow for the game to go on. What you have played is kept. "
        "Please tell the person who looks after you."
    )


class FocusRule(TimedRule, frozen=True, kw_only=True):
    """The window does not have the keyboard."""

    warn_after_s: Seconds = 3.0
    exclude_after_s: Seconds = 15.0

    own_warning = "Please come back to the game: click into this window."
    own_words = (
        "The game was left alone for too long, so it has ended. What you have played is kept. "
        "Please tell the person who looks after you."
    )
    calm_s = 0.0


class PlayHookRule(PlayRule, frozen=True, kw_only=True):
    """A function of the researcher's own, asked again and again: ``hook(facts) -> None``, or what is wrong, in words.

    These words are the warning; who does not mend it for ``exclude_after_s`` is excluded with them.
    """

    hook: HookName
    every_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 5.0
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    exclude_after_s: Seconds = 15.0

    own_words = "The game could not go on. What you have played is kept."


class Playing(_Table, frozen=True, kw_only=True):
    """Rules for who plays. One that is absent is not checked."""

    grace_s: Seconds = 5.0
    """Nothing counts for so long after the match has begun."""
    come_back: bool = False
    """May somebody who was excluded from a match join again under the same name."""
    partner_message: Sentence = (
        "The game has ended early because the other player could not go on. It was nothing that you did. "
        "What you have played is kept."
    )
    bots: bool = False
    ping: PlayPingRule | None = None
    loss: LossRule | None = None
    frame_rate: FrameRateRule | None = None
    focus: FocusRule | None = None
    custom: PlayHookRule | None = None


class ScreeningRules(_Table, frozen=True, kw_only=True):
    """The whole file."""

    entry: Entry | None = None
    playing: Playing | None = None
