"""Labels, signed links and tokens: who is let in, and what is refused with which word."""

from __future__ import annotations

import hashlib
import random
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.room_messages import Name, Token
from signaling.identity import (
    MAX_LABEL_CHARS,
    MAX_LINK_CHARS,
    REFUSALS,
    JoinPolicy,
    LinkClaims,
    admit,
    check_link,
    clean_label,
    hash_token,
    is_token,
    label_key,
    make_id,
    make_link,
    make_token,
    split_link,
    use_of,
    with_link,
)
from signaling.store.interface import LinkUse, Participant

SECRET, OTHER_SECRET = bytes(range(32)), bytes(range(1, 33))
NOW = 1_000_000.0
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def link(label: str = "P-17", **options: object) -> str:
    return make_link(SECRET, label, entropy=random.Random(1), **options)  # type: ignore[arg-type]


def code_of(function: object, *arguments: object, **options: object) -> str:
    """Return the code with which a call is refused, whose sentence must be the one of that code; empty if it is not."""
    try:
        function(*arguments, **options)  # type: ignore[operator]
    except SignalingError as error:
        return error.code if str(error) == REFUSALS[error.code] else "with another sentence"
    return ""


# -- links ------------------------------------------------------------------------------------------------------------


def test_a_link_says_what_was_put_into_it() -> None:
    text = link("Anna  Müller", expires=NOW + 0.5, single_use=True, attributes={"group": "A", "age": 30, "left": True})
    claims = check_link(SECRET, text, now=NOW - 1)
    attributes = {"group": "A", "age": 30, "left": True}
    assert claims == LinkClaims(
        label="Anna Müller", expires=int(NOW), link_id=make_id("l", random.Random(1)), attributes=attributes
    )
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", text)


def test_the_form_of_a_link_stays() -> None:
    # Links are printed and handed out days before; another form needs another version.
    assert link("P-17", attributes={"g": 1}) == (
        "1.eyJsYWJlbCI6IlAtMTciLCJhdHRyaWJ1dGVzIjp7ImciOjF9fQ.Tsffv00RNNWTo7f2767Czfyi82TEI5FpUGk4xvkyqRs"
    )


@given(
    label=st.text("aZ09-_.", min_size=1, max_size=20),
    single_use=st.booleans(),
    expires=st.none() | st.integers(int(NOW) + 1, 1 << 50),
    bit=st.integers(0, 1 << 20),
)
def test_any_bit_flipped_is_refused(label: str, single_use: bool, expires: int | None, bit: int) -> None:
    text = link(label, single_use=single_use, expires=expires)
    assert check_link(SECRET, text, now=NOW).label == label
    raw = bytearray(text.encode())
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    assert code_of(check_link, SECRET, raw.decode("latin-1"), now=NOW) in {"link-invalid", "link-version"}


def test_every_other_last_sign_is_refused() -> None:
    # Base64 has signs to spare at the end: several texts for the same bytes.
    for text in (link("P-1"), link("P-12"), link("P-123")):
        claims_end = text.rindex(".") - 1
        for place in (claims_end, len(text) - 1):
            others = [sign for sign in BASE64URL if sign != text[place]]
            changed = [text[:place] + sign + text[place + 1 :] for sign in others]
            assert {code_of(check_link, SECRET, each, now=NOW) for each in changed} == {"link-invalid"}


@given(st.text(max_size=80) | st.from_regex(r"[0-9]{1,4}\.[A-Za-z0-9_=-]{0,30}\.[A-Za-z0-9_-]{43}", fullmatch=True))
def test_nothing_that_was_not_signed_is_a_link(text: str) -> None:
    assert code_of(check_link, SECRET, text, now=NOW) in {"link-invalid", "link-version"}


@pytest.mark.parametrize("change", [lambda text: text + "\n", lambda text: text + "=", lambda text: " " + text])
def test_nothing_may_stand_around_a_link(change: object) -> None:
    assert code_of(check_link, SECRET, change(link()), now=NOW) == "link-invalid"  # type: ignore[operator]


def test_another_servers_link_is_refused() -> None:
    assert code_of(check_link, OTHER_SECRET, link(), now=NOW) == "link-invalid"


