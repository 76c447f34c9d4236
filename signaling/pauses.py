"""Short pauses of Python itself, for a process that serves a thousand clients from one thread.

The collector of garbage looks at everything that is alive to find cycles. With Python's own thresholds, a server with a
thousand clients stands still for a quarter of a second every few seconds, and finds next to nothing. And the thread of
the store, which lets go of the interpreter around each statement, waits for up to 5 ms to get it back each time.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

THRESHOLDS = (2_000, 5, 20)
"""New objects before the young ones are looked at: 2,000, which takes 10 to 30 ms. All are looked at after 200,000 at
the soonest: so much lies around at most, about 60 MB."""

SWITCH_S = 0.001


@contextlib.contextmanager
def short_pauses() -> Iterator[None]:
    """Let the collector look at less at a time, and threads take turns sooner. For a whole process."""
    thresholds, switch_s = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()  # what was imported stays for good
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(switch_s)
