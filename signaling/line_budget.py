"""How many lines of decisions somebody may cause. Pure.

Everything that honest participants do is far below. Who joins and leaves all the time fills no disk with it: what is
left out is counted, and the next line that is written says how many there were.
"""

from __future__ import annotations

from collections.abc import Iterable

BY_ONE = (40.0, 0.05)
"""Of one participant: lines at once, and per second in the long run."""
BY_ADDRESS = (4000.0, 1.0)
"""Of one address, behind which there may be a lab of hundreds: whoever comes anew each time."""
MOST_KNOWN = 5000
"""Names; beyond, whoever has caused nothing for longest is forgotten."""


class LineBudget:
    """Says for each line whether it is to be written."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, tuple[float, float]], tuple[float, float]] = {}
        """What is left for each name and limit, and when that was so."""
        self.unwritten = 0
        """Lines left out since the last one that was written."""

    def take(self, causes: Iterable[tuple[str, str]], *, now: float) -> bool:
        """Return whether a line is to be written that was caused by these: participants, each with its address.

        One of them who is calm is enough. Nobody in particular is nobody's fault: that is always written.
        """
        given = list(causes)
        at = {address: self._spend(address, BY_ADDRESS, now) for address in {address for _, address in given}}
        calm = [self._spend(each, BY_ONE, now) and at[address] for each, address in given]
        if calm and not any(calm):
            self.unwritten += 1
            return False
        return True

    def _spend(self, name: str, limit: tuple[float, float], now: float) -> bool:
        if not name:
            return True
        left = self._now_left((name, limit), now)
        self._left.pop((name, limit), None)  # so that those are in front who have caused nothing for longest
        self._left[name, limit] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > MOST_KNOWN:
            del self._left[next(iter(self._left))]
        return left >= 1

    def _now_left(self, key: tuple[str, tuple[float, float]], now: float) -> float:
        most, per_second = key[1]
        left, at = self._left.get(key, (most, now))
        return min(most, left + max(0.0, now - at) * per_second)
