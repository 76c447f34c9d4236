from __future__ import annotations

import plistlib
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from p2pclient.cli import station
from p2pclient.cli.main import main, make_parser
from p2pclient.cli.station_keep import FIRST_WAIT_S, LONGEST_WAIT_S, STEADY_S, Restarts, keep
from p2pclient.common.errors import ConfigurationError
from p2pclient.settings import autostart
from p2pclient.settings.station import name_from_host, station_name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("lab-03.uni.example", "LAB-03"),
        ("LAB03", "LAB03"),
        ("Anna's MacBook Pro", "ANNA-S-MACBOOK-PRO"),
        ("___", "STATION"),
        ("", "STATION"),
        ("x" * 80, "X" * 32),
    ],
)
def test_first_name_is_the_computers(host: str, name: str, tmp_path: Path) -> None:
    assert name_from_host(host) == name
    assert station_name(None, host, tmp_path) == name


def test_name_is_kept_until_another_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    assert station_name("LAB03", "host", folder) == "LAB03"
    assert station_name(None, "another-host", folder) == "LAB03"
    assert station_name("LAB04", "host", folder) == "LAB04"
    assert station_name(None, "host", folder) == "LAB04"
    assert [each.name for each in folder.iterdir()] == ["station.txt"]


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "..", "x" * 33, "LAB\n"])
def test_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="station name"):
        station_name(name, "host", tmp_path)
    (tmp_path / "station.txt").write_bytes(b"\xffa b")
    with pytest.raises(ConfigurationError, match="station"):
        station_name(None, "host", tmp_path)


# -- at login ---------------------------------------------------------------------------------------------------------

WORDS = ["/opt/my python/bin/python", "-P", "station", "--room", 'Lab "2" $HOME `x` 100% \\', "--keep"]


def unescape_exec(line: str) -> list[str]:
    """Read an Exec line back as the specification says: first the string's escapes, then the quoting, then %%."""

    def unescaped(text: str) -> str:
        return re.sub(r"\\(.)", r"\1", text)

    words = re.findall(r'"((?:[^"\\]|\\.)*)"', unescaped(line))
    return [unescaped(each).replace("%%", "%") for each in words]


def test_linux_desktop_entry_starts_the_same_words() -> None:
    made = autostart.entry("linux", WORDS, "/home/u/my study", home="/home/u", environ={}, log="/x")
    assert made.path == PurePosixPath("/home/u/.config/autostart/tandem-station.desktop")
    lines = dict(line.split("=", 1) for line in made.content.decode().splitlines()[1:])
    assert made.content.startswith(b"[Desktop Entry]\nType=Application\n")
    assert lines["Path"] == "/home/u/my study"
    assert lines["Terminal"] == "false"
    assert unescape_exec(lines["Exec"]) == WORDS
    elsewhere = autostart.entry("linux", WORDS, "/", home="/home/u", environ={"XDG_CONFIG_HOME": "/c"}, log="/x")
    assert elsewhere.path == PurePosixPath("/c/autostart/tandem-station.desktop")


def test_windows_script_starts_the_same_words() -> None:
    words = [r"C:\Program Files\Python\python.exe", "-P", "--room", "Lab 100%"]
    made = autostart.entry("win32", words, r"D:\study", home=r"C:\Users\u", environ={}, log="x")
    startup = r"C:\Users\u\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup\tandem-station.cmd"
    assert made.path == PureWindowsPath(startup)
    assert made.content.decode().split("\r\n") == [
        "@echo off",
        "chcp 65001 >nul",
        r'cd /d "D:\study"',
        r'start "Tandem station" /min "C:\Program Files\Python\python.exe" "-P" "--room" "Lab 100%%"',
        "",
    ]
    with pytest.raises(ConfigurationError, match="double quotes"):
        autostart.entry("win32", ['Lab "2"'], "D:\\", home="C:\\", environ={}, log="x")


