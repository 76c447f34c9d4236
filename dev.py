#!/usr/bin/env python3
"""Set up this checkout and run what is in it, with nothing but Python.

    python3 dev.py demo ...            any command of tandem: demo, play, join, serve, export, verify, ...
    python3 dev.py test [PYTEST ARGS]  ruff, mypy, then the tests (with arguments: those that they name);
                                       --no-checks as the first argument leaves ruff and mypy out
    python3 dev.py bench NAME [ARGS]   run benchmarks/NAME.py; without a name, list them
    python3 dev.py setup               only set up

The first use makes the virtual environment .venv (or the folder named by TANDEM_VENV) and installs what
requirements.lock says; later uses do it again only when the lock, the Python or the folder changed. pip's own settings
hold: PIP_INDEX_URL, PIP_NO_INDEX, PIP_FIND_LINKS and the rest.

The lock holds exact versions for Linux, Windows and macOS and every Python from 3.11 on, without hashes, so that a lab
may use a folder of wheels that it built itself. Its first lines say how to make it again after pyproject.toml changed.

This file keeps to Python 3.8, so that an old Python can say what is missing. It is read on every start: what only a
set-up needs is imported there.
"""

from __future__ import annotations

import os
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
LOCK = os.path.join(ROOT, "requirements.lock")
WINDOWS = os.name == "nt"

OLDEST, NEWEST = (3, 11), (3, 14)
"""Every locked package has wheels for these (for macOS from 14 on); one that only some tests need may be left out where
it has none. A newer Python is only taken if nothing else is."""

NEEDED_MB = 1200
"""Free space for a set-up: 762 MB installed on Linux (measured), and what pip unpacks on the way."""

SETUP_LOCK, STAMP, PIP_LOG = "tandem-setup.lock", "tandem-stamp.txt", "tandem-pip.log"
"""Our files in the environment's folder. The stamp is written last and stands for a finished set-up."""

ENTRY = ("-P", "-m", "p2pclient.cli")
"""How the tandem command starts: -P keeps the user's folder, and any package in it, off the import path."""

CHECKS = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("mypy", ("-m", "mypy")),
    ("mypy dev.py", ("-m", "mypy", "dev.py")),
)

GET_PYTHON = """\
To get one:
  Windows         winget install Python.Python.3.12   (or the installer from https://www.python.org/downloads)
  macOS           brew install python@3.12            (or the installer from https://www.python.org/downloads)
  Debian, Ubuntu  sudo apt install python3-venv       (or python3.12-venv, python3.11-venv: what the release has)
  Fedora          sudo dnf install python3.12
  no admin rights install uv (https://docs.astral.sh/uv), then: uv python install 3.12
Then run this again; it finds the new Python."""

OFFLINE = """\
Without Internet: on a machine of the same kind, with the same Python, that has it, run
  python3 -m pip download -r requirements.lock -d wheels
copy the folder here, set PIP_NO_INDEX=1 and PIP_FIND_LINKS to the folder's full path, and run this again."""


class SetUpError(Exception):
    """Set-up cannot go on. The message says what is wrong and what to do."""


def say(text: str) -> None:
    """Print progress to stderr: stdout belongs to the command, whose output may be JSON."""
    print(text, file=sys.stderr, flush=True)


def environment_folder() -> str:
    """Return the absolute path of the virtual environment."""
    return os.path.abspath(os.environ.get("TANDEM_VENV") or os.path.join(ROOT, ".venv"))


def environment_python(folder: str) -> str:
    """Return the path of the environment's interpreter, whether it exists or not."""
    return os.path.join(folder, "Scripts", "python.exe") if WINDOWS else os.path.join(folder, "bin", "python")


