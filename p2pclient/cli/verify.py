"""``tandem verify``: are two recordings of one match the same."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("run_a", type=Path, help="run folder of one side")
    parser.add_argument("run_b", type=Path, help="run folder of the other")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 same, 1 different, 2 one is the beginning of the other, 3 unreadable."""
    from p2pclient.recorder.verify import main

    return main([str(arguments.run_a), str(arguments.run_b), *(["--json"] if arguments.json else [])])
