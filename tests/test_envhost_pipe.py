"""Replies are taken off the pipe as their bytes come, and the loop never waits for the rest of one."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from multiprocessing import Pipe
from typing import Any

import pytest

from p2pclient.envhost.pipe import PipeWriter, read_replies
from p2pclient.envhost.values import encode

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there, a thread reads whole replies")


class Child:
    """A running host that is nothing but its pipe."""

    pid = 1

    def __init__(self) -> None:
        self.pipe, self.theirs = Pipe(duplex=True)
        self.replies: list[Any] = []
        self.ends: list[str] = []
        self.kills = 0
        self.views: Any = None
        loop = asyncio.get_running_loop()
        read_replies(self, loop, lambda reply, at: self.replies.append(reply), self.ends.append, PipeWriter(self))

    def kill(self) -> None:
        self.kills += 1
        self.theirs.close()

    terminate = kill

    def reap(self, timeout: float) -> bool:
        return True

    def describe_end(self) -> str:
        return "it is over"

    def last_output(self) -> str:
        return ""

    def write(self, data: bytes) -> None:
        os.write(self.theirs.fileno(), data)


def framed(reply: Any) -> bytes:
    data = encode(reply)
    return struct.pack("!i", len(data)) + data


async def settled() -> None:
    """Let the loop go round some times."""
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(child: Child) -> None:
    async with asyncio.timeout(10):
        while not child.ends:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a thread tells


async def test_a_reply_in_pieces_is_taken_when_it_is_whole_and_several_at_once_one_by_one() -> None:
    child = Child()
    one, two, three = [1, "result", list(range(50))], [2, "pong"], [3, "result", b"x" * 1000]
    data = framed(one) + framed(two) + framed(three)
    for cut in (1, 3, 4, 5, 20):
        child.write(data[:cut])
        await settled()
        assert child.replies == []
        data = data[cut:]
    child.write(data)
    await settled()
    assert child.replies == [one, two, three]
    child.theirs.close()
    await ended(child)
    assert child.ends == ["it is over"]


async def test_a_reply_larger_than_one_read_arrives_as_the_connections_of_python_send_it() -> None:
    child = Child()
    large = [4, "result", b"y" * 3_000_000]
    sending = asyncio.to_thread(child.theirs.send_bytes, encode(large))
    await sending
    async with asyncio.timeout(10):
        while not child.replies:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert child.replies == [large]
    small = encode([5, "pong"])
    child.write(struct.pack("!iQ", -1, len(small))[:9])
    await settled()
    child.write(struct.pack("!iQ", -1, len(small))[9:] + small)  # the form for 2 GiB and more
    await settled()
    assert child.replies == [large, [5, "pong"]]
    child.theirs.close()
    await ended(child)


@pytest.mark.parametrize("data", [struct.pack("!i", 3) + b"\xff\xff\xff", struct.pack("!i", -7)])
async def test_what_cannot_be_read_ends_the_host_with_the_reason(data: bytes) -> None:
    child = Child()
    child.write(data)
    await ended(child)
    assert child.kills == 1
    assert child.replies == []
    assert child.ends[0].startswith("its reply cannot be read (")
    assert child.ends[0].endswith("it is over")
