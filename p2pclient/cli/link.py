"""``tandem link``: personal links, signed by the server, for a list of labels."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.settings.flags import DEFAULT_DATA

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("labels", nargs="*", help="whom they are for; - reads one label per line from standard input")
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, help=f"the server's folder (default: {DEFAULT_DATA})"
    )
    parser.add_argument("--url", default="", help="the server's address, put before each link: http://host:port")
    parser.add_argument(
        "--expires", type=duration, metavar="TIME", help="how long they are good: 90m, 12h, 7d (default: for ever)"
    )
    parser.add_argument(
        "--once", "--single-use", dest="once", action="store_true", help="each is good for one participant only"
    )
    parser.add_argument(
        "--attribute", action="append", default=[], metavar="NAME=VALUE", help="of the participants; may be repeated"
    )


def duration(text: str) -> float:
    """Return the seconds of ``90m``, ``12h`` or ``7d``."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or not 0 < int(number) < 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90m, 12h or 7d")
    return int(number) * _UNITS[unit]


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each label: the label, a tab, the link. Nothing if one of them may not be."""
    from p2pclient.runtime.signaling_client import parse_server_url
    from signaling.identity import clean_label, label_key, make_link, with_link
    from signaling.store.folder import LINK_SECRET, secret_of

    url = parse_server_url(arguments.url) if arguments.url else ""
    labels: list[str] = []
    for text in _labels(arguments.labels):
        try:
            labels.append(clean_label(text))
        except SignalingError as error:
            raise ConfigurationError("a label", text, str(error)) from None
    if not labels:
        raise ConfigurationError("the labels", "none", "one or more, or - to read them from standard input")
    if len({label_key(label) for label in labels}) < len(labels):
        twice = sorted(label for label in labels if sum(label_key(other) == label_key(label) for other in labels) > 1)
        raise ConfigurationError("the labels", ", ".join(twice), "each once; capitals do not tell two apart")
    secret, entropy = secret_of(arguments.data, LINK_SECRET), random.SystemRandom()
    expires = None if arguments.expires is None else time.time() + arguments.expires
    attributes = dict(_attribute(text) for text in arguments.attribute)
    for label in labels:
        link = make_link(
            secret, label, entropy=entropy, expires=expires, single_use=arguments.once, attributes=attributes
        )
        print(f"{label}\t{with_link(url, link) if url else link}")
    return 0


def _labels(words: list[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            yield from (line for line in sys.stdin.read().splitlines() if line.strip())
        else:
            yield word


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigurationError("--attribute", text, "NAME=VALUE")
    return name, value
