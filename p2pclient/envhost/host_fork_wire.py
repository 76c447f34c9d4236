"""What a forking host and its workers say to each other, and what ends them together.

One request is out at a time. A request is a plain value; an answer is a plain value, raw bytes after it, and the ends
of sockets to processes that were forked meanwhile. Both go over a socket pair, of which every worker holds its end
alone: its death is the end of file on the other one.

Linux only (so far): see :func:`end_with`.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import struct
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from p2pclient.envhost.values import decode, encode

_HEAD = struct.Struct("!III")
"""Bytes of the value, raw bytes, descriptors."""
_MOST_DESCRIPTORS = 128
_F_SETSIG = 10
"""Of ``fcntl.h``; Python's ``fcntl`` does not name it."""


class Answer(NamedTuple):
    """What a worker said, with what belongs to it."""

    value: Any
    raw: bytes
    ends: List[socket.socket]


class WireClosedError(Exception):
    """The other end is gone."""


def send(end: socket.socket, value: Any, raw: Sequence[Any] = (), descriptors: Sequence[int] = ()) -> None:
    """Send a value, raw bytes, and copies of open files.

    Raises:
        WireClosedError: nobody is there to hear it.
    """
    body = encode(value)
    tail = b"".join(raw)
    data = memoryview(b"".join((_HEAD.pack(len(body), len(tail), len(descriptors)), body, tail)))
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        sent = end.sendmsg([data], beside)
        end.sendall(data[sent:])
    except socket.timeout:
        raise
    except OSError as error:
        raise WireClosedError(str(error)) from error


def receive(end: socket.socket) -> Answer:
    """Wait for what :func:`send` sent.

    Raises:
        WireClosedError: the other end is gone.
        socket.timeout: the socket's time is over.
    """
    try:
        head, descriptors = _receive_head(end)
        length, raw_length, count = _HEAD.unpack(head)
        body, raw = _receive_exactly(end, length), _receive_exactly(end, raw_length)
    except socket.timeout:
        raise
    except OSError as error:
        raise WireClosedError(str(error)) from error
    assert len(descriptors) == count
    return Answer(decode(bytes(body)), bytes(raw), [socket.socket(fileno=each) for each in descriptors])


def _receive_head(end: socket.socket) -> Tuple[bytes, List[int]]:
    space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
    head, found = b"", array.array("i")
    while len(head) < _HEAD.size:
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        data, beside, _, _ = end.recvmsg(_HEAD.size - len(head), space, flags)
        if not data:
            raise WireClosedError("end of file")
        head += data
        for level, kind, content in beside:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return head, list(found)


def _receive_exactly(end: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = end.recv_into(view)
        if not got:
            raise WireClosedError("end of file in the midst of a message")
        view = view[got:]
    return data


def is_alive(end: socket.socket) -> bool:
    """True unless the other end is gone."""
    try:
        return bool(end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def end_with(lifetime: int) -> None:
    """Found a process group that is killed when the last writer of the pipe ``lifetime`` is gone, whatever it does.

    Whoever is stuck in an extension cannot look at the pipe, so that the kernel does: it sends SIGKILL to the owner of
    the pipe's reading end when that has news (``O_ASYNC``, F_SETOWN and F_SETSIG in fcntl(2)). Nothing is ever written
    to it, so that the only news is its end. All that is forked later is in the group.
    """
    import fcntl

    os.setpgid(0, 0)
    fcntl.fcntl(lifetime, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifetime, _F_SETSIG, int(signal.SIGKILL))
    fcntl.fcntl(lifetime, fcntl.F_SETFL, fcntl.fcntl(lifetime, fcntl.F_GETFL) | os.O_ASYNC)
    import select

    if select.select([lifetime], [], [], 0)[0]:
        os._exit(1)  # ended before we asked to be told


def private_bytes(pid: int) -> Optional[int]:
    """Return the bytes of memory that a process shares with no other; None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as told:
            return sum(int(line.split()[1]) * 1024 for line in told if line.startswith("Private_"))
    except (OSError, ValueError):
        return None
