"""Whether the links between the peers are good enough for the next episode: asked at every barrier, before it opens.

1. A link is **sound** when both of its lanes have answered since this side stands at the barrier, and in the last
   moment: a datagram came back with a stamp of ours, and a control message of ours was acknowledged. Where the study
   gives bounds, its round trip and its loss keep them, too.
2. Whose links are all sound says so to everybody. The episode begins where all have said it, and this side's links
   still answer: so nobody begins while another one still waits for its link.
3. What is not sound after :data:`CHECK_SECONDS` is tried again after :data:`WAIT_SECONDS`, as often as the study says;
   as soon as it is sound, the episode begins. A link that does not stand its last try counts as lost: what follows then
   is said elsewhere (:mod:`p2pclient.match.patience`). Silence has bounds of its own, and uses up no try.

Healthy links cost one exchange: about a round trip and two frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from p2pclient.match.core import MatchCore
from p2pclient.match.peers import Peer
from p2pclient.protocol.control import LinkCheck, LinkSound
from p2pclient.protocol.endpoint import Endpoint

CHECK_SECONDS = 3.0
"""How long one try may take."""
WAIT_SECONDS = 5.0
"""Between two tries."""
FRESH_SECONDS = 1.0
"""How old the last sign of a lane may be; to it comes the round trip, of a link that is slow but sound."""
LEAST_DATAGRAMS = 30
"""From fewer no share of lost ones is told."""
_DEAF = "control messages are not answered"


@dataclass(slots=True)
class _Asked:
    """What was asked of one link."""

    endpoint: Endpoint
    number: int
    """Of the control message that is to be acknowledged."""
    at: float
    told: bool = False
    """The other side was told that all is sound here."""
    received: int = 0
    """Datagrams that had come, and that were missing, when the try at hand began."""
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How the check goes, for people."""

    attempt: int
    """From 1."""
    attempts: int
    retry_in: float | None
    """Seconds until the next try; None during one."""
    seconds: float
    """For how long it has been checked."""