def read_bytes(path: str) -> bytes:
    """Return what the file holds; nothing if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def read_stamp(folder: str) -> list[str]:
    """Return the lines of the stamp; none if the set-up was never finished."""
    return read_bytes(os.path.join(folder, STAMP)).decode("utf-8", "replace").splitlines()


def describe_environment(folder: str) -> list[str]:
    """Return what the stamp must say: the hash of the lock first, then the Python and the places.

    The interpreter is named with links followed: when the system replaces the Python that ``python3`` is, what was
    installed for the old one is of no use. Scripts in the environment hold its path, so a moved one is made anew.
    """
    from hashlib import sha256

    config = read_bytes(os.path.join(folder, "pyvenv.cfg")).decode("utf-8", "replace").splitlines()
    python = environment_python(folder)
    return [
        "lock " + sha256(read_bytes(LOCK).replace(b"\r\n", b"\n")).hexdigest(),
        *(line for line in config if line.startswith("version")),
        f"python {os.path.realpath(python)}, there: {os.path.exists(python)}",
        f"environment {folder} of {ROOT}",
    ]


def is_ready(folder: str) -> bool:
    """Return whether the environment is finished and up to date. Runs on every start, so it must be quick."""
    return os.path.exists(environment_python(folder)) and read_stamp(folder) == describe_environment(folder)


def list_candidates() -> list[list[str]]:
    """Return the commands that may start a Python that is new enough, best first: the one that runs this."""
    from shutil import which

    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    paths = [which(name) for name in (*names, "python3", "python")]
    launched = [["py", "-" + name[6:]] for name in names] if WINDOWS and which("py") else []
    own = getattr(sys, "_base_executable", None) or sys.executable  # not the environment, which may be about to go
    return [[path] for path in (own, *paths) if path] + launched


def probe_python(command: list[str]) -> tuple[tuple[int, int], bool, str] | None:
    """Return ``(version, usable, path)`` of a Python, or None if it does not start.

    Usable means CPython with 64 bits: nothing else has wheels for all of the lock.
    """
    import subprocess

    code = (
        "import sys; print(sys.version_info[0], sys.version_info[1],"
        " int(sys.maxsize > 2**32 and sys.implementation.name == 'cpython'), sys.executable)"
    )
    try:
        answer = subprocess.run([*command, "-I", "-c", code], stdout=-1, stderr=-3, stdin=-3, timeout=30, check=True)
        major, minor, usable, path = os.fsdecode(answer.stdout).strip().split(" ", 3)
    except (OSError, ValueError, subprocess.SubprocessError):  # a shim, a link to the store, a broken installation
        return None
    return (int(major), int(minor)), usable == "1", path


def find_python() -> list[str]:
    """Return the command of the best Python here. Raises :class:`SetUpError` when there is none."""
    newer: list[list[str]] = []
    seen: list[str] = []
    for command in list_candidates():
        found = probe_python(command)
        if found is None:
            continue
        version, usable, path = found
        seen.append("{}.{}{} ({})".format(*version, "" if usable else ", 32-bit or not CPython", path))
        if usable and OLDEST <= version <= NEWEST:
            return command
        if usable and version > NEWEST:
            newer.append(command)
    if newer:
        return newer[0]
    message = "Tandem needs Python {}.{} or newer, 64-bit. Found here: {}.\n{}"
    raise SetUpError(message.format(*OLDEST, "; ".join(dict.fromkeys(seen)) or "none", GET_PYTHON))


def set_up() -> str:
    """Make the environment ready if it is not; return the path of its Python. Raises :class:`SetUpError`."""
    folder = environment_folder()
    if is_ready(folder):
        return environment_python(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        refuse_foreign_folder(folder)
        with open(os.path.join(folder, SETUP_LOCK), "a+b") as lock:
            wait_for_lock(lock.fileno())
            if not is_ready(folder):  # else another dev.py has done it while we waited
                make_environment(folder)
    except OSError as error:
        raise SetUpError(explain_os_error(error, folder)) from error
    return environment_python(folder)


def refuse_foreign_folder(folder: str) -> None:
    """Raise :class:`SetUpError` if the folder holds somebody's files: setting up empties it."""
    names = os.listdir(folder)
    if names and SETUP_LOCK not in names and "pyvenv.cfg" not in names:
        raise SetUpError(f"{folder} is in use for something else. Set TANDEM_VENV to a new or an empty folder.")


def wait_for_lock(descriptor: int) -> None:
    """Wait until no other dev.py sets up; others wait until the file is closed or this process ends."""
    import time

    if not try_lock(descriptor):
        say("Another dev.py is setting up here; waiting until it is done ...")
        while not try_lock(descriptor):
            time.sleep(0.2)


