"""Whom a match keeps step with: the median over the peers that are heard, each of them once."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import pytest
from strangers_rig import playing
from virtual import toy_env

from p2pclient.match.peers import Peers
from p2pclient.match.plan import MatchPlan
from p2pclient.protocol.endpoint import LOST_AFTER, NOTICE_AFTER

FAR_AHEAD, A_LITTLE, LEVEL, BEHIND = 8.0, 1.0, 0.0, -8.0
"""Frames by which we are ahead of a peer: half of it is our share of the error."""


def make_peers(seats: Mapping[int, tuple[int, ...]]) -> Peers:
    count = 1 + sum(map(len, seats.values()))
    plan = MatchPlan(match_id="m", seed=1, env=toy_env(count), local_seats=(0,), peers=seats, own_id=0)
    return Peers(plan, now=0.0)


def stretch(peers: Peers, ahead: Mapping[int, float], *, samples: int = 40) -> float:
    """Return the factor after so many samples of the same leads."""
    factor = 0.0
    for _ in range(samples):
        for peer in peers:
            peer.endpoint.lead, peer.endpoint.peer_lead = ahead[peer.id], 0.0
        factor = peers.stretch()
    return factor


def alone_with(ahead: float) -> float:
    return stretch(make_peers({1: (1,)}), {1: ahead})


def test_of_three_peers_the_middle_one_counts() -> None:
    peers = make_peers({1: (1,), 2: (2,), 3: (3,)})
    factor = stretch(peers, {1: FAR_AHEAD, 2: A_LITTLE, 3: BEHIND})
    assert factor == alone_with(A_LITTLE)
    assert 1.0 < factor < alone_with(FAR_AHEAD)


def test_two_seats_behind_one_peer_count_once() -> None:
    peers = make_peers({1: (1, 2), 3: (3,)})
    factor = stretch(peers, {1: FAR_AHEAD, 3: LEVEL})
    assert factor == pytest.approx(median([alone_with(FAR_AHEAD), alone_with(LEVEL)]))
    assert factor < alone_with(FAR_AHEAD)  # which it would be if both seats had a say


def test_a_lost_peer_counts_no_more() -> None:
    ahead = {1: FAR_AHEAD, 2: FAR_AHEAD, 3: LEVEL}
    peers = make_peers({1: (1,), 2: (2,), 3: (3,)})
    assert stretch(peers, ahead) == alone_with(FAR_AHEAD)
    peers.remove(1)
    peers.remove(2)
    assert stretch(peers, ahead, samples=1) == alone_with(LEVEL) == 1.0


def test_a_silent_peer_does_not_count_until_it_is_heard_again() -> None:
    ahead = {1: FAR_AHEAD, 2: LEVEL}
    peers = make_peers({1: (1,), 2: (2,)})
    peers[1].endpoint.handle_timer(now=NOTICE_AFTER + 0.01)
    assert stretch(peers, ahead) == alone_with(LEVEL)
    peers[1].endpoint.silence = "heard"
    assert stretch(peers, ahead) > 1.0


def test_with_nobody_left_nothing_is_adjusted() -> None:
    peers = make_peers({1: (1,), 2: (2,)})
    assert stretch(peers, {1: FAR_AHEAD, 2: A_LITTLE}) > 1.0
    for peer in peers:
        peer.endpoint.handle_timer(now=LOST_AFTER + 0.01)
    assert peers.stretch() == 1.0
    for peer_id in (1, 2):
        peers.remove(peer_id)
    assert peers.stretch() == 1.0
    assert make_peers({}).stretch() == 1.0


def test_in_a_match_that_goes_on_the_lost_one_has_no_say() -> None:
    """Two of three say that we are far ahead of them; when one of these is gone, the third has half of the say."""
    strangers = playing(3, on_drop="go-on", drop_after=5.0)
    match = strangers.match

    def factor(leads: Mapping[int, float]) -> float:
        assert match.episode is not None
        newest = match.episode.session.current_frame
        for peer, lead in leads.items():
            strangers.send(peer, lead=lead, first_frame=newest - 9, inputs=(b"\x00\x01",) * 10)
        strangers.tick()
        return match.frame_duration() * strangers.plan.rate_hz

    for _ in range(30):
        slow = factor({1: LEVEL, 2: -30.0, 3: -30.0})
    assert slow > 1.04
    while 3 in match.peers:
        less_slow = factor({1: LEVEL, 2: -30.0})
        assert strangers.now < 60.0
    assert match.ended is None
    assert 1.0 < less_slow < 1 + 0.6 * (slow - 1)
