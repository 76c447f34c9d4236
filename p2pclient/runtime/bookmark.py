"""Where this client waits or plays, noted in its folder: whoever starts it again after a crash is known by it.

One small file per client that waits or plays, under a name of its own, because clients may share a folder. It is taken
over only by a client that was started for the same server, label and bot, on the same machine, once the process that
wrote it is gone. The token in it proves to the server who that is, so that only its owner may read the file, where
the system can see to that. Whether the match goes on without that client, the server knows.
"""

from __future__ import annotations

import hashlib
import logging
import platform
from pathlib import Path

import msgspec
import psutil

from p2pclient.common.errors import RecordingError
from p2pclient.common.lobby_messages import LastMatch
from p2pclient.common.room_messages import Token
from p2pclient.recorder.manifest import replace_file

log = logging.getLogger("tandem.client")

_PATTERNS = (".in-match-*.json", ".waiting-*.json")
_MAX_BYTES = 8192
_SAME_START_S = 2.0
"""The system tells when a process began to about a second, if its clock is set meanwhile; a number comes back later."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What makes two starts of a client the same client."""

    url: str
    """As it was typed."""
    label: str
    bot: str | None
    link: str = ""
    """See :func:`link_mark`."""


def link_mark(link: str | None) -> str:
    """Return what tells one personal link from another, and from none, without being it."""
    return "" if link is None else hashlib.sha256(link.encode()).hexdigest()


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the file."""

    last_match: LastMatch | None
    """None for one who waited."""
    command: Command
    machine: str
    process: int
    process_began: float
    """Seconds since 1970."""
    token: Token | None = None


class Bookmark:
    """The note of one client about where it is. Its methods wait for the disk.

    Args:
        folder: where the client records.
        command: how it was started.
    """

    def __init__(self, folder: Path, command: Command) -> None:
        self._folder = folder
        self._command = command
        self._path: Path | None = None
        self.token: str | None = None
        """Of the process whose note was taken; proves to the server who that was. Never logged."""

    def take(self) -> LastMatch | None:
        """Return the match in which a process like this one was when it ended without a word; it is forgotten here.

        None if there is no such process, or if it waited; :attr:`token` is its token then.
        Of several, the one that began last. Of two clients that ask at once, one gets it.
        """
        paths = [path for pattern in _PATTERNS for path in self._folder.glob(pattern)]
        found = [(path, note) for path in paths if (note := _read(path)) is not None]
        found.sort(key=lambda each: each[1].process_began, reverse=True)
        for path, note in found:
            if note.command != self._command or note.machine != platform.node() or _is_alive(note):
                continue
            try:
                path.unlink()
            except FileNotFoundError:
                continue  # another client took it in this moment
            except OSError as error:
                log.warning("%s cannot be taken over: %s", path, error)
                continue
            self.token = note.token
            return note.last_match
        return None

    def put(self, last_match: LastMatch, token: str | None = None) -> None:
        """Note the match that begins. That it cannot be noted is logged, and no reason not to play."""
        self._put(f".in-match-{last_match.match_id}-{last_match.client_id}.json", last_match, token)

    def put_waiting(self, client_id: str, token: str | None) -> None:
        """Note that this client waits, so that it keeps its place if it is killed and started again soon."""
        self._put(f".waiting-{client_id}.json", None, token)

    def _put(self, name: str, last_match: LastMatch | None, token: str | None) -> None:
        self.remove()
        path = self._folder / name
        own = psutil.Process()
        note = _Note(
            last_match=last_match,
            command=self._command,
            machine=platform.node(),
            process=own.pid,
            process_began=own.create_time(),
            token=token,
        )
        try:
            replace_file(path, msgspec.json.encode(note))
            path.chmod(0o600)
        except OSError as error:
            log.warning("%s may be read by others: %s", path, error)
        except RecordingError as error:
            log.warning("after a crash, this client will not be brought back to its match: %s", error)
            return
        self._path = path

    def remove(self) -> None:
        """The match is over for this client. Harmless twice."""
        path, self._path = self._path, None
        if path is not None:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be removed: %s", path, error)


def _read(path: Path) -> _Note | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=_Note)
    except FileNotFoundError:
        return None  # its client is done with it
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        log.warning("%s cannot be read: %s", path, error)
        return None


def _is_alive(note: _Note) -> bool:
    """Does the process that wrote a note still run, rather than another one under its number."""
    try:
        process = psutil.Process(note.process)
        same = abs(process.create_time() - note.process_began) < _SAME_START_S
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True  # another user's; it may be the one that wrote this
