"""What an environment's checksum covers, and what could be behind a difference: asked of the host of a check."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pclient.common.errors import EnvHostError, EnvHostHung
from p2pclient.common.seeds import derive_seed
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.checking import Finding
from p2pclient.envhost.exchange import gone_reason
from p2pclient.envhost.random_inputs import RandomInputs

ENOUGH = 0.95
"""Share of changed values that the checksum must notice, or what it covers is said to have gaps."""

_DEADLINE_SECONDS = 120.0
_OF_PLAY = frozenset(("make", "reset", "step", "render"))


@dataclass(frozen=True, slots=True)
class Examination:
    """What ``["examine"]`` found in a host (see ``envs/examination.py``)."""

    tried: int = 0
    """Values of the state that were changed, one at a time."""
    noticed: int = 0
    """Those of them that changed the checksum."""
    missed: Sequence[str] = ()
    """Paths of some that did not."""
    counters: Sequence[str] = ()
    """Values that count time or steps, by their names. They are not among those tried."""
    opaque: Sequence[str] = ()
    """What could not be looked into."""
    reads: Sequence[Mapping[str, Any]] = ()
    """Lines of its code that look at a clock, at chance without a seed or at addresses."""
    changed: Sequence[str] = ()
    """Variables of modules and classes that its steps change."""
    remembered: Sequence[str] = ()
    """Functions whose cache decides how steps come out."""
    remade: Sequence[str] = ()
    """Classes that pickle makes anew."""
    picture_fails: str = ""
    """What the environment said when it was to draw; empty if it could."""
    picture_changes: str = ""
    """The first part of its state that drawing changes; empty if it changes nothing."""
    picture_stays: bool = False
    """Running the episode again does not take back what drawing has changed."""
    takes_max_steps: bool = False
    """``--max-steps`` ends its episodes."""
    failed: str = ""
    """Why the coverage is not known; empty if it is."""
    hash_order: bool | None = None
    """Do processes agree that have the same order of sets, where others did not. None: not tried."""

    @property
    def coverage(self) -> float | None:
        """Share of noticed values; None if it is not known."""
        return self.noticed / self.tried if self.tried else None


def examine(host: BlockingEnvHost, *, hash_order: bool | None = None) -> Examination:
    """Ask a host that was made for a check. What it plays goes on as it was, but should not.

    Raises:
        EnvHostHung: the environment does not return from what it is asked for in play, too.
    """
    try:
        found: dict[str, Any] = host.run([["examine"]], _DEADLINE_SECONDS).results[0]
    except EnvHostHung as error:
        if error.call in _OF_PLAY:
            raise
        # With values changed on purpose, anything may happen.
        return Examination(failed=gone_reason(host.spec.env, error), hash_order=hash_order)
    except EnvHostError as error:  # it is about side matters: the verdict stands without them
        return Examination(failed=str(error), hash_order=hash_order)
    stuck = found.pop("stuck")
    return Examination(**found, failed=stuck or "", hash_order=hash_order)


def agrees_with_first(third: BlockingEnvHost, finding: Finding) -> bool:
    """Tell whether ``third`` comes to what the first process came to at the frame of a finding between two processes.

    Raises:
        EnvHostError: the environment fails.
    """
    episode = finding.episode
    seed = derive_seed(finding.seed, "episode", episode) if episode else finding.seed
    inputs = RandomInputs(third.ready["action_spaces"], random.Random(f"{finding.seed} {episode}"))
    checksum: bytes = third.run([["reset", seed]]).results[0]
    for frame in range(finding.frame + 1):
        checksum = third.run([["step", frame, inputs.next_line()]]).results[0][0]
    return checksum == finding.checksum
