"""How often a password may be tried: after a few failures, each one makes the next try wait longer. Pure.

Failures are counted for the address and for the account. An address from which the account has logged in before is not
slowed down by what others try on that account: nobody can lock the researcher out by typing wrong passwords elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from signaling.per_address import network_of

FREE_FAILURES = 3
FORGOTTEN_AFTER_S = 3600.0
MOST_KEPT = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    last: float
    most_s: float

    def wait_s(self, now: float) -> float:
        over = self.count - FREE_FAILURES
        delay = min(self.most_s, 2.0 ** min(over, 30)) if over >= 0 else 0.0
        return max(0.0, self.last + delay - now)


class Throttle:
    """Failed log-ins by address and account. Times are seconds of any clock that goes forward."""

    def __init__(self, *, most_s_address: float = 300.0, most_s_account: float = 60.0) -> None:
        self._most = {"address": most_s_address, "account": most_s_account}
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, address: str, account: str, *, now: float) -> float:
        """Return how long the next try must wait; 0 if it may be made."""
        keys = [("address", network_of(address))]
        if (keys[0][1], account) not in self._known:
            keys.append(("account", account))
        return max((self._failures[key].wait_s(now) for key in keys if key in self._failures), default=0.0)

    def failed(self, address: str, account: str, *, now: float) -> None:
        """A try was wrong, or is about to be checked: counting it first keeps parallel tries from being free."""
        for kind, name in (("address", network_of(address)), ("account", account)):
            failures = self._failures.pop((kind, name), None)
            if failures is None or now - failures.last > FORGOTTEN_AFTER_S:
                failures = _Failures(0, now, self._most[kind])
            failures.count += 1
            failures.last = now
            self._failures[kind, name] = failures
        while len(self._failures) > MOST_KEPT:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, account: str) -> None:
        """The password was right: the failures of this address and account are forgotten."""
        network = network_of(address)
        self._failures.pop(("address", network), None)
        self._failures.pop(("account", account), None)
        self._known.pop((network, account), None)
        self._known[network, account] = None
        while len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)