def test_a_signature_for_another_purpose_makes_no_link() -> None:
    import base64
    import hmac

    text = link().rsplit(".", 1)[0]
    bare = base64.urlsafe_b64encode(hmac.digest(SECRET, text.encode(), "sha256")).rstrip(b"=").decode()
    assert code_of(check_link, SECRET, f"{text}.{bare}", now=NOW) == "link-invalid"


def test_a_link_is_good_until_it_expires_and_never_after() -> None:
    text = link(expires=NOW)
    assert code_of(check_link, SECRET, text, now=NOW - 0.001) == ""
    assert code_of(check_link, SECRET, text, now=NOW) == "link-expired"
    assert code_of(check_link, SECRET, link(), now=1e11) == ""


def test_an_expired_link_with_a_wrong_signature_is_called_invalid() -> None:
    assert code_of(check_link, OTHER_SECRET, link(expires=NOW), now=NOW + 1) == "link-invalid"


def test_another_version_is_named_before_the_signature_is_looked_at() -> None:
    assert code_of(check_link, SECRET, "2" + link()[1:], now=NOW) == "link-version"


def test_a_link_that_would_be_too_long_is_not_made_and_not_read() -> None:
    with pytest.raises(ConfigurationError, match="attributes"):
        link(attributes={"text": "x" * MAX_LINK_CHARS})
    assert code_of(check_link, SECRET, "1." + "A" * 10_000_000 + "." + "A" * 43, now=NOW) == "link-invalid"


@pytest.mark.parametrize("attributes", [{"a": object()}, {"a": [1]}, {"a": "\ud800"}, {1: {}}])
def test_attributes_that_could_not_be_read_back_make_no_link(attributes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="attributes"):
        link(attributes=attributes)


def test_a_short_secret_signs_nothing() -> None:
    with pytest.raises(ConfigurationError, match="link secret"):
        make_link(b"short", "P-1", entropy=random.Random(1))


def test_only_a_link_for_one_use_is_used_up() -> None:
    claims = check_link(SECRET, link(single_use=True), now=NOW)
    assert claims.link_id is not None
    assert use_of(claims, "p-1", now=NOW) == LinkUse(link_id=claims.link_id, participant_id="p-1", at=NOW)
    assert use_of(check_link(SECRET, link(), now=NOW), "p-1", now=NOW) is None


def test_links_for_one_use_differ_for_the_same_label() -> None:
    entropy = random.Random(1)
    assert len({make_link(SECRET, "P", entropy=entropy, single_use=True) for _ in range(50)}) == 50


@pytest.mark.parametrize("url", ["http://192.168.1.20:8765", "https://lab.example/tandem/", "http://[::1]:8765"])
def test_an_address_with_a_link_comes_apart_again(url: str) -> None:
    assert split_link(with_link(url, link())) == (url, link())
    assert split_link(f"  {url} ") == (url, None)


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("P-017", "P-017"),
        ("  Anna \t Müller\n", "Anna Müller"),
        ("Anna\u00a0Mu\u0308ller", "Anna Müller"),
        ("\ufeffP\u2013017\u200b", "P-017"),
        ("O\u2019Neill", "O'Neill"),
        ("\uff21\uff11", "A1"),
        ("Ольга", "Ольга"),
        ("हिन्दी", "हिन्दी"),
        ("小林 2", "小林 2"),
        ("a@b.example+x#3", "a@b.example+x#3"),
        ("x" * 64, "x" * 64),
    ],
)
def test_a_label_is_kept_in_one_form(typed: str, kept: str) -> None:
    assert clean_label(typed) == kept


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "label-empty"),
        (" \u200b\u00a0", "label-empty"),
        ("x" * 65, "label-length"),
        ("\ufdfa" * 20, "label-length"),  # each becomes 18 characters
        ("x" * 1_000_000, "label-length"),
        ("../../etc/passwd", "label-characters"),
        ("a\\b", "label-characters"),
        ("<b>x</b>", "label-characters"),
        ("a\x00b", "label-characters"),
        ("a\u202eb", "label-characters"),
        ("a\ud800", "label-characters"),
        ("\U0001f600", "label-characters"),
        ("\u0301a", "label-characters"),
        ("P\u0430ul", "label-mixed"),  # Cyrillic a
        ("\u03a1aul", "label-mixed"),  # Greek Rho
    ],
)
def test_a_label_that_may_not_be_is_refused_with_a_word(typed: str, code: str) -> None:
    assert code_of(clean_label, typed) == code