def try_lock(descriptor: int) -> bool:
    """Lock the file for this process; return False if another has it. However a process ends, its lock ends too."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what flock raises, and what Windows does
        return False
    return True


def make_environment(folder: str) -> None:
    """Create or update the environment and install the lock into it. The stamp goes first and comes back last."""
    import time

    began = time.monotonic()
    stamp = read_stamp(folder)
    if stamp:
        os.remove(os.path.join(folder, STAMP))
    if stamp[1:] == describe_environment(folder)[1:]:
        say("requirements.lock has changed: updating ...")
    else:
        python = find_python()
        say(f"Setting up in {folder} (the first time: about a minute) ...")
        create_environment(folder, python)
    install_lock(folder)
    link_checkout(folder)
    with open(os.path.join(folder, STAMP), "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(describe_environment(folder)) + "\n")
    say(f"Ready after {time.monotonic() - began:.0f} s.")


def create_environment(folder: str, python: list[str]) -> None:
    """Make an empty environment. What an earlier try has left is removed, but for the lock file, which we hold."""
    import shutil
    import subprocess

    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.name != SETUP_LOCK:
            os.remove(entry.path)
    free = shutil.disk_usage(folder).free // 2**20
    if free < NEEDED_MB:
        raise SetUpError(
            f"Not enough disk space: {NEEDED_MB} MB are needed, {free} are free at {folder}. Free some, or set "
            "TANDEM_VENV to a folder on another disk."
        )
    made = subprocess.run([*python, "-I", "-m", "venv", folder], stdout=-1, stderr=-2, stdin=-3)
    if made.returncode:
        raise SetUpError(explain_venv_failure(os.fsdecode(made.stdout), python, folder))


def install_lock(folder: str) -> None:
    """Install what the lock says with pip, whose words go to a file. Raises :class:`SetUpError` if it fails."""
    import subprocess

    # A --user or --target in pip's configuration is about other environments than this.
    settings = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX")}
    settings.update(PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    command = [environment_python(folder), "-I", "-u", "-m", "pip", "install", "--progress-bar", "off", "-r", LOCK]
    collected = 0
    with open(os.path.join(folder, PIP_LOG), "w+b") as log, subprocess.Popen(
        command, cwd=ROOT, env=settings, stdin=-3, stdout=-1, stderr=-2
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            log.write(line)
            collected += line.startswith((b"Collecting ", b"Processing "))  # from an index; from a folder
            show_progress(f"{collected} packages found" if b"Installing " not in line else "installing them")
        show_progress("")
        if pip.wait():
            log.seek(0)
            raise SetUpError(explain_pip_failure(os.fsdecode(log.read()), folder))


def show_progress(text: str) -> None:
    """Write over the current line of a terminal; elsewhere do nothing."""
    if sys.stderr.isatty():
        print(f"\r  {text:<30}\r", end="", file=sys.stderr, flush=True)


def link_checkout(folder: str) -> None:
    """Put the checkout on the environment's import path.

    The line is relative where it can be, so plain ASCII whatever the folders are called: Python 3.11 reads .pth files
    in the system's encoding.
    """
    import subprocess

    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([environment_python(folder), "-I", "-c", code], stdout=-1, stdin=-3, check=True)
    packages = os.fsdecode(answer.stdout.strip())
    try:
        line = os.path.relpath(ROOT, packages)
    except ValueError:  # another drive of Windows
        line = ROOT
    with open(os.path.join(packages, "tandem-checkout.pth"), "w", newline="\n") as file:
        file.write(line + "\n")


def explain_os_error(error: OSError, folder: str) -> str:
    """Return what to do about a failure of the disk or of the system while setting up."""
    import errno

    if error.errno == errno.ENOSPC:
        return f"The disk with {folder} is full. Free {NEEDED_MB} MB, or set TANDEM_VENV to a folder elsewhere."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"Cannot write to {error.filename or folder}: {error.strerror}. If a program still runs from there, close "
            "it. Else copy the checkout to a folder that you may write to, or set TANDEM_VENV to such a folder."
        )
    return f"Setting up in {folder} failed: {error}. Remove that folder and run this again."


def explain_disk_trouble(output: str, folder: str) -> str:
    """Return what to do if a tool's output tells of a full disk or a missing permission, else nothing."""
    import errno

    if "No space left on device" in output or "not enough space on the disk" in output:
        return explain_os_error(OSError(errno.ENOSPC, ""), folder)
    if any(words in output for words in ("Permission denied", "Read-only file system", "Access is denied")):
        return explain_os_error(OSError(errno.EACCES, output.strip().splitlines()[-1]), folder)
    return ""


def explain_venv_failure(output: str, python: list[str], folder: str) -> str:
    """Return what to do about a Python that could not make a virtual environment."""
    if "ensurepip" in output or "No module named venv" in output:
        found = probe_python(python)
        package = "python{}.{}-venv".format(*found[0]) if found else "python3-venv"
        return (
            f"{python[0]} comes without venv or pip. On Debian and Ubuntu: sudo apt install {package}. Elsewhere use a "
            "Python from https://www.python.org/downloads, or from uv: uv python install 3.12."
        )
    return explain_disk_trouble(output, folder) or f"{' '.join(python)} -m venv failed:\n{output.strip()[-2000:]}"


def explain_pip_failure(output: str, folder: str) -> str:
    """Return what to do about a failed installation, from what pip said."""
    log = "All that pip said: " + os.path.join(folder, PIP_LOG)
    known = explain_disk_trouble(output, folder)
    if known:
        return f"{known}\n{log}"
    network = ("Connection", "Retrying (", "Timeout", "SSLError", "ssl certificate", "ProxyError")
    nothing_at_all = "(from versions: none)" in output and not os.environ.get("PIP_NO_INDEX")
    if nothing_at_all or any(word in output for word in network):
        return (
            "pip cannot reach the package index. Check the network; behind a proxy set HTTPS_PROXY; for an index of "
            f"your own set PIP_INDEX_URL.\n{OFFLINE}\n{log}"
        )
    missing = [line.strip() for line in output.splitlines() if "No matching distribution found" in line]
    if missing:
        return (
            f"The package index or the wheel folder does not have all that is needed:\n  {missing[-1]}\n"
            f"A wheel folder must be for this system and this Python.\n{OFFLINE}\n{log}"
        )
    last = "\n".join("  " + line for line in output.strip().splitlines()[-12:])
    return f"pip could not install requirements.lock:\n{last}\n{log}"


