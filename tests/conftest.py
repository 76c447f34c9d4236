"""What holds for all tests: an example of Hypothesis may take its time, for how long depends on the machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-deadline", settings(deadline=None))
settings.load_profile("no-deadline")
