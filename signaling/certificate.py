"""The server's certificate: read, checked before anybody comes, and what it is good for. Edge: files."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from p2pclient.common.errors import ConfigurationError

_log = logging.getLogger("tandem.server")

_MAX_BYTES = 1 << 20
_SOON_DAYS = 14


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key."""

    file: Path
    context: ssl.SSLContext
    names: tuple[str, ...]
    """The computers and addresses that it is for; wildcards are left out."""
    not_before: datetime
    not_after: datetime

    def troubles(self, now: datetime) -> list[str]:
        """Return what would keep clients away, as sentences."""
        found = []
        if now >= self.not_after:
            found.append(f"The certificate {self.file} expired on {self.not_after:%Y-%m-%d}: nobody can join with it.")
        elif (self.not_after - now).days < _SOON_DAYS:
            found.append(f"The certificate {self.file} expires on {self.not_after:%Y-%m-%d}.")
        if now < self.not_before:
            found.append(
                f"The certificate {self.file} is good from {self.not_before:%Y-%m-%d %H:%M} UTC on only; "
                "is this computer's clock right?"
            )
        if not self.names:
            found.append(
                f"The certificate {self.file} names no computer (subjectAltName): clients need the name or address "
                "by which they join in it."
            )
        return found


def read_certificate(file: Path, key: Path) -> Certificate:
    """Read the certificate, with whatever chain is in the file, and its key.

    Raises:
        ConfigurationError: one of them cannot be read, or they do not belong together; says what to do.
    """
    raw = _read(file, "--tls-cert")
    _read(key, "--tls-key")
    try:
        first = x509.load_pem_x509_certificate(raw)
    except ValueError:
        raise ConfigurationError("--tls-cert", str(file), "a certificate in PEM form, as openssl writes it") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(file, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError("--tls-key", str(key), f"the key of the certificate {file}") from None
        raise ConfigurationError("--tls-key", str(key), "its private key in PEM form, without a password") from None
    except OSError as error:
        raise ConfigurationError("--tls-cert and --tls-key", str(error), "two files that can be read") from None
    return Certificate(file, context, _names(first), first.not_valid_before_utc, first.not_valid_after_utc)


def warn_of(certificate: Certificate) -> None:
    """Log what would keep clients away."""
    for each in certificate.troubles(datetime.now(UTC)):
        _log.warning("%s", each)


def _read(path: Path, flag: str) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(flag, f"{path} ({error.strerror or error})", "a file that can be read") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigurationError(flag, f"{path}, {len(raw)} bytes or more", f"at most {_MAX_BYTES} bytes")
    return raw


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    names = [each for each in said.get_values_for_type(x509.DNSName) if "*" not in each]
    return (*names, *(str(each) for each in said.get_values_for_type(x509.IPAddress)))
