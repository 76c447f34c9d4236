"""Who somebody is: labels, signed join links, and the tokens by which a client that comes back is known.

Pure: the time and the entropy come from outside. Entropy for anything here must be the system's
(``random.SystemRandom()``), also where a seed fixes the matches: whoever knows the seed would know every token.

A signed link is ``1.CLAIMS.SIGNATURE``: a version, the claims as JSON, and HMAC-SHA256 over both (RFC 2104), each in
base64url without padding (RFC 4648, 5). It is compared as text, so there is exactly one text for one link. Nothing in
it is secret; nobody without the server's secret can make or change one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Protocol

import msgspec

from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.join_link import MAX_LINK_CHARS as MAX_LINK_CHARS
from p2pclient.common.join_link import split_link as split_link
from p2pclient.common.join_link import with_link as with_link
from p2pclient.common.room_messages import Name
from signaling.store.interface import LinkUse, Participant

MAX_LABEL_CHARS = 64
SECRET_BYTES = 32
"""As long as the output of the hash: RFC 2104, 3."""
_LINK_VERSION = "1"
_PURPOSE = b"tandem join link\n"
"""Signed along, so that what the same secret signs for another purpose is never a link."""
_LINK = re.compile(r"([0-9]{1,3})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")

REFUSALS: Mapping[str, str] = {
    "label-empty": "Enter a name or a code.",
    "label-length": f"The name is too long: at most {MAX_LABEL_CHARS} characters.",
    "label-characters": "The name may have letters, digits, spaces and - _ . ' @ + # only.",
    "label-mixed": "The name mixes alphabets with letters that look alike. Type it again, on one keyboard layout.",
    "link-needed": "This study can be joined by a personal link only. Ask the researcher for yours.",
    "link-invalid": "This link is not one of this study's, or a part of it is missing. Copy the whole of it again, or "
    "ask the researcher for a new one.",
    "link-version": "This link was made for another version of the server. Ask the researcher for a new one.",
    "link-expired": "This link has expired. Ask the researcher for a new one.",
    "link-used": "This link has been used already, and it is good for one use. Ask the researcher for a new one.",
    "already-finished": "You have taken part in this study already. Thank you! If that is not so, tell the researcher.",
    "locked-out": "You cannot take part in this study any more. If you think that is wrong, tell the researcher.",
}
"""Every code with which somebody can be refused here, with the sentence for people."""


class Entropy(Protocol):
    """Where ids, seeds and tokens come from: ``random.SystemRandom()``; in tests, ``random.Random(seed)``."""

    def getrandbits(self, k: int, /) -> int: ...


class IdentityRefusal(SignalingError):
    """Somebody is refused; ``label`` is whose link it was, empty if nothing that was signed says so."""

    def __init__(self, code: str, label: str = "") -> None:
        super().__init__(code, REFUSALS[code])
        self.label = label


def refusal(code: str, label: str = "") -> IdentityRefusal:
    """Return the error for a stable ``code`` of :data:`REFUSALS`."""
    return IdentityRefusal(code, label)


# ---------------------------------------------------------------------------------------------------------------------
# Ids and tokens


def make_id(kind: str, entropy: Entropy) -> str:
    """Return a new id, such as ``p-`` and 16 hex digits. Files are named by ids, never by what a client said."""
    return f"{kind}-{entropy.getrandbits(64):016x}"


def make_token(entropy: Entropy) -> str:
    """Return a new secret of 256 bits, for its owner alone; the server keeps :func:`hash_token` of it."""
    return _base64(entropy.getrandbits(256).to_bytes(32, "big"))


def hash_token(token: str) -> str:
    """Return what is kept of a token. One SHA-256 is right: nobody guesses 256 bits, however fast the hash is."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def is_token(token: str, kept: str) -> bool:
    """Is this the token of which ``kept`` is the hash? Takes equally long wherever they differ. False for no hash."""
    return hmac.compare_digest(hash_token(token).encode(), kept.encode(errors="replace"))


# ---------------------------------------------------------------------------------------------------------------------
# Labels

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"), "-")
_QUOTES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u00b4\u0060\uff07"), "'")
_INVISIBLE = dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0x00AD))
_SIGNS = frozenset(" -_.'@+#")
_LOOK_ALIKE = ("LATIN", "CYRILLIC", "GREEK")
"""Alphabets with letters of one shape. Unicode TR 39, 5.1, keeps all scripts apart; these are what matters."""


def clean_label(text: str) -> str:
    """Return a label as it is kept and shown: what was copied from a mail or a table is the same as what was typed.

    Kinds of spaces, dashes and apostrophes become one of each, spaces around and twice go, wide and composed letters
    take their plain form (NFKC), what is invisible goes.

    Raises:
        SignalingError: ``label-empty``, ``label-length``, ``label-characters`` or ``label-mixed``.
    """
    if len(text) > 4 * MAX_LABEL_CHARS:  # before anything is done with it
        raise refusal("label-length")
    # Signs first: NFKC makes a space and an accent of a lone accent.
    plain = unicodedata.normalize("NFKC", text.translate({**_DASHES, **_QUOTES, **_INVISIBLE}))
    label = " ".join(plain.split())
    if not label:
        raise refusal("label-empty")
    if len(label) > MAX_LABEL_CHARS:
        raise refusal("label-length")
    if not all(character in _SIGNS or _is_letter(character) for character in label):
        raise refusal("label-characters")
    if unicodedata.category(label[0])[0] == "M":  # an accent on nothing
        raise refusal("label-characters")
    names = (unicodedata.name(character, "") for character in label)
    if len({alphabet for name in names for alphabet in _LOOK_ALIKE if name.startswith(alphabet)}) > 1:
        raise refusal("label-mixed")
    return label


