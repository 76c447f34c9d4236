"""Pictures through memory that is shared with the host: whole, never written over while held, and nothing left over."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from envhost_processes import ENV, holdings

from envs.registry import create
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.host_views import ViewWriter, open_views, rendering
from p2pclient.envhost.process import HostSpec
from p2pclient.envhost.values import CannotSendError, MalformedValueError
from p2pclient.envhost.views import SLOTS, ViewMemory
from p2pclient.envhost.views_memory import SharedMemory

BYTES = 1 << 16
ROOT = Path(__file__).resolve().parent.parent
RENDER: list[list[Any]] = [["render"]]
NAMES = ["render"]
RNG = np.random.default_rng(1)


def picture(height: int = 20, width: int = 30) -> Any:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


class Pair:
    """Both ends of the memory in one process, as if the host had inherited it."""

    def __init__(self, slots: int = 2) -> None:
        shared = SharedMemory(slots * BYTES)
        self.client = ViewMemory(shared, slots, BYTES)
        writer = open_views(self.client.place)  # closes the descriptor, as the host does with its own
        assert writer is not None
        self.host = writer

    def bring(self, pixels: Any) -> Any:
        """Render once; returns the pixels that the client gets."""
        commands, lent = self.client.lend(RENDER, NAMES)
        act = rendering(lambda: {"frame": 0, "pixels": pixels}, self.host)
        results = [act(*command[1:]) for command in commands]
        self.client.take_in(results, lent)
        return results[0]["pixels"]


def is_shared(pixels: Any) -> bool:
    """True if the picture lies in a slot: those from the pipe are the client's own, to do with as it likes."""
    return not pixels.flags.writeable


# -- slots ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_a_picture_comes_whole_however_it_lies_in_memory(turned: bool) -> None:
    pair = Pair()
    pixels = picture().transpose(1, 0, 2) if turned else picture()
    assert pixels.flags.c_contiguous is not turned
    brought = pair.bring(pixels)
    assert np.array_equal(brought, pixels)
    assert brought.flags.c_contiguous
    assert is_shared(brought)
    with pytest.raises(ValueError, match="read-only"):
        brought[0] = 0


def test_a_slot_is_free_again_when_the_picture_and_all_that_is_made_of_it_is_gone() -> None:
    pair = Pair()
    brought: Any = pair.bring(picture())
    assert pair.client.free == 1
    for make in (memoryview, lambda it: it[3:], lambda it: it.reshape(-1), lambda it: np.asarray(it).view(np.int8)):
        brought = make(brought) if not isinstance(brought, memoryview) else make(np.asarray(brought))
        gc.collect()
        assert pair.client.free == 1
    del brought
    gc.collect()
    assert pair.client.free == 2


def test_a_picture_that_is_held_is_never_written_over() -> None:
    pair = Pair(slots=3)
    first = picture()
    held, kept = pair.bring(first), first.copy()
    for _ in range(20):
        drawn = picture()
        assert np.array_equal(pair.bring(drawn), drawn)
        assert np.array_equal(held, kept)
    assert is_shared(held)


def test_without_a_free_slot_and_where_it_does_not_fit_a_picture_goes_the_other_way() -> None:
    pair = Pair(slots=2)
    large = picture(200, 200)
    assert large.nbytes > BYTES
    assert pair.bring(large) is large
    for odd in (None, picture().astype(np.int32), picture()[:, :, :2], picture()[:0], "text"):
        assert pair.bring(odd) is odd
    assert pair.client.free == 2
    held = [pair.bring(picture()) for _ in range(2)]
    third = picture()
    assert pair.bring(third) is third
    assert all(map(is_shared, held))


