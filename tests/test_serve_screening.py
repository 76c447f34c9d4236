"""What ``tandem serve --screening`` reads: a file as editors write it, and functions beside whoever starts it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from p2pclient.cli.serve import add_arguments
from p2pclient.cli.serve_room import rules_of
from p2pclient.cli.serve_screening import read_screening, screening_hooks
from p2pclient.common.errors import ConfigurationError


def rules_from(*arguments: str) -> object:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return rules_of(parser.parse_args(arguments))


def test_the_flag_brings_the_rules_of_the_file_into_the_room(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("[entry.ping]\nat_most_ms = 80\n", encoding="utf-8-sig")  # with a mark in front, as Windows does
    rules = rules_from("--screening", str(path))
    assert rules.screening.entry.ping.at_most_ms == 80  # type: ignore[attr-defined]
    assert rules_from().screening.entry is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "setting"),
    [(b"[entry", "--screening"), (b"\xff\xfe", "--screening"), (b"[entry.pong]", "entry.pong in "), (None, "--screen")],
)
def test_a_file_that_cannot_be_used_is_said_with_its_name(tmp_path: Path, content: bytes | None, setting: str) -> None:
    path = tmp_path / "rules.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_screening(path)
    assert caught.value.setting.startswith(setting)
    assert "rules.toml" in str(caught.value)


def test_functions_are_loaded_from_the_folder_of_the_server_or_named_if_they_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "screening_rules_of_a_study.py").write_text("def admit(facts):\n    return None\n", encoding="utf-8")
    path = tmp_path / "rules.toml"
    monkeypatch.chdir(tmp_path)
    path.write_text('[entry.custom]\nhook = "screening_rules_of_a_study:admit"\n', encoding="utf-8")
    assert set(screening_hooks(read_screening(path))) == {"entry"}
    path.write_text('[playing.custom]\nhook = "screening_rules_of_a_study:watch"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        screening_hooks(read_screening(path))
    assert caught.value.setting == "playing.custom.hook"
