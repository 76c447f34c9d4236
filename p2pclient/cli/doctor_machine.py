"""Checks of this machine itself: program, clock, timers, disk, display."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import psutil

from p2pclient import __version__
from p2pclient.app.display_facts import DisplayFacts, read_display
from p2pclient.cli.doctor_findings import Finding, good, note, problem, warning
from p2pclient.runtime.loop import fine_timers

NEEDED = (
    *("aiohttp", "aioice", "aiortc", "cryptography", "msgspec", "numpy", "platformdirs", "psutil", "pyarrow"),
    *("pygame-ce", "python-engineio", "python-socketio", "rich", "starlette", "uvicorn", "websockets"),
)
OPTIONAL = {"zeroconf": "a server is not found by mDNS, only in the other ways"}
ENVIRONMENTS = ("cogrid", "gymnasium", "pettingzoo")
NEWEST_TESTED = (3, 14)

LATE_MS, VERY_LATE_MS = 5.0, 30.0
_NAPS, _NAP_S = 60, 0.005
LEAST_FREE_MB, ENOUGH_FREE_MB = 200, 2000
SLOW_WRITE_MBS = 5.0
_WRITE_MB = 16


def check_machine(out: Path) -> list[Finding]:
    """Return what is to be said of this machine; takes a second or two. Writes into ``out`` for a moment."""
    versions = {name: version_of(name) for name in (*NEEDED, *OPTIONAL, *ENVIRONMENTS)}
    late = measure_lateness()
    return [
        *check_python(sys.version_info[:3], struct.calcsize("P") * 8),
        *check_versions(versions),
        *check_clock(time.get_clock_info("perf_counter").resolution, time.time()),
        *check_lateness(late),
        check_memory(psutil.virtual_memory().available >> 20),
        *check_disk(out),
        check_display(read_display()),
    ]


def version_of(name: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_python(version: Sequence[int], bits: int) -> list[Finding]:
    text = f"Python {'.'.join(map(str, version))}, {bits} bit, on {platform.system()} {platform.machine()}"
    if bits != 64:
        return [problem("program", text, "install a Python of 64 bits; the packages have wheels for nothing else")]
    if tuple(version[:2]) > NEWEST_TESTED:
        newest = ".".join(map(str, NEWEST_TESTED))
        return [warning("program", f"{text}, newer than what is tested", f"if something fails, take Python {newest}")]
    return [good("program", f"Tandem {__version__}, {text}")]


def check_versions(versions: Mapping[str, str | None]) -> list[Finding]:
    found = []
    missing = [name for name in NEEDED if versions.get(name) is None]
    if missing:
        found.append(problem("packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}"))
    else:
        told = ("aiortc", "numpy", "pygame-ce", "python-socketio")
        found.append(good("packages", f"all there: {', '.join(f'{each} {versions[each]}' for each in told)}, ..."))
    for name, effect in OPTIONAL.items():
        if versions.get(name) is None:
            found.append(warning("packages", f"{name} is missing: {effect}", f"pip install {name}"))
    there = [f"{each} {versions[each]}" for each in ENVIRONMENTS if versions.get(each) is not None]
    away = [each for each in ENVIRONMENTS if versions.get(each) is None]
    if away:
        text = f"not installed here: {', '.join(away)}"
        fix = f"pip install {' '.join(away)}, or give the environment a Python of its own with tandem install"
        found.append(warning("environment", text, fix))
    else:
        found.append(good("environment", ", ".join(there)))
    return found


def check_clock(resolution: float, epoch: float) -> list[Finding]:
    found = []
    if resolution > 1e-4:
        fix = "let a newer system or Python run it; times of frames would be as coarse"
        found.append(warning("clock", f"the clock moves in steps of {resolution * 1e3:.2g} ms", fix))
    else:
        found.append(good("clock", f"resolution {resolution * 1e9:.0f} ns"))
    if epoch < 1_700_000_000:
        fix = "set the date and time of this computer"
        found.append(warning("clock", f"it is {time.strftime('%Y-%m-%d', time.gmtime(epoch))} here", fix))
    return found


def measure_lateness() -> list[float]:
    """Return by how many milliseconds short sleeps were late, sorted."""
    late = []
    with fine_timers():
        for _ in range(_NAPS):
            started = time.perf_counter()
            time.sleep(_NAP_S)
            late.append((time.perf_counter() - started - _NAP_S) * 1e3)
    return sorted(late)


def check_lateness(late: Sequence[float]) -> list[Finding]:
    """``late`` is sorted, in milliseconds."""
    middle, high = late[len(late) // 2], late[-max(1, len(late) // 20)]
    text = f"timers are {middle:.1f} ms late in the middle, {high:.1f} ms at the 95th percentile"
    if high <= LATE_MS:
        return [good("timers", text)]
    fix = "end other programs, plug the power in, and switch off power saving"
    return [problem("timers", text, fix) if high > VERY_LATE_MS else warning("timers", text, fix)]


def check_memory(available_mb: int) -> Finding:
    text = f"{available_mb} MB free, {os.cpu_count()} processors"
    return good("memory", text) if available_mb >= 700 else warning("memory", text, "end other programs")


def check_disk(out: Path) -> list[Finding]:
    """Check the folder for recordings, or where it will be made."""
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        free_mb = shutil.disk_usage(folder).free >> 20
        speed = _write_speed(folder)
    except OSError as error:
        return [problem("disk", f"nothing can be written in {folder}: {error}", "choose another folder with --out")]
    text = f"{free_mb} MB free in {folder}, written at {speed:.0f} MB/s"
    if free_mb < LEAST_FREE_MB:
        return [problem("disk", text, "make room, or choose another folder with --out")]
    if free_mb < ENOUGH_FREE_MB:
        return [warning("disk", text, "make room before a day of recordings, or choose another folder with --out")]
    if speed < SLOW_WRITE_MBS:
        return [warning("disk", text, "record onto a local disk: choose it with --out")]
    return [good("disk", text)]


def _write_speed(folder: Path) -> float:
    """Return MB/s down to the disk; the file is gone afterwards."""
    block = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".tandem-doctor-") as file:
        started = time.perf_counter()
        for _ in range(_WRITE_MB):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return _WRITE_MB / max(1e-6, time.perf_counter() - started)


def check_display(facts: DisplayFacts) -> Finding:
    if not facts.driver:
        fix = "log in at the screen itself; without one, only bots run here (--headless)"
        return warning("display", f"no display: {facts.error}", fix)
    rates = facts.rates_hz or (0,) * len(facts.sizes)
    told = [f"{w}x{h}" + (f" at {hz} Hz" if hz else "") for (w, h), hz in zip(facts.sizes, rates, strict=False)]
    text = f"{', '.join(told) or 'of unknown size'} ({facts.driver})"
    if any(width < 800 or height < 600 for width, height in facts.sizes):
        return warning("display", text, "choose a larger resolution: 800x600 at least")
    if any(0 < hz < 50 for hz in facts.rates_hz):
        return warning("display", text, "choose a refresh rate of 60 Hz; over some cables a large picture is slow")
    if facts.driver in ("dummy", "offscreen"):
        return note("display", f"{text}: nobody can see it")
    return good("display", text)
