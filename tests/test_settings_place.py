from __future__ import annotations

import argparse
import socket
from pathlib import Path

import pytest

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.join_code import encode_join_code
from p2pclient.settings.place import add_place_arguments, server_urls_of, wanted_of
from p2pclient.settings.tandem_file import TandemFile, find_tandem_file, parse_tandem_file


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_place_arguments(parser)
    return parser.parse_args(words)


def test_code_address_and_url_mean_the_same_server() -> None:
    code = encode_join_code("10.0.0.7", 9000)
    expected = ("http://10.0.0.7:9000",)
    assert server_urls_of(code) == server_urls_of(code.lower()) == expected
    assert server_urls_of("10.0.0.7:9000") == server_urls_of("http://10.0.0.7:9000") == expected
    assert server_urls_of("lab.example") == ("http://lab.example:8765",)


def test_mistyped_code_is_called_one_and_a_computer_of_that_name_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_host(*arguments: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with pytest.raises(ConfigurationError, match=r"join code is 'ABC-DEF'.*letter"):
        server_urls_of("ABC-DEF")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: [])
    assert server_urls_of("lab-server") == ("http://lab-server:8765",)


def test_server_on_the_command_line_is_the_only_one_that_counts() -> None:
    file = TandemFile(server="10.0.0.1", room="Lab 2")
    wanted = wanted_of(arguments("10.0.0.9"), file)
    assert (wanted.urls, wanted.room, wanted.on_lan) == (("http://10.0.0.9:8765",), None, False)


def test_without_one_the_file_says_where_to_look_first_and_the_search_goes_on_elsewhere() -> None:
    wanted = wanted_of(arguments(), TandemFile(server="10.0.0.1", room="Lab 2", interface="127.0.0.1"))
    assert wanted.urls == ("http://10.0.0.1:8765",)
    assert (wanted.room, wanted.interface, wanted.on_lan) == ("Lab 2", "127.0.0.1", True)
    assert wanted_of(arguments("--room", "Lab 3"), TandemFile(room="Lab 2")).room == "Lab 3"
    assert wanted_of(arguments(), TandemFile()).urls == ()


def test_file_is_taken_from_the_first_folder_that_has_one(tmp_path: Path) -> None:
    first, second, third = tmp_path / "no", tmp_path / "a", tmp_path / "b"
    second.mkdir()
    third.mkdir()
    (second / "tandem.toml").write_text(
        'server = "00H-8T3"\nroom = " Lab 2 "\nstation = "LAB03"\n', encoding="utf-8-sig"
    )
    (third / "tandem.toml").write_text('room = "other"\n')
    found = find_tandem_file((first, second, third))
    assert found == TandemFile(second / "tandem.toml", "00H-8T3", "Lab 2", "LAB03", None)
    assert find_tandem_file((first,)) == TandemFile()


@pytest.mark.parametrize(
    "raw", [b"room = 3", b"rooom = 'x'", b"room =", b"\xff", b"room = ''", b"[server]\nurl = 'x'", b"a=" + b"[" * 5000]
)
def test_file_that_says_something_else_is_refused_with_its_path(raw: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"lab\.toml"):
        parse_tandem_file(raw, Path("lab.toml"))