def run(command: list[str]) -> int:
    """Become the command, so that signals and the exit code are its own.

    On Windows exec would return to the shell while the command still runs: run it, and return its exit code. Ctrl-C
    reaches it there through the console; we only must not die of it first.
    """
    if not WINDOWS:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(command[0], command)
    import signal
    import subprocess

    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.Popen(command).wait()


def plan_tests(arguments: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the runs of pytest, each ``(title, arguments)``.

    All tests: first as many files at a time as there are cores, then, one by one, the tests marked ``alone``, which
    measure times and need the machine for themselves. With arguments: one plain run of just what was asked for.
    """
    base = ("-m", "pytest")
    if arguments:
        return [("pytest", (*base, *arguments))]
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    workers = ("-n", str(min(4, cores)), "--dist", "loadfile", "--no-loadscope-reorder")
    together = workers if cores > 1 else ()
    return [("pytest", (*base, *together, "-m", "not alone")), ("pytest, alone", (*base, "-m", "alone"))]


def run_tests(python: str, arguments: list[str]) -> int:
    """Run the checks and the tests, print a summary, and return the exit code: 0 only if all passed."""
    import signal
    import time

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    checked = arguments[:1] != ["--no-checks"]
    steps = [*CHECKS, *plan_tests(arguments)] if checked else plan_tests(arguments[1:])
    results: list[tuple[str, int, float]] = []
    for title, command in steps:
        print(f"--- {title}", flush=True)
        began = time.monotonic()
        code = run_step([python, "-P", *command])
        nothing = title == "pytest, alone" and code == 5  # pytest's code for: no test has this mark
        results.append((title, 0 if nothing else code, time.monotonic() - began))
        if code == 130:
            break
    return summarize(results, len(steps))


def run_step(command: list[str]) -> int:
    """Run the command; return its exit code. Ctrl-C ends it in its own way: wait for that, and return 130."""
    import subprocess

    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            return 130
        except SystemExit:  # we were terminated, and nobody else would tell it
            process.terminate()
            raise


def summarize(results: list[tuple[str, int, float]], planned: int) -> int:
    """Print the closing summary; return the exit code of all."""
    print("\n--- summary")
    for title, code, seconds in results:
        print("{:<7}{:<14}{:7.1f} s".format("FAILED" if code else "ok", title, seconds))
    failed = sum(code != 0 for _, code, _ in results)
    if len(results) < planned or any(code == 130 for _, code, _ in results):
        print("interrupted")
        return 130
    print(f"{failed} of {planned} failed" if failed else "all passed", flush=True)
    return int(failed > 0)


def list_benchmarks() -> dict[str, str]:
    """Return the benchmarks by name, each with the first line of its docstring."""
    import ast
    from glob import escape, glob

    found = {}
    for path in sorted(glob(os.path.join(escape(ROOT), "benchmarks", "[!_]*.py"))):
        found[os.path.basename(path)[:-3]] = (ast.get_docstring(ast.parse(read_bytes(path))) or "").split("\n")[0]
    return found


def show_help() -> int:
    """Print what dev.py does, then, once it is set up, the commands of tandem."""
    print((__doc__ or "").split("\n\nThe lock holds")[0], flush=True)
    folder = environment_folder()
    if not is_ready(folder):
        print("\nIt is not set up yet: the first command does it.")
        return 0
    print(flush=True)
    return run([environment_python(folder), *ENTRY, "--help"])


def main(arguments: list[str]) -> int:
    """Do what the arguments say; return the exit code: 2 when a name is unknown or the set-up failed."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if verb in ("--help", "-h", "help"):
        return show_help()
    if verb == "bench":
        benchmarks = list_benchmarks()
        if not rest or rest[0] not in benchmarks:
            print("usage: dev.py bench NAME [--json] ...   where NAME is one of")
            print("\n".join(f"  {name:<14} {text}" for name, text in benchmarks.items()) or "  (there is none yet)")
            return 0 if rest in ([], ["--help"], ["-h"]) else 2
    python = set_up()
    if verb == "setup":
        return 0
    if verb == "test":
        return run_tests(python, rest)
    if verb == "bench":
        return run([python, "-P", os.path.join(ROOT, "benchmarks", rest[0] + ".py"), *rest[1:]])
    return run([python, *ENTRY, *arguments])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetUpError as error:
        say(f"dev.py: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