def test_a_picture_that_fills_its_slot_leaves_the_next_one_alone() -> None:
    pair = Pair(slots=2)
    other_pixels, whole = picture(), picture(1, BYTES // 3)
    first = pair.bring(whole)
    second = pair.bring(other_pixels)
    assert np.array_equal(first, whole)
    assert np.array_equal(second, other_pixels)
    del second
    again = pair.bring(whole[:, ::-1])
    assert np.array_equal(first, whole)
    assert np.array_equal(again, whole[:, ::-1])


def test_only_a_plain_render_is_lent_a_slot() -> None:
    pair = Pair(slots=2)
    batch: list[list[Any]] = [["step", 0, [b""]], ["render"], ["save", 1], ["render"], ["render"]]
    commands, lent = pair.client.lend(batch, [command[0] for command in batch])
    assert batch[1] == ["render"]
    assert [len(command) for command in commands] == [3, 2, 2, 2, 1]
    assert sorted(lent) == [1, 3]
    assert sorted(lent.values()) == [0, 1]
    pair.client.give_back(lent)
    assert pair.client.free == 2
    untouched: list[list[Any]] = [["step", 0, [b""]]]
    assert pair.client.lend(untouched, ["step"]) == (untouched, {})


@pytest.mark.parametrize(
    "answer",
    [
        {"slot": 1, "shape": [2, 2, 3]},
        {"slot": 0, "shape": [2, 2, 4]},
        {"slot": 0, "shape": [2, 2]},
        {"slot": 0, "shape": [-2, 2, 3]},
        {"slot": 0, "shape": [0, 2, 3]},
        {"slot": 0, "shape": [BYTES, BYTES, 3]},
        {"slot": 0, "shape": [1, BYTES // 3 + 1, 3]},
        {"slot": 0, "shape": [1 << 40, 1 << 40, 3]},
        {"slot": 0, "shape": [2.0, 2, 3]},
        {"slot": 0, "shape": "223"},
        {"slot": True, "shape": None},
        {"shape": [2, 2, 3]},
        {},
    ],
)
def test_an_answer_that_names_what_was_not_asked_for_is_not_believed(answer: dict[str, Any]) -> None:
    pair = Pair()
    _, lent = pair.client.lend(RENDER, NAMES)
    assert lent == {0: 0}
    with pytest.raises(MalformedValueError, match="was asked for"):
        pair.client.take_in([{"pixels": answer}], lent)


@pytest.mark.parametrize("results", [[], [None], [7], [{}], [{"pixels": None}]])
def test_an_answer_without_a_picture_frees_its_slot(results: list[Any]) -> None:
    pair = Pair()
    _, lent = pair.client.lend(RENDER, NAMES)
    pair.client.take_in(results, lent)
    assert pair.client.free == 2


def test_without_memory_nothing_is_lent() -> None:
    client = ViewMemory(None)
    assert client.place is None
    assert open_views(client.place) is None
    assert client.lend(RENDER, NAMES) == (RENDER, {})
    pixels = picture()
    assert rendering(lambda: {"pixels": pixels}, None)(3)["pixels"] is pixels


# -- memory -----------------------------------------------------------------------------------------------------------


if sys.platform != "win32":
    from p2pclient.envhost.views_memory import open_anonymous, open_temporary, open_unlinked, ways

    @pytest.mark.parametrize("number", range(len(list(ways()))))
    def test_every_kind_of_memory_is_seen_from_both_sides_and_has_no_name(number: int) -> None:
        before = holdings()
        make = list(ways())[number]
        try:
            descriptor = make(2 * BYTES)
        except (OSError, AttributeError, ImportError) as error:
            pytest.skip(f"not on this machine: {error}")
        check_memory(descriptor)
        assert holdings() - before == set()

    def test_memory_that_lost_its_name_is_seen_from_both_sides() -> None:
        check_memory(open_unlinked(2 * BYTES))

    def test_temporary_files_are_taken_where_there_is_nothing_else(tmp_path: Path) -> None:
        check_memory(open_temporary(2 * BYTES, str(tmp_path)))
        assert list(tmp_path.iterdir()) == []

    def check_memory(descriptor: int) -> None:
        import mmap

        if sys.platform == "linux":
            assert os.fstat(descriptor).st_nlink == 0
        ours = mmap.mmap(descriptor, 2 * BYTES)
        theirs = mmap.mmap(descriptor, 2 * BYTES)
        os.close(descriptor)
        ViewWriter(theirs, 2, BYTES).put(1, np.full((2, 2, 3), 7, np.uint8))
        assert bytes(ours[BYTES : BYTES + 12]) == b"\7" * 12

    @pytest.mark.skipif(sys.platform != "linux", reason="sealed files are Linux's")
    def test_the_host_cannot_take_the_memory_away() -> None:
        descriptor = open_anonymous(BYTES)
        try:
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    _NO_MEMORY = """
import logging, resource
from p2pclient.envhost.views import make_shared_memory
logging.basicConfig()
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**24, size + 2**24))
print(make_shared_memory())
"""

    @pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep a process to such a limit")
    def test_where_no_memory_can_be_shared_a_line_in_the_log_says_so() -> None:
        done = subprocess.run(
            [sys.executable, "-c", _NO_MEMORY], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "None\n"
        assert "pictures go through the pipe" in done.stderr

    _FORKED = """
import os
import numpy as np
from p2pclient.envhost.host_views import open_views
from p2pclient.envhost.views import ViewMemory
from p2pclient.envhost.views_memory import SharedMemory
client = ViewMemory(SharedMemory(2 * 65536), 2, 65536)
writer = open_views(client.place)
commands, lent = client.lend([["render"]], ["render"])
child = os.fork()
if not child:
    writer.put(commands[0][1], np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    os._exit(0)
os.waitpid(child, 0)
results = [{"pixels": {"slot": lent[0], "shape": [4, 5, 3]}}]
client.take_in(results, lent)
print(int(results[0]["pixels"].astype(int).sum()))
"""

    def test_a_process_that_the_host_forked_may_write_the_picture() -> None:
        done = subprocess.run(
            [sys.executable, "-c", _FORKED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == f"{sum(range(60))}\n", done.stderr

    def test_a_descriptor_of_something_else_is_found_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        place = ViewMemory(SharedMemory(2 * BYTES), 2, BYTES).place
        assert place is not None
        os.close(place["descriptor"])
        assert open_views(place) is None
        path = tmp_path / "other"
        path.write_bytes(bytes(2 * BYTES + 100))
        other = os.open(path, os.O_RDWR)
        assert open_views({**place, "descriptor": other}) is None
        assert capsys.readouterr().out.count("go through the pipe") == 2


# -- hosts ------------------------------------------------------------------------------------------------------------


def expected_views(frames: int) -> list[Any]:
    """Return the pictures of a straight run of ``step_and_render``."""
    simulation = Simulation(create(ENV, {}))
    simulation.reset(0)
    views = []
    for frame in range(frames):
        simulation.step(frame, [b"\1", bytes([frame % 3])])
        views.append(simulation.render()["pixels"])
    return views


def step_and_render(frame: int) -> list[list[Any]]:
    return [["step", frame, [b"\1", bytes([frame % 3])]], ["render"]]


async def started(**options: Any) -> EnvHost:
    host = EnvHost(HostSpec(ENV, **options))
    await host.start()
    await host.ready()
    await host.submit([["reset", 0], ["save", 0]])
    return host


async def test_pictures_of_a_host_are_those_of_a_straight_run_whichever_way_they_come() -> None:
    host = await started()
    held = [(await host.submit(step_and_render(frame))).results[1]["pixels"] for frame in range(SLOTS + 3)]
    assert [is_shared(pixels) for pixels in held] == [True] * SLOTS + [False] * 3
    for pixels, expected in zip(held, expected_views(SLOTS + 3), strict=True):
        assert np.array_equal(pixels, expected)
    held.clear()
    await asyncio.sleep(0)
    again = [(await host.submit(RENDER)).results[0]["pixels"] for _ in range(SLOTS)]
    assert [is_shared(pixels) for pixels in again] == [True] * SLOTS
    await host.close()


async def test_batches_that_give_no_picture_use_up_no_slot() -> None:
    host = await started()
    for _ in range(SLOTS + 1):
        with pytest.raises(EnvHostError, match="no snapshot"):
            await host.submit([["render"], ["load", 99]])
        await host.submit([["load", 0]])
        with pytest.raises(CannotSendError):
            host.submit([["render"], ["step", object()]])
        waiting = [host.submit([["compute_hash"]]), host.submit(RENDER)]
        waiting[1].cancel()
        await waiting[0]
    views = [(await host.submit(RENDER)).results[0]["pixels"] for _ in range(SLOTS)]
    assert all(map(is_shared, views))
    await host.close()


async def test_a_picture_outlives_its_host_and_the_memory_goes_with_it() -> None:
    before = holdings()
    host = await started()
    view = (await host.submit(step_and_render(0))).results[1]["pixels"]
    host.kill("on purpose")
    with pytest.raises(EnvHostGone):
        await host.submit(RENDER)
    await host.close()
    assert is_shared(view)
    assert np.array_equal(view, expected_views(1)[0])
    assert len(holdings() - before) == (sys.platform != "win32")  # the memory, held by the picture
    del view
    assert holdings() - before == set()
    assert mappings() == 0


def mappings() -> int:
    """How often memory of a host's pictures is mapped here; 0 where that cannot be seen."""
    path = Path("/proc/self/maps")
    return path.read_text().count("tandem-views") if path.exists() else 0


async def test_many_hosts_in_a_row_leave_nothing_behind() -> None:
    before = holdings()
    held: Any = None
    for number in range(5):
        host = await started()
        if number == 0 and sys.platform == "linux":
            assert mappings() == 1  # else the count below would prove nothing
        views = [(await host.submit(step_and_render(frame))).results[1]["pixels"] for frame in range(6)]
        assert is_shared(views[0])
        if number % 2:
            host.kill("on purpose")
        await host.close()
        held, views = views[0], []
        del host
        assert len(holdings() - before) <= 1
    del held, views
    await asyncio.sleep(0)
    assert holdings() - before == set()
    assert mappings() == 0


_SHADED = """
import numpy as np
from envs.counter import CounterEnvironment

class Shaded(CounterEnvironment):
    def render(self):
        return np.full((4, 4, 3), SHADE, np.uint8)

def make():
    return Shaded({})
"""


async def test_code_that_is_loaded_afresh_draws_into_the_same_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = tmp_path / "tandem_shaded.py"
    code.write_text(_SHADED.replace("SHADE", "7"))
    host = EnvHost(HostSpec("tandem_shaded:make", local=True))
    await host.start()
    first = (await host.submit([["reset", 0], ["render"]])).results[1]["pixels"]
    code.write_text(_SHADED.replace("SHADE", "123"))
    assert (await host.reload())["reloaded"] != "unchanged"
    second = (await host.submit([["reset", 0], ["render"]])).results[1]["pixels"]
    assert (first.max(), second.max()) == (7, 123)
    assert is_shared(second)
    await host.close()


async def test_a_host_that_names_memory_it_was_not_lent_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lying = _SHADED.replace("np.full((4, 4, 3), SHADE, np.uint8)", '{"slot": 77, "shape": [4, 4, 3]}')
    (tmp_path / "tandem_lying.py").write_text(lying)
    spec = HostSpec("tandem_lying:make", local=True)
    host = EnvHost(spec)
    await host.start()
    await host.ready()
    drawn, later = host.submit([["reset", 0], ["render"]]), host.submit([["reset", 0]])
    for future in (drawn, later):
        with pytest.raises(EnvHostGone, match="cannot be used"):
            await future
    await host.close()
    with BlockingEnvHost(spec) as blocking, pytest.raises(EnvHostGone, match="cannot be used"):
        blocking.run([["reset", 0], ["render"]])


async def test_a_host_in_this_process_sends_them_like_everything_else() -> None:
    host = await started(inline=True)
    view = (await host.submit(step_and_render(0))).results[1]["pixels"]
    assert not is_shared(view)
    assert np.array_equal(view, expected_views(1)[0])
    await host.close()


def test_the_blocking_client_gets_them_the_same_way() -> None:
    before = holdings()
    with BlockingEnvHost(HostSpec(ENV)) as host:
        host.run([["reset", 0], ["save", 0]])
        with pytest.raises(EnvHostError):
            host.run([["render"], ["load", 99]])
        host.run([["load", 0]])
        held = [host.run(step_and_render(frame)).results[1]["pixels"] for frame in range(SLOTS + 1)]
    assert [is_shared(pixels) for pixels in held] == [True] * SLOTS + [False]
    for pixels, expected in zip(held, expected_views(SLOTS + 1), strict=True):
        assert np.array_equal(pixels, expected)
    del held, pixels
    assert holdings() - before == set()