class Readiness:
    """The check before one episode after the other."""

    def __init__(self, core: MatchCore) -> None:
        self._core = core
        self._asked: dict[int, _Asked] = {}
        self._since: float | None = None
        """When all stood at the barrier; None before."""
        self._began = 0.0
        self._attempt = 0
        self._retry_at: float | None = None
        self._problems: dict[int, str] = {}
        """By peer whose link did not stand the newest try: why."""
        self._is_given_up = False

    # -- what happens -------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """This side has told everybody where it stands: that message is the first that is to be answered."""
        self._asked = {
            peer.id: _Asked(peer.endpoint, peer.endpoint.newest_control, now) for peer in self._core.peers.all
        }
        self._since = self._retry_at = None
        self._attempt, self._problems, self._is_given_up = 0, {}, False

    def wait(self, now: float) -> None:
        """Others are not where we stand yet. Call it in every tick until they are.

        How long they take is their affair; but who is heard and does not even acknowledge that we wait cannot hear us.
        """
        if self._since is None:
            is_late = any(now - each.at >= CHECK_SECONDS for each in self._asked.values())
            if not (is_late and self._deaf(now)):
                return
            self._begin_attempt(now)
            self._began = now
        deaf = self._deaf(now)
        if deaf:
            self._try(deaf, now)
        else:
            self._since, self._attempt = None, 0

    def is_sound(self, now: float) -> bool:
        """All others stand at the barrier: may the episode begin. Call it in every tick from then on."""
        core = self._core
        if self._since is None:
            self._begin_attempt(now)
            self._began = now
        found = {peer.id: self._problem(peer, now) for peer in core.peers.all}
        problems = {peer: problem for peer, problem in found.items() if problem}
        if problems:
            self._try(problems, now)
            return False
        self._tell()
        if all(core.number in peer.sound for peer in core.peers.all):
            self._pass(now)
            return True
        # The others try for as long as they may; whose links fail says so, or falls silent.
        self._since, self._retry_at = now, None
        return False

    def forgive(self, seconds: float) -> None:
        """Our own program stood still for so long."""
        if self._since is not None:
            self._since += seconds

    def why_lost(self, peer: Peer) -> tuple[str, str] | None:
        """Return ``(reason, text)`` if a peer's link did not stand the last try."""
        if not self._is_given_up or peer.id not in self._problems:
            return None
        problem = self._problems[peer.id]
        return "poor-connection", f"The connection to the other player was not good enough to go on: {problem}."

    def standing(self, now: float) -> Standing | None:
        """Return how the check goes; None if none is under way."""
        if self._since is None:
            return None
        retry_in = max(0.0, self._retry_at - now) if self._retry_at is not None else None
        return Standing(self._attempt, self._core.plan.check_tries, retry_in, now - self._began)

    # -- one try ------------------------------------------------------------------------------------------------

    def _try(self, problems: dict[int, str], now: float) -> None:
        """Not all is well: let the try at hand go on, or end, or begin the next one."""
        peers = self._core.peers.all
        if self._is_given_up and not any(peer.id in self._problems for peer in peers):
            self._attempt, self._is_given_up = 0, False  # it goes on without those
            self._begin_attempt(now)
        elif any(peer.endpoint.silence != "heard" for peer in peers):
            self._since = now  # for silence there are other bounds, and other words
        elif self._retry_at is not None:
            if now >= self._retry_at:
                self._begin_attempt(now)
        elif self._since is not None and now - self._since >= CHECK_SECONDS and not self._is_given_up:
            self._fail(problems, now)

    def _begin_attempt(self, now: float) -> None:
        self._attempt += 1
        self._since, self._retry_at = now, None
        for peer in self._core.peers.all:
            asked = self._asked_of(peer, now)
            if self._attempt > 1 or now - asked.at > FRESH_SECONDS:
                asked.number, asked.at = peer.endpoint.queue_control(LinkCheck(self._core.number)), now
            if self._attempt > 1:
                stats = peer.endpoint.stats
                asked.received, asked.lost = stats.datagrams_received, stats.lost

    def _asked_of(self, peer: Peer, now: float) -> _Asked:
        """Return what a link was asked; anew where the peer came back meanwhile, as a new program."""
        asked = self._asked.get(peer.id)
        if asked is None or asked.endpoint is not peer.endpoint:
            number = peer.endpoint.queue_control(LinkCheck(self._core.number))
            asked = self._asked[peer.id] = _Asked(peer.endpoint, number, now)
        return asked

    def _deaf(self, now: float) -> dict[int, str]:
        """Return who does not acknowledge what it was told."""
        peers = self._core.peers.all
        return {p.id: _DEAF for p in peers if not p.endpoint.is_acknowledged(self._asked_of(p, now).number)}

    def _problem(self, peer: Peer, now: float) -> str:
        """Return what is wrong with a link; empty if nothing is."""
        asked, endpoint, plan = self._asked_of(peer, now), peer.endpoint, self._core.plan
        rtt = endpoint.stats.srtt
        if not endpoint.is_acknowledged(asked.number):
            return _DEAF
        if rtt is None or endpoint.answered < max(asked.at, now - FRESH_SECONDS - rtt):
            return "datagrams are not answered"
        if plan.most_rtt is not None and rtt > plan.most_rtt:
            return f"a round trip takes {ceil(rtt * 1000)} ms, and {plan.most_rtt * 1000:.0f} ms are allowed"
        if plan.most_loss is None:
            return ""
        loss = self._loss(asked)
        if loss is None:
            return "too little has come to tell how much is lost"
        if loss > plan.most_loss:
            return f"{100 * loss:.1f} % is lost, and {100 * plan.most_loss:g} % are allowed"
        return ""

    def _loss(self, asked: _Asked) -> float | None:
        """Return the share that is lost: of the recent datagrams, in a further try of those that came in it."""
        stats = asked.endpoint.stats
        received, lost = stats.datagrams_received - asked.received, max(0, stats.lost - asked.lost)
        if received + lost < LEAST_DATAGRAMS:
            return None
        return lost / (received + lost) if self._attempt > 1 else stats.loss

    def _tell(self) -> None:
        """All links are sound here: say so, to each once."""
        for peer in self._core.peers.all:
            asked = self._asked[peer.id]
            if not asked.told:
                asked.told = True
                peer.endpoint.queue_control(LinkSound(self._core.number))

    def _pass(self, now: float) -> None:
        core = self._core
        links = {str(peer.id): _figures(peer) for peer in core.peers.all}
        if links:
            core.note("link-checked", {"tries": self._attempt, "seconds": now - self._began, "links": links})
        self._since = None

    def _fail(self, problems: dict[int, str], now: float) -> None:
        core = self._core
        self._problems = problems
        details = {str(peer.id): {"problem": problems.get(peer.id, ""), **_figures(peer)} for peer in core.peers.all}
        core.note("link-check-failed", {"try": self._attempt, "links": details})
        if self._attempt >= core.plan.check_tries:
            self._is_given_up = True
        else:
            self._retry_at = now + WAIT_SECONDS


def _figures(peer: Peer) -> dict[str, float | None]:
    stats = peer.endpoint.stats
    return {"rtt_ms": None if stats.srtt is None else stats.srtt * 1000, "loss": stats.loss}
