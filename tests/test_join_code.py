from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.join_code import ALPHABET, decode_join_code, encode_join_code, is_like_join_code

FROZEN = {
    ("192.168.1.20", 8765): "00H-8T3",
    ("172.20.3.4", 8765): "5030-GZ9",
    ("10.1.2.3", 8765): "80G4-0R8C",
    ("192.168.1.20", 5000): "C0H-84W-8JQ",
    ("10.1.2.3", 1): "G502-0G3-000-GDS",
    ("8.8.8.8", 8765): "G40G-208-48Y-GGW",
    ("fe80::1234", 8765): "M000-0000-0014-D127-M84",
    ("fd00::1", 8765): "VYG0-0000-0000-0000-0000-0000-00J4-F8QK",
}


@pytest.mark.parametrize(("place", "code"), FROZEN.items())
def test_codes_stay_what_they_are(place: tuple[str, int], code: str) -> None:
    assert encode_join_code(*place) == code
    assert decode_join_code(code) == place


@settings(max_examples=200, deadline=None)
@given(st.ip_addresses(), st.integers(1, 65535) | st.just(8765))
def test_what_was_encoded_is_decoded(address: object, port: int) -> None:
    text = str(address)
    try:
        code = encode_join_code(text, port)
    except ConfigurationError:
        assert getattr(address, "is_multicast", False) or getattr(address, "is_unspecified", False)
        return
    assert decode_join_code(code) == (text, port)
    assert decode_join_code(code.lower().replace("-", " ")) == (text, port)


def test_letters_that_look_alike_are_taken_for_each_other() -> None:
    code = encode_join_code("10.0.16.1", 8765)
    assert "0" in code
    assert "1" in encode_join_code("192.168.8.0", 8765) or "1" in code
    for written in (code.replace("0", "O"), code.replace("0", "o"), code.replace("1", "I"), code.replace("1", "l")):
        assert decode_join_code(written) == ("10.0.16.1", 8765)


@pytest.mark.parametrize("code", FROZEN.values())
def test_every_wrong_letter_and_every_swap_is_noticed(code: str) -> None:
    letters = code.replace("-", "")
    wrong = {
        letters[:place] + other + letters[place + 1 :]
        for place in range(len(letters))
        for other in ALPHABET
        if other != letters[place]
    }
    for a in range(len(letters)):
        for b in range(a + 1, len(letters)):
            swapped = list(letters)
            swapped[a], swapped[b] = swapped[b], swapped[a]
            wrong.add("".join(swapped))
    wrong.discard(letters)
    assert len(wrong) > 30 * len(letters)
    for each in wrong:
        with pytest.raises(ConfigurationError, match="wrong"):
            decode_join_code(each)


@pytest.mark.parametrize(
    "text", ["", "4", "lab", "192.168.1.20", "http://x", "UUU-UUU", "00H-8T", "0" * 500, "ÄÖÜ-ABC"]
)
def test_what_is_no_code_is_refused(text: str) -> None:
    assert not is_like_join_code(text)
    with pytest.raises(ConfigurationError, match="join code"):
        decode_join_code(text)


@given(st.text(alphabet=ALPHABET, min_size=6, max_size=32))
def test_any_letters_are_a_code_of_one_writing_or_none(letters: str) -> None:
    try:
        place = decode_join_code(letters)
    except ConfigurationError:
        return
    assert encode_join_code(*place).replace("-", "") == letters


@pytest.mark.parametrize(("address", "port"), [("0.0.0.0", 1), ("::", 1), ("224.0.0.1", 1), ("x", 1), ("10.0.0.1", 0)])
def test_what_is_no_place_of_a_server_has_no_code(address: str, port: int) -> None:
    with pytest.raises(ConfigurationError):
        encode_join_code(address, port)