def test_macos_launch_agent_starts_the_same_words() -> None:
    made = autostart.entry("darwin", WORDS, "/Users/u/study", home="/Users/u", environ={}, log="/Users/u/x.log")
    assert made.path == PurePosixPath("/Users/u/Library/LaunchAgents/org.tandem-lab.station.plist")
    said = plistlib.loads(made.content)
    assert said["ProgramArguments"] == WORDS
    assert said["WorkingDirectory"] == "/Users/u/study"
    assert said["RunAtLoad"] is True
    assert said["StandardErrorPath"] == "/Users/u/x.log"


@pytest.mark.parametrize("platform", ["linux", "win32", "darwin"])
def test_line_break_cannot_become_a_line_of_its_own(platform: str) -> None:
    with pytest.raises(ConfigurationError, match="line breaks"):
        autostart.entry(platform, ["x", "a\nExec=evil"], "/", home="/", environ={}, log="/x")


def test_entry_is_written_and_removed_and_both_are_harmless_twice(tmp_path: Path) -> None:
    made = autostart.Entry(tmp_path / "deep" / "x.desktop", b"content")
    for _ in range(2):
        autostart.install(made)
    assert (tmp_path / "deep" / "x.desktop").read_bytes() == b"content"
    assert [autostart.remove(made), autostart.remove(made)] == [True, False]


# -- coming back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 2, 130])
def test_end_on_purpose_stays_one(code: int) -> None:
    assert Restarts().ended(code, 5.0) is None


def test_crashes_in_a_row_wait_longer_each_up_to_a_bound_and_a_steady_run_starts_anew() -> None:
    restarts = Restarts()
    waits = [restarts.ended(3, 1.0) for _ in range(10)]
    assert waits[:4] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S, 8 * FIRST_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S
    assert restarts.ended(-9, STEADY_S) == FIRST_WAIT_S


def test_program_that_crashes_is_started_again_until_it_ends_on_purpose(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import pathlib, sys; file = pathlib.Path(sys.argv[1])\n"
        "file.write_text(file.read_text() + 'x' if file.exists() else 'x')\n"
        "sys.exit(3 if file.read_text() == 'x' else 0)"
    )
    assert keep([sys.executable, "-I", "-c", code, str(tmp_path / "starts")], Restarts(first=0.01)) == 0
    assert (tmp_path / "starts").read_text() == "xx"
    assert "ended with code 3" in capfd.readouterr().err


def test_station_takes_the_flags_of_join_and_no_abbreviated_ones(capsys: pytest.CaptureFixture[str]) -> None:
    parser = make_parser("station")
    taken = parser.parse_args(
        ["station", "--name", "LAB03", "--room", "Lab 2", "--keep", "--bot", "greedy", "--headless"]
    )
    assert (taken.name, taken.room, taken.keep, taken.bot) == ("LAB03", "Lab 2", True, "greedy")
    with pytest.raises(SystemExit):
        parser.parse_args(["station", "--kee"])
    assert "--kee" in capsys.readouterr().err


def test_install_autostart_writes_what_starts_this_station_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(station, "config_folder", lambda: tmp_path / "config")

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tandem", "station", *words])
        assert main() == 0
        return capsys.readouterr().out

    said = run("--install-autostart", "--name", "LAB03", "--room", "Lab 2")
    path = Path(said.strip().rpartition(": ")[2])
    written = path.read_bytes().decode()
    assert path.is_relative_to(tmp_path / "home")
    for word in ("LAB03", "Lab 2", "--keep", "station"):
        assert word in written
    assert tmp_path.name in written
    assert "--install-autostart" not in written
    assert station_name(None, "host", tmp_path / "config") == "LAB03"
    assert "is gone" in run("--remove-autostart")
    assert not path.exists()
    assert "does not start at login" in run("--remove-autostart")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be asked to end by SIGTERM there")
def test_end_of_the_supervisor_ends_the_client_and_that_it_was_killed_is_no_crash(tmp_path: Path) -> None:
    child = "import sys; print('up', flush=True); sys.stdin.read(); print('bye', flush=True)"
    words = f"[sys.executable, '-I', '-c', {child!r}]"
    keeper = f"import sys; from p2pclient.cli.station_keep import keep; sys.exit(keep({words}))"
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", keeper], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, said, errors) == (0, "bye\n", "")
