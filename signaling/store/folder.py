"""The data folder's secrets: made once by whoever comes first, and the same ever after. Edge: files."""

from __future__ import annotations

import logging
import os
import re
import secrets
import stat
import sys
from pathlib import Path

from p2pclient.common.errors import StoreError

log = logging.getLogger("tandem.server")

SECRET_BYTES = 32
LINK_SECRET = "link-secret"
"""Signs join links. Whoever has it can make any."""
_FORM = re.compile(rb"[0-9a-f]{%d}\n" % (2 * SECRET_BYTES))


def secret_of(folder: Path, name: str) -> bytes:
    """Return a secret of a data folder, :data:`SECRET_BYTES` long; it is made if there is none.

    Two programs that ask at once get the same. The file is for its owner only, where the disk knows owners.

    Raises:
        StoreError: it cannot be made or read, or is none; says what to do.
    """
    path = folder / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        with path.open("rb") as file:
            text = file.read(1024)
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise StoreError(f"{path} cannot be made or read: {error}. Check the folder's permissions.") from None
    if _FORM.fullmatch(text) is None:
        raise StoreError(
            f"{path} is damaged. Put back a copy of it; or delete it, then start again: a new one is made, "
            "and what the old one has signed is no longer valid."
        )
    if sys.platform != "win32" and mode & 0o077:
        log.warning("%s can be read by other users of this machine: chmod 600 it", path)
    return bytes.fromhex(text.decode())


def _make(path: Path) -> None:
    """Write a new secret whole to the disk, then give it its name, unless another program was faster."""
    beside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(SECRET_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if sys.platform == "win32":
            os.rename(beside, path)  # there, this fails if the name is taken
        else:
            os.link(beside, path)
    except FileExistsError:
        pass  # another program was faster, and its secret is the one
    finally:
        beside.unlink(missing_ok=True)
