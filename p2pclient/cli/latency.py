"""``tandem latency``: where the time goes between a key and the pictures that show it, here and on other screens."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from p2pclient.recorder.latency import measure, read_side
from p2pclient.recorder.latency_report import as_data, describe, draw
from p2pclient.recorder.reading import RunReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run folder of one side; of several sides of one match for more",
    )
    parser.add_argument("--out", type=Path, help="write a picture (SVG) to this file")
    parser.add_argument("--all", action="store_true", help="every input, not only those of a key that went down or up")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit codes: 0 done, 1 the recordings cannot be read or say nothing of times, 2 the picture cannot be written."""
    sides = [read_side(RunReader(folder)) for folder in arguments.runs]
    ways = measure(sides, every=arguments.all)
    for folder, side in zip(arguments.runs, sides, strict=True):
        if side.left_out:
            print(f"tandem latency: {side.left_out} timings of {folder} are none, and left out", file=sys.stderr)
    if not ways:
        print("tandem latency: no frame was timed there", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"ways": [as_data(way) for way in ways]}))
    else:
        print("\n\n".join(describe(way) for way in ways))
    if arguments.out is not None:
        try:
            arguments.out.write_text(draw(ways), encoding="utf-8")
        except OSError as error:
            print(f"tandem latency: {arguments.out} cannot be written ({error.strerror})", file=sys.stderr)
            return 2
        print(f"{arguments.out}: open it in a browser", file=sys.stderr)
    return 0
