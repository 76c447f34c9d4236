"""Passwords of the console: how they are hashed, checked and thought up. Pure: salts come from outside.

A hash says how it was made, so that costs can grow without anybody losing access:
``$scrypt$ln=15,r=8,p=3$SALT$HASH`` (RFC 7914) or ``$pbkdf2-sha256$i=600000$SALT$HASH`` (RFC 8018), in base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata

import msgspec

from p2pclient.common.errors import ConfigurationError
from signaling.identity import Entropy

MIN_PASSWORD_CHARS = 8
"""NIST SP 800-63B, 5.1.1.2; nothing else is asked of a password there, for good reasons."""
MAX_PASSWORD_CHARS = 256
SALT_BYTES = 16
_HASH_BYTES = 32

_FORM = re.compile(r"\$(scrypt|pbkdf2-sha256)\$([a-z0-9=,]{1,60})\$([A-Za-z0-9+/]{1,88})\$([A-Za-z0-9+/]{1,88})")
_SCRYPT = re.compile(r"ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})")
_PBKDF2 = re.compile(r"i=([0-9]{1,8})")
_PLAIN = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 signs, none of which looks like another."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """How long a guess takes. The scrypt figures are one of OWASP's equivalent sets, and so is the count for PBKDF2.

    https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html. Of these, one with 32 MB, because
    several may log in at once on a laptop; about half a second of one core.
    """

    log2_n: int = 15
    r: int = 8
    p: int = 3
    iterations: int = 600_000
    """Of PBKDF2, where there is no scrypt."""


DEFAULT_COST = Cost()
_MOST = Cost(log2_n=20, r=16, p=16, iterations=10_000_000)
"""A hash that asks for more was not made by this program; a file must not be able to hang the server."""


def has_scrypt() -> bool:
    """Does this interpreter's OpenSSL have scrypt? Otherwise PBKDF2 is used, which needs no memory to guess."""
    return hasattr(hashlib, "scrypt")


def check_new_password(password: str) -> None:
    """Raise ConfigurationError unless this may be a password. The message does not show it."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        allowed = f"{MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters, of any kind"
        raise ConfigurationError("the password", f"{len(password)} characters", allowed)


def make_password(entropy: Entropy) -> str:
    """Return a new password that can be read out and typed: 80 bits in four groups."""
    signs = [_PLAIN[entropy.getrandbits(5)] for _ in range(16)]
    return "-".join("".join(signs[start : start + 4]) for start in range(0, 16, 4))


def hash_password(password: str, *, salt: bytes, cost: Cost = DEFAULT_COST, scrypt: bool | None = None) -> str:
    """Return what is kept of a password.

    Args:
        salt: :data:`SALT_BYTES` of the system's entropy, new for every hash.
        scrypt: whether to use it; None: if there is one.
    """
    if has_scrypt() if scrypt is None else scrypt:
        digest = _scrypt(password, salt, cost)
        return f"$scrypt$ln={cost.log2_n},r={cost.r},p={cost.p}${_base64(salt)}${_base64(digest)}"
    digest = _pbkdf2(password, salt, cost)
    return f"$pbkdf2-sha256$i={cost.iterations}${_base64(salt)}${_base64(digest)}"


def verify_password(password: str, kept: str) -> bool:
    """Is this the password of which ``kept`` is the hash? Takes the whole cost, whatever the answer.

    Raises:
        ConfigurationError: ``kept`` is none, or this interpreter lacks what it was made with; says what to do.
    """
    kind, cost, salt, digest = _parse(kept)
    if len(password) > MAX_PASSWORD_CHARS:
        return False
    if kind == "scrypt" and not has_scrypt():
        allowed = "one that this Python knows; it has no scrypt. Set the password again with `tandem account`"
        raise ConfigurationError("the password's hash", "scrypt", allowed)
    made = _scrypt(password, salt, cost) if kind == "scrypt" else _pbkdf2(password, salt, cost)
    return hmac.compare_digest(made, digest)


def needs_rehash(kept: str, *, cost: Cost = DEFAULT_COST, scrypt: bool | None = None) -> bool:
    """Would the hash be made otherwise today? Then hash the password again when it is next typed.

    Raises:
        ConfigurationError: see :func:`verify_password`.
    """
    kind, used, _, _ = _parse(kept)
    wanted = has_scrypt() if scrypt is None else scrypt
    if kind != ("scrypt" if wanted else "pbkdf2-sha256"):
        return True
    if kind == "scrypt":
        return (used.log2_n, used.r, used.p) != (cost.log2_n, cost.r, cost.p)
    return used.iterations != cost.iterations


def _parse(kept: str) -> tuple[str, Cost, bytes, bytes]:
    found = _FORM.fullmatch(kept)
    figures = found and (_SCRYPT if found[1] == "scrypt" else _PBKDF2).fullmatch(found[2])
    if found and figures:
        numbers = [int(number) for number in figures.groups()]
        if found[1] == "scrypt":
            cost = Cost(log2_n=numbers[0], r=numbers[1], p=numbers[2])
        else:
            cost = Cost(iterations=numbers[0])
        most, least = msgspec.structs.astuple(_MOST), min(msgspec.structs.astuple(cost))
        if least >= 1 and all(each <= limit for each, limit in zip(msgspec.structs.astuple(cost), most, strict=True)):
            try:
                return found[1], cost, _from_base64(found[3]), _from_base64(found[4])
            except ValueError:
                pass  # said below
    allowed = "one that this program has made. Set the password again with `tandem account`"
    raise ConfigurationError("the password's hash", "(not shown)", allowed)


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    n = 1 << cost.log2_n
    memory = 128 * cost.r * (n + cost.p + 2)  # RFC 7914, 2, and what OpenSSL adds; its own limit is 32 MB
    return hashlib.scrypt(
        _normal(password), salt=salt, n=n, r=cost.r, p=cost.p, maxmem=memory + (1 << 20), dklen=_HASH_BYTES
    )


def _pbkdf2(password: str, salt: bytes, cost: Cost) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", _normal(password), salt, cost.iterations, _HASH_BYTES)


def _normal(password: str) -> bytes:
    """Return the bytes of a password, the same from every keyboard (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode(errors="replace")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
