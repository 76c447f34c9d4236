"""Several peers that do what they must not, in a match that goes on without the lost: it stays bounded and it ends."""

from __future__ import annotations

import random
from typing import Any

import pytest
from strangers_rig import TICK, Strangers, random_message

from p2pclient.match.agreement import PATIENCE as AGREEMENT_PATIENCE
from p2pclient.match.barriers import GOODBYE
from p2pclient.match.desync import PATIENCE
from p2pclient.match.plan import Ended, Phase
from p2pclient.protocol.control import EpisodeOver, PeersLost
from p2pclient.protocol.endpoint import MAX_OPEN_CONTROL, MAX_UNACKNOWLEDGED

PEERS, EPISODES, MAX_STEPS = 3, 3, 120
VARIANTS: list[dict[str, Any]] = [{}, {"on_desync": "resimulate", "delay_range": (0, 8)}]


def send_noise(noise: random.Random, strangers: Strangers, peer: int) -> None:
    """A datagram that may fit, from one of them."""
    strangers.send(
        peer,
        first_frame=max(0, strangers.frame + noise.randint(-9, 3)),
        inputs=tuple(bytes([noise.randrange(2), noise.randrange(6)]) for _ in range(noise.randrange(5))),
        episode=strangers.match.number + noise.choice([0, 0, 0, 1]),
        chain=(noise.randrange(40), bytes(8)) if noise.random() < 0.02 else None,
        lead=noise.choice([None, -31.75, 31.75]),
    )


def disturbed(seed: int, **plan: Any) -> Strangers:
    """A match after 40 s with three of them: they play, fall silent, are reported gone, and say whatever there is."""
    noise = random.Random(seed)
    strangers = Strangers(PEERS, max_steps=MAX_STEPS, episodes=EPISODES, on_drop="go-on", drop_after=5.0, **plan)
    strangers.greet()
    if noise.random() < 0.95:
        strangers.begin()
    quiet_from = {peer: noise.uniform(0.0, 80.0) for peer in strangers.others}
    talks = noise.choice([0.0, 0.002, 0.02])
    while strangers.now < 40.0:
        for peer in strangers.others:
            if strangers.now > quiet_from[peer]:
                if noise.random() < 0.001:
                    strangers.match.peer_gone(peer)
                continue
            if noise.random() < talks:
                strangers.say(peer, random_message(noise, strangers.match, frame=strangers.frame))
            elif noise.random() < 0.05:
                send_noise(noise, strangers, peer)
            else:
                go_along(strangers, peer)
        strangers.tick()
        assert_bounded(strangers)
    return strangers


def go_along(strangers: Strangers, peer: int) -> None:
    """Do what an honest peer does where the match stands: it also gives up whom we gave up."""
    match = strangers.match
    reports = [message for message in strangers.told_to[peer] if isinstance(message, PeersLost)]
    strangers.told_to[peer].clear()
    for report in reports:
        strangers.say(peer, report)
    if match.episode is None:
        return
    if match.phase is Phase.PLAYING:
        newest = strangers.frame = match.episode.session.current_frame
        first = max(0, newest - 30)
        strangers.send(peer, first_frame=first, inputs=(b"\x00\x01",) * (newest + 1 - first))
    elif match.phase is Phase.BARRIER:
        strangers.be_ready(peer)
        strangers.be_sound(peer)
    elif match.phase is Phase.EPISODE_OVER:
        strangers.say(peer, EpisodeOver(match.number, MAX_STEPS - 1, match.episode.chain.value))


def assert_bounded(strangers: Strangers) -> None:
    for peer in strangers.match.peers:
        assert len(peer.ready) <= 2
        assert len(peer.over) <= 1
        assert len(peer.endpoint._unacknowledged) <= MAX_UNACKNOWLEDGED + 10
        assert peer.endpoint.open_control < MAX_OPEN_CONTROL
    episode = strangers.match.episode
    if episode is not None:
        assert all(len(queue._assumed) <= 8 for queue in episode.session._queues)


@pytest.mark.parametrize("plan", VARIANTS, ids=["plain", "all that can be chosen"])
@pytest.mark.parametrize("seed", range(40))
def test_whatever_three_strangers_do_nothing_raises_and_it_ends(seed: int, plan: dict[str, Any]) -> None:
    strangers = disturbed(seed, **plan)
    silence = strangers.plan.drop_after + AGREEMENT_PATIENCE + PATIENCE + 2 * GOODBYE
    strangers.tick(int(2 * silence / TICK))  # they say nothing any more
    assert strangers.match.ended is not None
    assert sum(isinstance(event, Ended) for event in strangers.events) == 1
    assert strangers.match.phase is Phase.ENDED


def test_what_three_random_strangers_do_loses_some_and_plays_on_without_them() -> None:
    matches = [disturbed(seed, **plan) for seed in range(40) for plan in VARIANTS]
    assert sum(bool(match.notes("lost")) for match in matches) >= 20
    assert sum(bool(match.notes("dropped")) for match in matches) >= 20
    ends = [match.match.ended.reason for match in matches if match.match.ended is not None]
    assert set(ends) >= {"finished", "partition", "desync", "refused"}
    without = [match for match in matches if match.notes("dropped") and match.match.number == EPISODES]
    assert without  # some was lost, and the others played to the planned end
