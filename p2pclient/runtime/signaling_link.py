"""One Socket.IO connection to the signaling server, from the first attempt to its end."""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import msgspec

from p2pclient.common import tls_errors
from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import MAX_EVENT_BYTES, ClientMessage, Refused, encode_event
from p2pclient.common.path_messages import Relay
from p2pclient.runtime.relay_outbox import RelayOutbox

_log = logging.getLogger("tandem.signaling_client")

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 5.0
MAX_QUEUED_PACKETS = 4
"""That the library has not written, beyond which nothing more is relayed for a moment."""
TLS_TRIED_S = 2.0


class SignalingLink:
    """One connection; never used again once it is lost."""

    def __init__(self, socketio: Any, on_event: Callable[[str, Any], None], on_lost: Callable[[], None]) -> None:
        self.is_open = False
        self._is_closed = False
        self._on_event = on_event
        self._on_lost = on_lost
        self._refusal: SignalingError | None = None
        self._pending: set[asyncio.Future[Any]] = set()
        self._url = ""
        self._session: Any = None
        self._sio = socketio
        self._relays = RelayOutbox(self._send_relay)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        on_event: Callable[[str, Any], None],
        on_lost: Callable[[], None],
        trust: ssl.SSLContext | None = None,
    ) -> SignalingLink:
        """Connect, or raise :class:`SignalingError`. ``trust`` checks certificates; None: as the system does."""
        # In a thread: importing takes 0.1 s or more, and the loop that runs a match must not wait for it.
        socketio = await asyncio.to_thread(importlib.import_module, "socketio")
        aiohttp = await asyncio.to_thread(importlib.import_module, "aiohttp")
        # A session of our own: the library leaves the one that it makes open when it fails.
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=True if trust is None else trust))
        quiet = logging.getLogger("tandem.signaling_client.socketio")
        quiet.setLevel(logging.CRITICAL)
        sio = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            http_session=session,
            websocket_extra_options={"max_msg_size": 4 * MAX_EVENT_BYTES},
            logger=quiet,
            engineio_logger=quiet,
        )
        link = cls(sio, on_event, on_lost)
        link._session, link._url = session, url
        sio.on("disconnect", link._lost)
        sio.on("connect_error", link._refused)
        sio.on("*", link._event)
        try:
            await link._connect()
        except BaseException:
            await link.close()
            raise
        return link

    async def _connect(self) -> None:
        started = perf_counter()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._sio.connect(self._url, transports=["websocket"], wait_timeout=CONNECT_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, a hostile server's answer ends up here
            _log.debug("connecting to %s failed after %.1f s: %r", self._url, perf_counter() - started, error)
            failed = self._refusal or _connect_error(self._url, error)
            if failed.code == "not-a-server" and _is_silent(error) and await _speaks_tls(self._url):
                failed = signaling_error("needs-https", self._url)
            raise failed from None
        self.is_open = True

    async def request(self, message: ClientMessage) -> None:
        """Send, and wait for the acknowledgement; raises :class:`SignalingError` for anything but a yes."""
        if not self.is_open:
            raise signaling_error("not-connected", self._url)
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending.add(answered)

        def on_answer(*answer: Any) -> None:
            if not answered.done():
                answered.set_result(answer[0] if answer else None)

        event, payload = encode_event(message)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await self._sio.emit(event, payload, callback=on_answer)
                _check_answer(await answered, self._url)
        except TimeoutError:
            raise signaling_error("timeout", self._url) from None
        finally:
            self._pending.discard(answered)

    def relay(self, relay: Relay) -> bool:
        """Let the server relay something, without an acknowledgement; False if it is not taken."""
        return self.is_open and self._relays.push(relay)

    async def _send_relay(self, relay: Relay) -> None:
        try:
            await self._sio.emit(*encode_event(relay))
            if self._sio.eio.queue.qsize() > MAX_QUEUED_PACKETS:
                # What waits there cannot be taken back; here, newer inputs take the place of older ones.
                await self._sio.eio.queue.join()
        except Exception as error:  # noqa: BLE001 - whatever the library makes of it, the connection has ended
            _log.debug("relaying failed: %r", error)

    @property
    def local_address(self) -> str:
        """Our end of it; empty if that is not known."""
        name = self._sio.eio.ws.get_extra_info("sockname") if self.is_open and self._sio.eio.ws is not None else None
        return str(name[0]).partition("%")[0] if name else ""

    def silence(self) -> None:
        """Take nothing from it any more; what is asked for fails at once. It is still to be closed."""
        self._is_closed = True
        self._relays.clear()
        self._lost_quietly()

    async def close(self) -> None:
        self.silence()
        await self._relays.close()
        try:
            async with asyncio.timeout(1.0):
                await self._sio.disconnect()
        except Exception as error:  # noqa: BLE001 - it is over either way
            _log.debug("closing the connection: %r", error)
        await self._session.close()

    # -- called by the library ----------------------------------------------------------------------------------------

    async def _event(self, event: str, *arguments: Any) -> None:
        if not self._is_closed and (self.is_open or not self._refusal):
            self._on_event(event, arguments[0] if len(arguments) == 1 else None)

    async def _refused(self, reason: Any = None) -> None:
        """Keep what the server says when it refuses the connection."""
        try:
            said = msgspec.convert(reason, _ConnectRefusal)
        except msgspec.ValidationError:
            return
        self._refusal = SignalingError(said.data[:64], said.message[:1000])

    async def _lost(self, reason: Any = None) -> None:
        was_open = self.is_open
        self._lost_quietly()
        if was_open:
            self._on_lost()

    def _lost_quietly(self) -> None:
        self.is_open = False
        for each in self._pending:
            if not each.done():
                each.set_exception(signaling_error("connection-lost", self._url))


class _ConnectRefusal(msgspec.Struct):
    """python-socketio's shape of a refused connection: our code is in ``data``."""

    message: str
    data: str


class _Answer(msgspec.Struct):
    ok: bool = False
    refused: Refused | None = None


def _check_answer(answer: Any, url: str) -> None:
    try:
        checked = msgspec.convert(answer, _Answer)
    except msgspec.ValidationError:
        raise signaling_error("bad-server", url) from None
    if checked.refused is not None:
        raise SignalingError(checked.refused.code, checked.refused.message)
    if not checked.ok:
        raise signaling_error("bad-server", url)


_TURNED_AWAY = {429: "rate-limited", 503: "full"}
_SENTENCES = {
    "rate-limited": "Too many connections come from this network to the server at {url}. Wait a moment, and try again.",
    "full": "The server at {url} is full. Try again later.",
    "unreachable": "No server answers at {url}. Is it started (tandem serve), is the address right, are both computers "
    "on the same network, and does the server's firewall let this port through?",
    "unknown-host": "No computer with the name in {url} can be found. Check the spelling, or use its IP address.",
    "not-a-server": "Something answers at {url}, but it is no Tandem server. Check the address and the port.",
    "not-connected": "There is no connection to the server at {url} at the moment; it is tried again all the time.",
    "connection-lost": "The connection to the server at {url} was lost; it is tried again all the time.",
    "timeout": "The server at {url} did not answer in time. Try again.",
    "bad-server": "The server at {url} answered with something that this program cannot read. Upgrade the older one.",
    **tls_errors.SENTENCES,
}


def signaling_error(code: str, url: str) -> SignalingError:
    """Return the error for one of the codes that arise on this side."""
    return SignalingError(code, _SENTENCES[code].format(url=url or "(none)"))


def _connect_error(url: str, error: BaseException) -> SignalingError:
    """Find out why a connection failed: the library hides the cause one or two exceptions deep."""
    names = set()
    cause: BaseException | None = error
    while cause is not None:
        code = tls_code(cause)
        if code:
            return signaling_error(code, url)
        if getattr(cause, "status", None) in _TURNED_AWAY:
            return signaling_error(_TURNED_AWAY[cause.status], url)  # type: ignore[attr-defined]
        names.add(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    if names & {"ClientConnectorDNSError", "gaierror"}:
        return signaling_error("unknown-host", url)
    unreachable = {"ClientConnectorError", "ConnectionRefusedError", "TimeoutError", "CancelledError", "OSError"}
    if names & unreachable:
        return signaling_error("unreachable", url)
    return signaling_error("not-a-server", url)


def tls_code(error: BaseException) -> str:
    """Return what is wrong with a server's TLS, a code of :mod:`~p2pclient.common.tls_errors`; empty for others."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return tls_errors.code_of(inner.verify_code)
    return "not-https" if isinstance(inner, ssl.SSLError) else ""


def _is_silent(error: BaseException) -> bool:
    """Was the connection ended without an answer, as by a server that waits for TLS."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in ("ServerDisconnectedError", "ClientOSError", "ConnectionResetError"):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


async def _speaks_tls(url: str) -> bool:
    """Is what answers at a URL with ``http`` a server that wants ``https``. Nothing is told to it."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(TLS_TRIED_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=anybody)
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True
