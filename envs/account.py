"""What an environment is asked for at this moment, told to who watches its process from outside.

Whoever hangs cannot say where. So each call into an environment is noted in memory that another process shares, before
it begins: that one sees what does not return, even where the interpreter's lock is held, and in forked processes too.
Without such memory, as in play, nothing is noted.

The memory has two halves, one for the process itself, one for those that it forked, of which one runs at a time. Each
holds a number that changes with every note, and the note: the call's name, and the frame if it has one.
"""

from __future__ import annotations

import struct
from typing import Any, Optional, Union

HALF_BYTES = 64
ACCOUNT_BYTES = 2 * HALF_BYTES
_NUMBER = struct.Struct("<Q")
_TEXT_BYTES = HALF_BYTES - _NUMBER.size


class Account:
    """Notes calls; silent until :meth:`open`."""

    def __init__(self) -> None:
        self._memory: Any = None
        self._note = b""
        self._at = 0

    @property
    def is_open(self) -> bool:
        """True if somebody reads it."""
        return self._memory is not None

    def open(self, memory: Any) -> None:
        """Note in ``memory`` from now on: writable bytes, at least :data:`ACCOUNT_BYTES` of them."""
        self._memory = memory

    def enter_fork(self) -> None:
        """This process was forked: from now on, what it does is noted in the other half."""
        self._at, self._note = HALF_BYTES, b""

    def forget_forks(self) -> None:
        """The forked processes were ended, whatever they did."""
        if self._memory is not None:
            self._write(HALF_BYTES, b"")

    def of(self, call: str, frame: Optional[int] = None) -> Union[_Silence, _Entry]:
        """Return a context in which ``call`` is made. One inside of another takes its place until it returns."""
        if self._memory is None:
            return _SILENCE
        return _Entry(self, (call if frame is None else f"{call} {frame}").encode("ascii"))

    def write(self, note: bytes) -> bytes:
        """Note it, and return what was noted before."""
        before, self._note = self._note, note
        self._write(self._at, note)
        return before

    def _write(self, at: int, note: bytes) -> None:
        # Told apart by the number, because the same call may be made again; counted on by whichever process notes.
        (number,) = _NUMBER.unpack_from(self._memory, at)
        self._memory[at + _NUMBER.size : at + HALF_BYTES] = note[:_TEXT_BYTES].ljust(_TEXT_BYTES, b"\0")
        _NUMBER.pack_into(self._memory, at, (number + 1) % 2**64)


class _Silence:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *raised: Any) -> None:
        pass


class _Entry:
    def __init__(self, account: Account, note: bytes) -> None:
        self._account = account
        self._note = note
        self._before = b""

    def __enter__(self) -> None:
        self._before = self._account.write(self._note)

    def __exit__(self, *raised: Any) -> None:
        self._account.write(self._before)


_SILENCE = _Silence()

ACCOUNT = Account()
"""Of this process: there is one environment that is asked, and one who watches."""
