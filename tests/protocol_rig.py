"""Two endpoints side by side, what carries bytes between them, and what a stranger would send."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from p2pclient.protocol.control import Envelope, encode_control
from p2pclient.protocol.datagram import Datagram, encode_datagram
from p2pclient.protocol.endpoint import Endpoint, EndpointConfig, Event, InputReceived

CONNECTION = 0x1234
CHAIN = b"chain123"


def is_small(seat: int, value: bytes) -> bool:
    """Valid inputs of the tests: every byte below 128."""
    return all(byte < 128 for byte in value)


def make_endpoint(
    *, local_width: int = 2, remote_widths: tuple[int, ...] = (2,), is_valid: Callable[[int, bytes], bool] = is_small
) -> Endpoint:
    return Endpoint(EndpointConfig(CONNECTION, local_width, remote_widths, is_valid), now=0.0)


def make_pair() -> tuple[Endpoint, Endpoint]:
    return make_endpoint(), make_endpoint()


def value(number: int) -> bytes:
    return bytes((0, number % 128))


def transfer(sender: Endpoint, receiver: Endpoint, *, now: float, sent: float | None = None) -> list[bytes]:
    """Bring what ``sender`` has to say to ``receiver``."""
    data = sender.datagrams_to_send(now=now if sent is None else sent)
    for datagram in data:
        receiver.receive_datagram(datagram, now=now)
    return data


def transfer_control(sender: Endpoint, receiver: Endpoint, *, now: float = 0.0) -> list[bytes]:
    data = sender.control_to_send()
    for message in data:
        receiver.receive_control(message, now=now)
    return data


def inputs_of(events: Iterable[Event]) -> list[InputReceived]:
    return [event for event in events if isinstance(event, InputReceived)]


def raw(**changes: object) -> bytes:
    """A datagram as a stranger would make it."""
    fields: dict[str, object] = {
        "connection": CONNECTION,
        "episode": 0,
        "sent": 0,
        "echo": None,
        "held": 0,
        "lead": None,
        "next_expected": 0,
        "chain": None,
        "first_frame": 0,
        "inputs": (),
    }
    return encode_datagram(Datagram(**{**fields, **changes}))  # type: ignore[arg-type]


def raw_control(message: object, number: int, acknowledged: int = 0) -> bytes:
    return encode_control(Envelope(1, number, acknowledged, message))  # type: ignore[arg-type]
