"""Passwords of the console, and what each role may do."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pclient.common.errors import ConfigurationError
from signaling.actions import Action, EndMatch
from signaling.passwords import (
    DEFAULT_COST,
    MAX_PASSWORD_CHARS,
    Cost,
    check_new_password,
    has_scrypt,
    hash_password,
    make_password,
    needs_rehash,
    verify_password,
)
from signaling.roles import NEEDED, ROLES, may, role_for

CHEAP = Cost(log2_n=4, r=1, p=1, iterations=10)
SALT = bytes(range(16))
KINDS = pytest.mark.parametrize(
    "scrypt", [pytest.param(True, marks=pytest.mark.skipif(not has_scrypt(), reason="no scrypt here")), False]
)


@KINDS
def test_only_the_password_verifies(scrypt: bool) -> None:
    kept = hash_password("correct horse", salt=SALT, cost=CHEAP, scrypt=scrypt)
    assert verify_password("correct horse", kept)
    for other in ("correct hors", "correct horse ", "Correct horse", "", kept, "x" * 10_000_000):
        assert not verify_password(other, kept)
    assert "horse" not in kept
    assert not verify_password("correct horse", kept[:-4] + kept[-4:].swapcase())


@KINDS
def test_the_same_password_has_another_hash_under_another_salt(scrypt: bool) -> None:
    hashes = {hash_password("same", salt=bytes([each] * 16), cost=CHEAP, scrypt=scrypt) for each in range(5)}
    assert len(hashes) == 5


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=50)
def test_any_text_can_be_a_password(one: str, other: str) -> None:
    kept = hash_password(one, salt=SALT, cost=CHEAP, scrypt=False)
    assert verify_password(one, kept)
    assert one == other or not one.isascii() or not other.isascii() or not verify_password(other, kept)


def test_a_composed_letter_is_the_same_however_it_was_typed() -> None:
    assert verify_password("mu\u0308ll-er-1", hash_password("müll-er-1", salt=SALT, cost=CHEAP))


def test_hashes_are_those_of_the_standards() -> None:
    # The beginnings of the second vector of RFC 7914, 12, and of the first of 11.
    if has_scrypt():
        kept = hash_password("password", salt=b"NaCl", cost=Cost(log2_n=10, r=8, p=16), scrypt=True)
        assert kept == "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"
    kept = hash_password("passwd", salt=b"salt", cost=Cost(iterations=1), scrypt=False)
    digest = base64.b64decode(kept.removeprefix("$pbkdf2-sha256$i=1$c2FsdA$") + "=")
    assert digest.hex() == "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"


def test_a_costlier_setting_asks_for_a_new_hash_and_still_knows_the_old() -> None:
    kept = hash_password("password", salt=SALT, cost=CHEAP, scrypt=False)
    assert not needs_rehash(kept, cost=CHEAP, scrypt=False)
    assert needs_rehash(kept, cost=Cost(iterations=11), scrypt=False)
    assert needs_rehash(kept, cost=CHEAP, scrypt=True)
    assert verify_password("password", kept)


@pytest.mark.skipif(not has_scrypt(), reason="no scrypt here")
def test_the_usual_hash_is_scrypt_at_the_usual_cost() -> None:
    kept = hash_password("password", salt=SALT)
    assert kept.startswith("$scrypt$ln=15,r=8,p=3$")
    assert not needs_rehash(kept)
    assert DEFAULT_COST.iterations == 600_000
    assert verify_password("password", kept)


def test_without_scrypt_a_stored_scrypt_hash_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = "$scrypt$ln=4,r=1,p=1$AAAA$AAAA"
    monkeypatch.delattr(hashlib, "scrypt", raising=False)  # as with an OpenSSL that was built without it
    assert hash_password("password", salt=SALT, cost=CHEAP).startswith("$pbkdf2-sha256$")
    assert needs_rehash(kept)
    with pytest.raises(ConfigurationError, match="tandem account"):
        verify_password("password", kept)


@pytest.mark.parametrize(
    "kept",
    [
        "", "password", "$scrypt$ln=15,r=8,p=3$AAAA", "$scrypt$ln=40,r=8,p=1$AAAA$AAAA",
        "$scrypt$ln=0,r=8,p=1$AAAA$AAAA",
        "$scrypt$i=10$AAAA$AAAA", "$pbkdf2-sha256$i=99999999$AAAA$AAAA", "$pbkdf2-sha256$i=0$AAAA$AAAA",
        "$md5$i=1$AAAA$AAAA", "$scrypt$ln=4,r=1,p=1$AAAAA$AAAA", "$scrypt$ln=4,r=1,p=1$AAAA$AAAA\n",
    ],
)  # fmt: skip
def test_what_is_no_hash_is_refused_and_not_shown(kept: str) -> None:
    for ask in (lambda: verify_password("password", kept), lambda: needs_rehash(kept)):
        with pytest.raises(ConfigurationError, match="tandem account") as caught:
            ask()
        assert not kept or kept not in str(caught.value) or kept == "password"


def test_a_new_password_has_a_least_and_a_greatest_length() -> None:
    check_new_password("12345678")
    for wrong in ("1234567", "", "x" * (MAX_PASSWORD_CHARS + 1)):
        with pytest.raises(ConfigurationError, match="characters") as caught:
            check_new_password(wrong)
        assert not wrong or wrong not in str(caught.value)


def test_a_thought_up_password_can_be_read_out() -> None:
    entropy = random.Random(1)
    made = {make_password(entropy) for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"([a-km-np-z2-9]{4}-){3}[a-km-np-z2-9]{4}", each) for each in made)
    for each in made:
        check_new_password(each)


# -- roles ------------------------------------------------------------------------------------------------------------


def test_every_action_has_a_role_that_somebody_thought_about() -> None:
    kinds = {str(action.__struct_config__.tag) for action in get_args(Action)}
    assert len(kinds) == 13
    assert kinds <= set(NEEDED)
    assert {NEEDED[kind] for kind in kinds} == {"operator"}
    assert role_for(EndMatch(match="m")) == "operator"


def test_each_role_may_what_those_before_it_may() -> None:
    allowed = [{what for what in NEEDED if may(role, what)} for role in ROLES]
    assert allowed[0] < allowed[1] < allowed[2] == set(NEEDED)
    assert allowed[0] == {"look"}
    assert not may("operator", "accounts")


@pytest.mark.parametrize("role", ["", "root", "Admin"])
def test_a_role_that_is_none_may_nothing(role: str) -> None:
    assert not any(may(role, what) for what in NEEDED)


def test_what_nobody_thought_about_is_the_admins() -> None:
    assert [may(role, "shut-down") for role in ROLES] == [False, False, True]
