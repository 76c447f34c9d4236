"""Whose certificates this computer believes: the system's, or one file that the person or ``tandem.toml`` names."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path

from p2pclient.common.errors import ConfigurationError
from p2pclient.settings.tandem_file import TandemFile, find_tandem_file


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """``--ca``."""
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="for https: the certificate of who signed the server's, or the server's own (default: what this "
        "computer's system trusts)",
    )
    parser.add_argument("--pinned", type=Path, help=argparse.SUPPRESS)


def trust_of(arguments: argparse.Namespace, file: TandemFile | None = None) -> ssl.SSLContext | None:
    """Return what servers' certificates are checked with; None for what the system trusts.

    Raises:
        ConfigurationError: the file cannot be read, or holds no certificate.
    """
    if arguments.pinned is not None:
        # A bot that the server starts comes by the loopback interface, for which the certificate need not be.
        context = trust(arguments.pinned)
        context.check_hostname = False
        return context
    file = find_tandem_file() if file is None else file
    if arguments.ca is not None:
        return trust(arguments.ca)
    if file.ca is None:
        return None
    return trust((file.path.parent if file.path else Path()) / file.ca)


def trust(path: Path) -> ssl.SSLContext:
    """Return a context that believes what is in a file, and nothing else."""
    try:
        context = ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ConfigurationError("--ca", str(path), "a certificate in PEM form, as openssl writes it") from None
    except OSError as error:
        raise ConfigurationError("--ca", f"{path} ({error.strerror or error})", "a file that can be read") from None
    # So that the server's own certificate can be named, too, also where it is not signed by itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
