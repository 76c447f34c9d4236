"""What people are told of a player who is gone and of what follows, by the policy of the match.

That a bot takes a seat is said only where the policy discloses it; where it is hidden, nothing is said that would give
it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from p2pclient.common.if_lost import IfLost
from p2pclient.match.match import Match
from p2pclient.match.plan import MatchPlan

_TIME_LEFT, _THEN = "Time left to come back", "After that"
_ENDS = "The game ends. Everything up to here is kept."


class LossWords:
    """The words of one match. The others are called as beside their scores."""

    def __init__(self, plan: MatchPlan) -> None:
        self._plan = plan
        self._seats = plan.peers
        self._losses = plan.losses
        self._is_pair = plan.seats == 2

    def missed(self, peers: Sequence[int]) -> str:
        """Of some who have not been heard for a moment."""
        return f"{self.have(peers)} not been heard for a moment."

    def left(self, peers: Sequence[int]) -> str:
        """Of some without whom the game goes on; empty if nothing is to be said."""
        alone = [peer for peer in peers if self._says(peer).then != "bot"]
        replaced = [peer for peer in peers if self._says(peer).then == "bot" and self._says(peer).is_disclosed]
        told = [f"{self.have(alone)} left. The game goes on."] if alone else []
        if replaced:
            places = "that place" if len(replaced) == 1 else "those places"
            told.append(f"{self.have(replaced)} left. A computer player takes {places}, and the game goes on.")
        return " ".join(told)

    def lost(self, peers: Sequence[int]) -> tuple[str, str]:
        """Title and message while some are waited for."""
        names, one = self.names(peers), len(peers) == 1
        who = "the other computer" if self._is_pair else f"the computer{'' if one else 's'} of {names}"
        back = f"as soon as {'it is' if one else 'they are'} back"
        goes_on = f"the game goes on by itself {back}{self._or_else(peers)}"
        message = f"The connection to {who} is lost, and is being made anew."
        return f"Waiting for {names}", f"{message} Please wait: {goes_on}."

    def back(self) -> str:
        """After some were waited for."""
        return "The connection is back. The game goes on."

    def countdown(self, peers: Sequence[int], match: Match, now: float) -> tuple[tuple[str, str], ...]:
        """Lines with the time that is left until something else follows, and what that is."""
        left = min(
            [
                self._plan.wait_for(peer.id) - (now - peer.endpoint.heard_at)
                for peer in match.peers
                if peer.id in peers and peer.left is None
            ],
            default=0.0,
        )
        return (_TIME_LEFT, f"{ceil(left)} s" if left > 0 else "a moment"), (_THEN, self._then(peers))

    def names(self, peers: Sequence[int]) -> str:
        """How they are called."""
        if self._is_pair:
            return "your partner"
        *first, last = [f"Player {seat + 1}" for peer in peers for seat in self._seats[peer]]
        return f"{', '.join(first)} and {last}" if first else last

    def have(self, peers: Sequence[int]) -> str:
        """The same at the beginning of a sentence, with its verb."""
        names = self.names(peers)
        is_one = sum(len(self._seats[peer]) for peer in peers) == 1
        return f"{names[0].upper()}{names[1:]} {'has' if is_one else 'have'}"

    def _says(self, peer: int) -> IfLost:
        return self._losses.of_all(self._seats[peer])

    def _may_go_on(self, peers: Sequence[int]) -> bool:
        # Only those who still hear somebody can go on without the others, unless the server lets them.
        is_decidable = len(peers) < len(self._seats) or self._plan.has_arbiter
        return is_decidable and all(self._says(peer).then != "end" for peer in peers)

    def _or_else(self, peers: Sequence[int]) -> str:
        if not self._may_go_on(peers):
            return ""
        says, one = [self._says(peer) for peer in peers], len(peers) == 1
        if all(each.then == "bot" and each.is_disclosed for each in says):
            return f", or after a short wait with a computer player in {'its' if one else 'their'} place"
        is_hidden = any(each.then == "bot" and not each.is_disclosed for each in says)
        return ", or after a short wait" if is_hidden else f", or after a short wait without {'it' if one else 'them'}"

    def _then(self, peers: Sequence[int]) -> str:
        if not self._may_go_on(peers):
            return _ENDS
        says = [self._says(peer) for peer in peers]
        if all(each.then == "bot" and each.is_disclosed for each in says):
            return "A computer player takes the place, and the game goes on."
        is_hidden = any(each.then == "bot" and not each.is_disclosed for each in says)
        return "The game goes on." if is_hidden else f"The game goes on without {self.names(peers)}."
