from __future__ import annotations

import argparse
import asyncio
import json
import socket
from collections.abc import Sequence
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import msgspec
import pytest
from signaling_rig import running_server

from p2pclient.app.display_facts import DisplayFacts, read_display
from p2pclient.cli import doctor, doctor_machine, doctor_network, doctor_peer, doctor_server
from p2pclient.cli.doctor_findings import (
    Finding,
    Level,
    exit_code,
    good,
    line,
    note,
    problem,
    report_json,
    summary,
    warning,
)
from p2pclient.cli.doctor_verdict import PATHS, Hello, Report, Timing, compare
from p2pclient.common.discovery_messages import ServerFacts
from p2pclient.common.errors import TransportError
from p2pclient.common.join_code import decode_join_code
from p2pclient.common.lobby_messages import LOBBY_PROTOCOL
from p2pclient.common.network_interfaces import Interface
from p2pclient.discovery.findings import Choice, Found


def levels(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Return the levels of the findings by topic, the good ones too."""
    found: dict[str, list[str]] = {}
    for each in findings:
        found.setdefault(each.topic, []).append(each.level.value)
    return found


# -- what is told -----------------------------------------------------------------------------------------------------


def test_exit_code_is_that_of_the_worst_finding() -> None:
    assert exit_code([]) == exit_code([good("a", "x"), note("b", "y")]) == 0
    assert exit_code([good("a", "x"), warning("b", "y", "z")]) == 1
    assert exit_code([problem("a", "x", "z"), warning("b", "y", "z")]) == 2


def test_each_finding_is_a_line_with_its_fix_and_json_says_the_same() -> None:
    found = [good("clock", "fine"), problem("disk", "full", "make room")]
    assert line(found[0]) == "ok    clock:      fine"
    assert "FAIL  disk:       full" in line(found[1])
    assert line(found[1]).endswith("-> make room")
    assert summary(found) == "1 problem, 0 warnings."
    told = json.loads(report_json(found))
    assert told["exit_code"] == 2
    assert told["findings"][1] == {"topic": "disk", "level": "problem", "text": "full", "fix": "make room"}


def test_every_warning_has_a_fix() -> None:
    with pytest.raises(AssertionError):
        Finding("x", Level.WARNING, "bad")


# -- this machine -----------------------------------------------------------------------------------------------------


def test_this_machine_is_examined_in_every_respect(tmp_path: Path) -> None:
    out = tmp_path / "not" / "there"
    found = levels(doctor_machine.check_machine(out))
    assert {"program", "packages", "environment", "clock", "timers", "memory", "disk", "display"} <= set(found)
    assert found["packages"][0] == "good"
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_a_problem_with_the_command_that_brings_it() -> None:
    versions: dict[str, str | None] = dict.fromkeys((*doctor_machine.NEEDED, *doctor_machine.ENVIRONMENTS), "1.0")
    (missing_optional, *_) = [each for each in doctor_machine.check_versions(versions) if each.topic == "packages"][1:]
    assert (missing_optional.level, missing_optional.fix) == (Level.WARNING, "pip install zeroconf")
    found = doctor_machine.check_versions({**versions, "zeroconf": "1", "aiortc": None, "cogrid": None})
    assert levels(found) == {"packages": ["problem"], "environment": ["warning"]}
    assert found[0].fix == "pip install aiortc"


@pytest.mark.parametrize(
    ("version", "bits", "level"), [((3, 11, 7), 64, "good"), ((3, 12, 0), 32, "problem"), ((3, 99, 0), 64, "warning")]
)
def test_python_is_judged(version: tuple[int, int, int], bits: int, level: str) -> None:
    assert levels(doctor_machine.check_python(version, bits)) == {"program": [level]}


def test_coarse_clock_wrong_date_and_late_timers_are_told() -> None:
    assert levels(doctor_machine.check_clock(1e-9, 1.8e9)) == {"clock": ["good"]}
    assert levels(doctor_machine.check_clock(0.0156, 1000.0)) == {"clock": ["warning", "warning"]}
    assert levels(doctor_machine.check_lateness([0.1] * 60)) == {"timers": ["good"]}
    assert levels(doctor_machine.check_lateness([0.1] * 50 + [9.0] * 10)) == {"timers": ["warning"]}
    assert levels(doctor_machine.check_lateness([15.0] * 30 + [40.0] * 30)) == {"timers": ["problem"]}


def test_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (found,) = doctor_machine.check_disk(tmp_path)
    assert f"free in {tmp_path}, written at" in found.text
    (tmp_path / "file").write_text("x")
    (found,) = doctor_machine.check_disk(tmp_path / "file")
    assert found.level is Level.PROBLEM
    assert "--out" in found.fix


def test_display_is_judged() -> None:
    judge = doctor_machine.check_display
    assert judge(DisplayFacts("x11", ((1920, 1080),), (60,))).text == "1920x1080 at 60 Hz (x11)"
    assert judge(DisplayFacts("", error="none")).level is Level.WARNING
    assert judge(DisplayFacts("x11", ((640, 480),), (60,))).level is Level.WARNING
    assert judge(DisplayFacts("x11", ((3840, 2160),), (30,))).level is Level.WARNING
    assert judge(DisplayFacts("x11", ((1920, 1080),), (0,))).level is Level.GOOD
    facts = read_display()
    assert facts.driver or facts.error


# -- its network ------------------------------------------------------------------------------------------------------


def interface(name: str, *addresses: str, loopback: bool = False) -> Interface:
    return Interface(name, tuple(ip_interface(each) for each in addresses), loopback)


LO = interface("lo", "127.0.0.1/8", loopback=True)
ETH = interface("eth0", "192.168.1.2/24")


@pytest.mark.parametrize(
    ("interfaces", "expected", "words"),
    [
        ([LO], ["warning"], "Wi-Fi"),
        ([LO, ETH], ["note", "good"], "192.168.1.2"),
        ([LO, interface("eth0", "169.254.1.2/16")], ["note", "warning"], "169.254"),
        ([LO, interface("eth0", "fe80::1/64")], ["note", "problem"], "by hand"),
        ([ETH, interface("wlan0", "10.0.0.2/8")], ["note", "note", "good", "warning"], "--interface"),
        ([ETH, interface("tun0", "10.8.0.2/24")], ["note", "note", "good", "warning"], "VPN"),
        ([ETH, interface("docker0", "172.17.0.1/16")], ["note", "note", "good"], "docker0"),
    ],
)
def test_interfaces_are_judged(interfaces: list[Interface], expected: list[str], words: str) -> None:
    found = doctor_network.check_interfaces(interfaces)
    assert levels(found) == {"network": expected}
    assert words in " ".join(each.text + each.fix for each in found)


@pytest.mark.parametrize(
    ("platform", "state", "level"),
    [
        ("win32", "Private Profile Settings:\r\nState                                 ON\r\n", "warning"),
        ("win32", "Status                                EIN\r\n", "warning"),
        ("win32", "State                                 OFF\r\n", "good"),
        ("win32", "", "note"),
        ("darwin", "Firewall is enabled. (State = 1)\n", "warning"),
        ("darwin", "Firewall is disabled. (State = 0)\n", "good"),
        ("darwin", "", "note"),
        ("linux", "# /etc/ufw/ufw.conf\nENABLED=yes\nLOGLEVEL=low\n", "warning"),
        ("linux", "ENABLED=no\nfirewalld: running\n", "warning"),
        ("linux", "ENABLED=no\nfirewalld: ", "note"),
    ],
)
def test_firewall_is_told_where_the_system_says_so(platform: str, state: str, level: str) -> None:
    found = doctor_network.check_firewall(platform, state)
    assert found.level.value == level
    if level == "warning":
        assert "--peer" in found.fix


def test_taken_port_is_told_and_one_of_a_server_of_ours_is_no_warning() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        assert doctor_network.port_in_use(socket.SOCK_STREAM, taken.getsockname()[1])
    assert doctor_network.port_in_use(socket.SOCK_DGRAM, 0) == ""


def test_datagrams_of_this_machine_reach_it() -> None:
    assert levels(doctor_network.check_udp([LO])) == {"UDP": ["good"]}


def test_servers_that_were_found_are_told_and_one_that_cannot_be_reached_is_a_problem() -> None:
    lab = Found("http://10.0.0.1:8765", "Lab 2", "desk", ("mdns",))
    assert levels(doctor_network.check_servers(Choice(found=lab), {})) == {"servers": ["good"]}
    assert levels(doctor_network.check_servers(Choice(silent=(lab,)), {})) == {"servers": ["problem"]}
    assert levels(doctor_network.check_servers(Choice(old=(lab,)), {})) == {"servers": ["warning"]}
    assert levels(doctor_network.check_servers(Choice(), {"version": "x"})) == {"servers": ["note"], "search": ["note"]}


# -- the way to a server ----------------------------------------------------------------------------------------------


async def test_way_to_a_server_is_examined_to_the_websocket(announced_url: str) -> None:
    found = await doctor_server.check_server(["http://127.0.0.1:1", announced_url])
    assert levels(found)["server"] == ["good", "good"]
    assert levels(found)["WebSocket"] == ["good"]
    assert {"versions", "round trip", "clock"} <= set(levels(found))
    assert exit_code(found) <= 1


async def test_what_is_no_server_is_told(announced_url: str) -> None:
    (found,) = await doctor_server.check_server(["http://127.0.0.1:1"])
    assert found.level is Level.PROBLEM

    async def hang_up(reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        found = await doctor_server.check_server([f"http://127.0.0.1:{port}"])
    assert levels(found) == {"server": ["good", "problem"]}
    assert "no Tandem server" in found[1].text


def test_versions_and_clock_of_a_server_are_judged() -> None:
    facts = ServerFacts(server_id="0" * 16, room="Lab", computer="x", port=1, protocol=LOBBY_PROTOCOL, version="9.9.9")
    assert levels(doctor_server.check_facts(facts))["versions"] == ["warning"]
    other = msgspec.structs.replace(facts, protocol=LOBBY_PROTOCOL + 1)
    assert levels(doctor_server.check_facts(other))["versions"] == ["problem"]
    assert [each.level for each in doctor_server.check_offset(0.1)] == [Level.NOTE]
    assert [each.level for each in doctor_server.check_offset(-3600.0)] == [Level.WARNING]
    assert doctor_server.check_rtts([300.0] * 10).level is Level.WARNING


# -- two machines -----------------------------------------------------------------------------------------------------

OWN = Hello(name="LAB01", system="linux", versions={"numpy": "2.0"}, protocol=2, token="0" * 16, sink=1, pair=2, tcp=3)
OTHER = msgspec.structs.replace(OWN, name="LAB03", system="win32")
SENT = dict.fromkeys(PATHS, 100)
ALL = Report(sent=SENT, received=SENT)


def verdict(mine: Report = ALL, theirs: Report = ALL, other: Hello = OTHER, **facts: Any) -> list[Finding]:
    timing = facts.pop("timing", Timing((1.0, 1.2, 0.9), 0.01))
    return compare(OWN, other, mine, theirs, timing, **{"back": True, "caller": True, **facts})


def received(**counts: int) -> Report:
    return Report(sent=SENT, received={**SENT, **{key.replace("_", "-"): value for key, value in counts.items()}})


def test_two_machines_that_hear_each_other_are_well() -> None:
    assert exit_code(verdict()) == 0
    assert levels(verdict())["UDP"] == ["good", "good"]


def test_blocked_direction_is_named_with_the_fix_for_the_side_that_blocks() -> None:
    nothing = Report(sent=SENT, received={})
    here = [each for each in verdict(mine=nothing) if each.level is Level.PROBLEM]
    assert [each.text for each in here] == ["from LAB03 to here is blocked, so that no match can be played"]
    assert "firewall here" in here[0].fix
    assert "ufw" in here[0].fix
    there = [each for each in verdict(theirs=nothing) if each.level is Level.PROBLEM]
    assert [each.text for each in there] == ["from here to LAB03 is blocked, so that no match can be played"]
    assert "firewall there" in there[0].fix
    assert "netsh" in there[0].fix


def test_firewall_that_lets_only_answers_in_is_a_warning() -> None:
    found = verdict(mine=received(sink_small=0, sink_large=0))
    assert levels(found)["UDP"] == ["warning", "good"]
    assert "only as an answer" in next(each.text for each in found if each.level is Level.WARNING)


def test_large_datagrams_that_are_lost_are_told_from_a_firewall() -> None:
    found = [each for each in verdict(mine=received(pair_large=0, sink_large=0)) if each.level is Level.PROBLEM]
    assert len(found) == 1
    assert "MTU" in found[0].fix


@pytest.mark.parametrize(("arrived", "level"), [(100, "good"), (97, "warning"), (80, "problem")])
def test_loss_is_judged_by_how_much_it_is(arrived: int, level: str) -> None:
    assert levels(verdict(mine=received(pair_small=arrived, pair_large=arrived)))["UDP"] == [level, "good"]


def test_tcp_that_works_one_way_versions_round_trips_and_clocks_are_judged() -> None:
    assert levels(verdict(back=False))["TCP"] == ["warning"]
    assert levels(verdict(back=False, caller=False))["TCP"] == ["warning"]
    assert levels(verdict(other=msgspec.structs.replace(OTHER, protocol=3)))["versions"] == ["problem"]
    differing = verdict(other=msgspec.structs.replace(OTHER, versions={"numpy": "1.9", "Python": "3.12"}))
    assert levels(differing)["versions"] == ["warning"]
    assert "numpy 2.0 here and 1.9 there" in differing[0].text
    slow = levels(verdict(timing=Timing((150.0,) * 9, 100.0)))
    assert (slow["round trip"], slow["clock"]) == (["warning"], ["warning"])


async def peers() -> tuple[list[Finding], list[Finding]]:
    said: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(doctor_peer.listen("127.0.0.1", said.put_nowait, seconds=0.4))
    code = ""
    while not code:
        words = (await said.get()).split()
        code = words[-1] if "--peer" in words else ""
    address, port = decode_join_code(code)
    called = await doctor_peer.call([f"http://{address}:{port}"], lambda text: None, seconds=0.4)
    return await listening, called


async def test_two_programs_try_each_other_both_ways() -> None:
    async with asyncio.timeout(40):
        for found in await peers():
            told = levels(found)
            assert told["TCP"] == ["good"]
            assert told["versions"] == ["good"]
            assert len(told["UDP"]) == 2
            assert "blocked" not in " ".join(each.text for each in found)
            assert told["clock"] == ["note"]
            assert "round trip" in told


async def test_nobody_at_the_other_end_is_a_sentence() -> None:
    with pytest.raises(TransportError, match=r"No computer answers at 127\.0\.0\.1:1 "):
        await doctor_peer.call(["http://127.0.0.1:1"], lambda text: None)


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[" * 5000 + b"\n", b"x" * 40000 + b"\n", b'{"say":"hello","token":"../"}\n', b"\xff\n", b""],
)
async def test_whatever_answers_instead_of_the_doctor_is_a_sentence(line: bytes) -> None:
    async def answer(reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(line)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(TransportError, match=r"The other computer|What answers"):
            await doctor_peer.call([f"http://127.0.0.1:{port}"], lambda text: None)


async def test_stranger_without_the_token_gets_no_answer() -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    async with doctor_peer._open_line(socket.AF_INET, b"rightone") as line:
        line.peer_token = b"theother"
        with sender:
            sender.bind(("127.0.0.1", 0))
            for token, size in ((b"wrongone", 100), (b"rightone", 99), (b"rightone", 100)):
                datagram = doctor_peer._FORM.pack(b"tdoc", token, 0, 0, 7, 1.0, 1.0).ljust(size, b"\0")
                line.datagram_received(datagram, sender.getsockname())
            line.datagram_received(b"", sender.getsockname())
            line.datagram_received(b"tdoc".ljust(100, b"\xff"), sender.getsockname())
            sender.settimeout(10)
            answer = await asyncio.to_thread(sender.recv, 2000)
            assert len(answer) == 100
            sender.setblocking(False)
            with pytest.raises(BlockingIOError):
                sender.recv(2000)
        assert line.received == {"sink-small": 1}


def test_flags_of_the_command() -> None:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert parser.parse_args([]).peer is None
    assert parser.parse_args(["--peer"]).peer == ""
    assert parser.parse_args(["--peer", "00H-8T3"]).peer == "00H-8T3"
    assert "2 there are problems" in parser.format_help()


@pytest.fixture
async def announced_url() -> Any:
    async with running_server(announced=True) as url:
        yield url