def label_key(label: str) -> str:
    """Return what is equal for two labels that mean the same person: ``Lab03`` and ``LAB03``."""
    return unicodedata.normalize("NFKC", label.casefold())


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "L" or category in ("Mn", "Mc", "Nd")


# ---------------------------------------------------------------------------------------------------------------------
# Signed links

Attribute = str | int | float | bool | None


class LinkClaims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a signed link says of whoever comes with it."""

    label: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_CHARS)]
    expires: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None = None
    """Seconds since 1970; None: never."""
    link_id: Name | None = None
    """Set if it is good for one use; see :func:`use_of`."""
    attributes: dict[str, Attribute] = {}
    """Of the participant, for the matcher and the record: ``{"group": "A"}``."""


def make_link(
    secret: bytes,
    label: str,
    *,
    entropy: Entropy,
    expires: float | None = None,
    single_use: bool = False,
    attributes: Mapping[str, Attribute] | None = None,
) -> str:
    """Return a signed link, the text without an address.

    Raises:
        SignalingError: the label may not be; see :func:`clean_label`.
        ConfigurationError: the attributes are too large, or not what JSON can hold.
    """
    claims = LinkClaims(
        label=clean_label(label),
        expires=None if expires is None else int(expires),
        link_id=make_id("l", entropy) if single_use else None,
        attributes=dict(attributes or {}),
    )
    try:
        text = f"{_LINK_VERSION}.{_base64(msgspec.json.encode(claims))}"
        msgspec.json.decode(msgspec.json.encode(claims), type=LinkClaims)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            "attributes", attributes, f"names with texts, numbers or true/false ({error})"
        ) from None
    link = f"{text}.{_signature(secret, text)}"
    if len(link) > MAX_LINK_CHARS:
        raise ConfigurationError(
            "attributes", f"{len(link)} characters", f"a link of at most {MAX_LINK_CHARS} characters"
        )
    return link


def check_link(secret: bytes, text: str, *, now: float) -> LinkClaims:
    """Return what a link says, if this server has signed exactly this text.

    Args:
        now: seconds since 1970.

    Raises:
        SignalingError: ``link-invalid``, ``link-version`` or ``link-expired``. That one for a single use was used is
            for the store to say: :func:`use_of`.
    """
    found = _LINK.fullmatch(text) if len(text) <= MAX_LINK_CHARS else None
    if found is None:
        raise refusal("link-invalid")
    version, claims_text, signature = found.groups()
    if version != _LINK_VERSION:
        raise refusal("link-version")
    if not hmac.compare_digest(_signature(secret, f"{version}.{claims_text}"), signature):
        raise refusal("link-invalid")
    try:
        claims = msgspec.json.decode(
            base64.urlsafe_b64decode(claims_text + "=" * (-len(claims_text) % 4)), type=LinkClaims
        )
    except ValueError:  # signed by us, so by a version that does not know the number of its form
        raise refusal("link-version") from None
    if claims.expires is not None and now >= claims.expires:
        raise refusal("link-expired", claims.label)
    return claims


def use_of(claims: LinkClaims, participant_id: str, *, now: float) -> LinkUse | None:
    """Return the record that uses up a link, None for one that may be used again.

    The store refuses it with ``link-used`` if another participant has used the link. So it is written in one batch
    with the participant.
    """
    if claims.link_id is None:
        return None
    return LinkUse(link_id=claims.link_id, participant_id=participant_id, at=now)


def _signature(secret: bytes, text: str) -> str:
    if len(secret) < SECRET_BYTES:
        raise ConfigurationError("link secret", f"{len(secret)} bytes", f"at least {SECRET_BYTES} bytes")
    return _base64(hmac.digest(secret, _PURPOSE + text.encode(), "sha256"))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# ---------------------------------------------------------------------------------------------------------------------
# Who may come


class JoinPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Who may join a study."""

    links_only: bool = False
    """True: nobody without a signed link."""
    lock_finished: bool = False
    """True: whoever has finished does not come again under the same label."""


def admit(
    policy: JoinPolicy, *, label: str, claims: LinkClaims | None, earlier: Iterable[Participant]
) -> tuple[str, Mapping[str, Attribute]]:
    """Return the label under which somebody comes in, and its attributes. A link's label goes before what was typed.

    Not for who comes back with a token, and not for bots. An empty label is nobody in particular, and allowed where
    no link is needed. That a label has one live client at a time is the room's to see to.

    Args:
        claims: of a link that :func:`check_link` has checked; None without one.
        earlier: the participants that the study has had.

    Raises:
        SignalingError: ``link-needed``, ``already-finished``, ``locked-out``, or what :func:`clean_label` raises.
    """
    if claims is None and policy.links_only:
        raise refusal("link-needed")
    if claims is None and not label.strip():
        return "", {}
    own = clean_label(claims.label if claims else label)
    key = label_key(own)
    for participant in earlier:
        if participant.bot or label_key(participant.label) != key:
            continue
        if participant.locked:
            raise refusal("locked-out")
        if participant.finished and policy.lock_finished:
            raise refusal("already-finished")
    return own, claims.attributes if claims else {}
