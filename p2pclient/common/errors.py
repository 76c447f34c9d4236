"""One tree of errors, arranged by whose fault it is.

::

    TandemError
    |-- ConfigurationError    a setting is wrong: names it, its value and what is allowed
    |-- LocalMisuseError      a caller in this program broke a contract: a bug here
    |-- RemoteProtocolError   a peer or client sent something it must not: counted by reason
    |-- EnvHostError          the environment or its host failed: carries cause and traceback
    |   `-- EnvHostGone       the host process is dead, hung or closed; it is never used again
    |       `-- EnvHostHung   a call into the environment did not return: names it
    |-- TransportError        bytes cannot be carried to a peer
    |-- SignalingError        the server refused or cannot be reached: one stable code per refusal
    |-- RecordingError        a run folder cannot be written or read
    `-- StoreError            what the server keeps cannot be written or read: names the file and what to do
        `-- StoreRefusal      the store is well, and cannot grant what was asked: one stable code per refusal

Raised where the fact is known and translated once, at the edge, into a sentence that says what to do next.
"""

from __future__ import annotations

from typing import Any, Optional


class TandemError(Exception):
    """Base of every error that this program raises on purpose."""


class ConfigurationError(TandemError):
    """A setting is wrong. The message names the setting, its value and what is allowed."""

    def __init__(self, setting: str, value: Any, allowed: str) -> None:
        super().__init__(f"{setting} is {value!r}; allowed: {allowed}")
        self.setting = setting
        self.value = value
        self.allowed = allowed


class LocalMisuseError(TandemError):
    """A contract was broken by a caller inside this program. Always a bug here, never a peer's doing."""


class RemoteProtocolError(TandemError):
    """A peer or a client sent what the protocol forbids. ``reason`` is a short stable word for counters."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class EnvHostError(TandemError):
    """The environment failed inside its host.

    ``index`` and ``command`` say which command of a batch stopped it; ``traceback`` is the host's own, as text.
    """

    def __init__(
        self, message: str, *, index: Optional[int] = None, command: Optional[str] = None, traceback: str = ""
    ) -> None:
        super().__init__(message)
        self.index = index
        self.command = command
        self.traceback = traceback


class EnvHostGone(EnvHostError):
    """The host process died, missed a deadline or was closed. It is replaced, never reused."""


class EnvHostHung(EnvHostGone):
    """The host was ended because a call into the environment did not return.

    ``call`` is ``make``, ``reset``, ``step``, ``render`` or another command; ``frame`` is None where it has none.
    """

    def __init__(self, message: str, *, call: str, frame: Optional[int], seconds: float) -> None:
        super().__init__(message)
        self.call = call
        self.frame = frame
        self.seconds = seconds

    def within(self, message: str) -> "EnvHostHung":
        """Return the same with another message, which says more of where it was."""
        return EnvHostHung(message, call=self.call, frame=self.frame, seconds=self.seconds)


class TransportError(TandemError):
    """Bytes cannot be carried to a peer. The message says what to check."""


class SignalingError(TandemError):
    """The signaling server refused a request or cannot be reached. ``code`` is stable; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RecordingError(TandemError):
    """A run folder cannot be written or read. The message names the file and what to do."""


class StoreError(TandemError):
    """What the server must not lose cannot be written or read. The message names the file and what to do."""


class StoreRefusal(StoreError):
    """The store cannot grant what a record asks for, and kept nothing of its batch. ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
