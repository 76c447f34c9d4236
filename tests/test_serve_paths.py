"""What ``tandem serve`` takes for TURN, STUN and relaying, and which paths a client uses for it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from p2pclient.cli.serve import add_arguments, settings_of
from p2pclient.cli.serve_room import rules_of
from p2pclient.common.errors import ConfigurationError
from p2pclient.runtime.connecting import usable_rungs
from p2pclient.transport.ladder import Rung
from signaling.turn import IceRules

DIRECT, TURN, RELAY = Rung.DIRECT, Rung.TURN, Rung.RELAY


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_flags_bring_servers_and_secret_into_the_room(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes("säsame 12345\r\n".encode())
    arguments = ["--turn", "turn:a:3478", "--turn", "turns:b?transport=tcp", "--stun", "stun:c"]
    rules = rules_of(parsed(*arguments, "--turn-secret-file", str(file)))
    assert rules.ice == IceRules(
        stun=("stun:c",), turn=("turn:a:3478", "turns:b?transport=tcp"), turn_secret="säsame 12345"
    )
    assert rules_of(parsed()).ice == IceRules()
    assert settings_of(parsed("--relay", "never")).relay == "never"
    assert settings_of(parsed()).relay == "allowed"


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (["--turn", "turn:a"], "--turn, --turn-secret-file"),
        (["--turn-secret-file", "good"], "--turn, --turn-secret-file"),
        (["--turn", "stun:a", "--turn-secret-file", "good"], "--turn"),
        (["--turn", "turn:a?transport=quic", "--turn-secret-file", "good"], "--turn"),
        (["--turn", "turn:user@a", "--turn-secret-file", "good"], "--turn"),
        (["--stun", "turn:a"], "--stun"),
        (["--stun", "stun:a:0"], "--stun"),
        (["--stun", "a:3478"], "--stun"),
        (["--stun", "stun:a"] * 9, "--turn, --stun"),
        (["--turn", "turn:a", "--turn-secret-file", "short"], "--turn-secret-file"),
        (["--turn", "turn:a", "--turn-secret-file", "two lines"], "--turn-secret-file"),
        (["--turn", "turn:a", "--turn-secret-file", "not text"], "--turn-secret-file"),
        (["--turn", "turn:a", "--turn-secret-file", "missing"], "--turn-secret-file"),
    ],
)
def test_what_cannot_be_used_is_named_and_no_secret_with_it(
    arguments: list[str], setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good").write_text("sesame12345")
    Path("short").write_text("sesame")
    Path("two lines").write_text("sesame12345\nsesame12345")
    Path("not text").write_bytes(b"sesame12345\xff")
    with pytest.raises(ConfigurationError) as caught:
        rules_of(parsed(*arguments))
    assert caught.value.setting == setting
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("relay", "has_turn", "path", "rungs"),
    [
        ("allowed", False, None, [DIRECT, RELAY]),
        ("allowed", True, None, [DIRECT, TURN, RELAY]),
        ("never", True, None, [DIRECT, TURN]),
        ("always", True, None, [RELAY]),
        ("allowed", True, "turn", [TURN]),
        ("allowed", True, "direct", [DIRECT]),
        ("allowed", False, "relay", [RELAY]),
        ("allowed", False, "turn", []),
        ("never", True, "relay", []),
        ("always", True, "direct", []),
    ],
)
def test_a_client_uses_the_paths_that_study_and_person_let_it(
    relay: str, has_turn: bool, path: str | None, rungs: list[Rung]
) -> None:
    assert usable_rungs(relay, has_turn=has_turn, path=path) == rungs