@given(st.text(max_size=100))
def test_a_cleaned_label_is_clean(text: str) -> None:
    try:
        label = clean_label(text)
    except SignalingError:
        return
    assert clean_label(label) == label
    assert 0 < len(label) <= MAX_LABEL_CHARS
    assert not set(label) & set('/\\:*?"<>|\x00\n\r')
    assert label_key(label) == label_key(label_key(label))


def test_capitals_do_not_tell_two_labels_apart() -> None:
    assert label_key("LAB03") == label_key("lab03") != label_key("lab04")
    assert label_key("Straße") == label_key("STRASSE")


# -- tokens and ids ---------------------------------------------------------------------------------------------------


def test_a_token_is_known_by_its_hash_alone() -> None:
    token = make_token(random.Random(3))
    kept = hash_token(token)
    assert kept == hashlib.sha256(token.encode()).hexdigest()
    assert token not in kept
    assert is_token(token, kept)
    assert not is_token(token[:-1] + ("A" if token[-1] != "A" else "B"), kept)
    assert not is_token(kept, kept)


@pytest.mark.parametrize("token", ["", "\ud800", "ü", "x" * 100_000])
def test_no_text_is_a_token_where_none_was_given(token: str) -> None:
    assert not is_token(token, "")
    assert not is_token(token, hash_token("another"))


def test_tokens_and_ids_have_the_form_that_the_messages_allow() -> None:
    token_form, id_form = (str(get_args(each)[1].pattern) for each in (Token, Name))
    entropy = random.Random(5)
    tokens, ids = {make_token(entropy) for _ in range(100)}, {make_id("p", entropy) for _ in range(100)}
    assert len(tokens) == len(ids) == 100
    assert all(re.search(token_form, token) for token in tokens)
    assert all(re.search(id_form, each) for each in ids)


# -- who may come -----------------------------------------------------------------------------------------------------


def someone(label: str, **fields: object) -> Participant:
    return Participant(id="p-1", study_id="s", label=label, **fields)  # type: ignore[arg-type]


OPEN, LOCKING, BY_LINK = JoinPolicy(), JoinPolicy(lock_finished=True), JoinPolicy(links_only=True)


@pytest.mark.parametrize(
    ("policy", "label", "earlier", "code"),
    [
        (OPEN, "Anna", someone("Anna", finished=True), ""),
        (LOCKING, "Anna", someone("Anna", finished=True), "already-finished"),
        (LOCKING, " ANNA ", someone("anna", finished=True), "already-finished"),
        (LOCKING, "Anna", someone("Anna", state="playing"), ""),
        (LOCKING, "Bob", someone("Anna", finished=True, locked=True), ""),
        (LOCKING, "Anna", someone("Anna", finished=True, bot=True), ""),
        (LOCKING, "", someone("", finished=True, locked=True), ""),
        (OPEN, "Anna", someone("Anna", locked=True), "locked-out"),
        (BY_LINK, "Anna", someone("Bob"), "link-needed"),
        (OPEN, "a/b", someone("Bob"), "label-characters"),
    ],
)
def test_who_may_come_is_what_the_policy_says(policy: JoinPolicy, label: str, earlier: Participant, code: str) -> None:
    assert code_of(admit, policy, label=label, claims=None, earlier=[someone("Carl", finished=True), earlier]) == code


def test_a_links_label_goes_before_what_was_typed() -> None:
    claims = LinkClaims(label="Anna", attributes={"group": "B"})
    assert admit(BY_LINK, label="Bob", claims=claims, earlier=[]) == ("Anna", {"group": "B"})
    assert admit(OPEN, label=" Bob ", claims=None, earlier=[]) == ("Bob", {})
    done = [someone("Anna", finished=True)]
    assert code_of(admit, LOCKING, label="Bob", claims=claims, earlier=done) == "already-finished"
