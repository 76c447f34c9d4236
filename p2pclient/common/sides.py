"""Which parts of a match's players may go on without the others: what keeps one match from having two histories."""

from __future__ import annotations

from collections.abc import Mapping


class Sides:
    """Parts of one match's players that asked whether they may go on, and were let.

    A part asks once it has given up all others, and none of its members is ever again on one side with those. A part
    with a majority goes on by itself (:mod:`p2pclient.match.agreement`), and asks all the same, so that its own parts
    can be judged later.

    Args:
        seats: number of seats of every player.
    """

    def __init__(self, seats: Mapping[str, int], granted: tuple[frozenset[str], ...] = ()) -> None:
        self._seats = dict(seats)
        self._askers: dict[frozenset[str], set[str]] = {side: set() for side in granted}

    @property
    def granted(self) -> tuple[frozenset[str], ...]:
        """All that were let go on, in the order in which they asked first."""
        return tuple(self._askers)

    def ask(self, asker: str, side: frozenset[str], through: frozenset[str]) -> bool:
        """Let a part go on, or not: only if no other one can ever go on beside it.

        Args:
            asker: one of ``side``.
            side: all who are left there.
            through: players who have finished or said goodbye: they are on no side.
        """
        if asker not in side or not side <= self._seats.keys():
            return False
        if any(not side & earlier for earlier in self._askers):
            return False
        # Nobody of a part that asked as a whole is ever on a side with others again: who outside of it may live does
        # not matter any more.
        whole = min((each for each in self._closed() if side <= each), key=len, default=frozenset(self._seats))
        if 2 * self._weight(whole - side - through) > self._weight(whole):
            return False
        self._askers.setdefault(side, set()).add(asker)
        return True

    def _closed(self) -> list[frozenset[str]]:
        return [side for side, askers in self._askers.items() if side == askers]

    def _weight(self, players: frozenset[str]) -> int:
        return sum(self._seats[each] for each in players)
