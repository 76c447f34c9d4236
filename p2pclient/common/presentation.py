"""What the runtime publishes for the window, and what the window hands back: plain data, both ways.

The window draws the newest :class:`Presentation` and nothing else; it keeps no state of the match. What the person
does goes back as intents. Neither side ever waits for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Screen(Enum):
    """What the participant sees; exactly one at a time."""

    LOADING = "loading"
    CHECKING = "checking"
    """This computer is measured before its person may wait for others."""
    CONNECTING = "connecting"
    WAITING = "waiting"
    PLAYING = "playing"
    PARTNER_LOST = "partner lost"
    COMPARING = "comparing"
    PAUSED = "paused"
    RESULTS = "results"
    EXCLUDED = "excluded"
    """The person takes no further part, through no fault that it need be ashamed of."""
    ERROR = "error"


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The newest picture of the environment. Two views are equal only if they are the same one.

    ``pixels`` is ``uint8[height, width, 3]``, row-major RGB (a NumPy array, never written to after publication).
    """

    episode: int
    frame: int
    pixels: Any
    text: str | None = None
    """In place of the pixels where the environment draws none: its picture in characters; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Hud:
    """Figures over the picture. ``None`` means not known yet, and is not drawn."""

    scores: tuple[float, ...] = ()
    """Total reward by seat in this episode, as of the shown frame."""
    own_seat: int | None = None
    seconds_left: float | None = None
    """Nominal seconds until the episode ends at the latest."""
    episode: int = 0
    episodes: int = 1
    ping_ms: float | None = None
    connection: str = ""
    """Kind of path to the partner, such as ``direct``; empty when alone."""
    rollback_depth: int = 0
    """Deepest rollback of the last second, frames."""
    predicted_frames: int = 0
    """Frames shown ahead of what is confirmed."""
    stalled: bool = False
    notice: str = ""
    """One short line, such as that the partner has not been heard for a moment; empty for none."""
    turn: str = ""
    """Whose turn it is, as a sentence; empty in games in which all act at once."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """RGB of each seat's figure in the picture; empty where the window's own colours do."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """One state of the screen, complete in itself."""

    screen: Screen
    title: str = ""
    message: str = ""
    """What is going on and what to do next, for a person who knows nothing of the program."""
    progress: float | None = None
    """0..1 where the share done is known; None draws an indeterminate bar that moves."""
    view: View | None = None
    hud: Hud = field(default_factory=Hud)
    keys: tuple[tuple[str, str], ...] = ()
    """``(key, what it does)`` pairs for the help line, such as ``("W A S D or ↑ ← ↓ →", "move")``."""
    needs_focus: bool = True
    """False if it makes no difference whether this window has the keyboard, as when a bot plays in it."""
    lines: tuple[tuple[str, str], ...] = ()
    """``(label, value)`` rows of the results or the details of an error."""
    can_continue: bool = False
    """True if Enter or a click answers this screen with :class:`Continue`."""
    beat: int | None = None
    """Counts pictures while it is measured how evenly they come: the window answers with :class:`DisplayMeasured` to
    the first one and with :class:`BeatShown` to each."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key went down or up. ``code`` is the position on a US keyboard after the W3C UI Events names (``KeyW``)."""

    code: str
    pressed: bool
    at: float
    """``perf_counter`` seconds at which the event was taken from the system."""


@dataclass(frozen=True, slots=True)
class FocusChange:
    """The window got or lost the keyboard. Losing it releases all keys."""

    focused: bool
    at: float
    minimised: bool = False
    """It is not on the screen either."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The view of this frame was handed to the display at ``at`` (``perf_counter`` after flip)."""

    episode: int
    frame: int
    at: float


@dataclass(frozen=True, slots=True)
class BeatShown:
    """The presentation with this beat was handed to the display at ``at`` (``perf_counter`` after flip)."""

    beat: int
    at: float


@dataclass(frozen=True, slots=True)
class DisplayMeasured:
    """What the window's display is, as far as the system says."""

    width: int
    """Pixels of the whole display."""
    height: int
    scale: float | None
    """Pixels per unit of the system's own layout; None where it does not say."""
    refresh_hz: float | None
    displays: int


@dataclass(frozen=True, slots=True)
class Continue:
    """The person pressed Enter or clicked on a screen that offers to go on."""

    at: float


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """The person closed the window or pressed Ctrl-C: leave politely, then end."""

    at: float


Intent = KeyChange | FocusChange | Shown | BeatShown | DisplayMeasured | Continue | CloseRequest
