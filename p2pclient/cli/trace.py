"""``tandem trace``: the traces of several sides of one match in one file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from p2pclient.common.errors import TandemError
from p2pclient.runtime.playing import TRACE_NAME
from p2pclient.telemetry.chrome import merge_traces


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder with a trace, or a trace file")
    parser.add_argument("--out", type=Path, default=Path("trace.json"), help="file to write (default: trace.json)")
    parser.add_argument(
        "--one-clock", action="store_true", help="all sides ran on one machine: do not shift them to the start of play"
    )


def run(arguments: argparse.Namespace) -> int:
    """Merge."""
    files = []
    for run_or_file in arguments.runs:
        path = run_or_file / TRACE_NAME if run_or_file.is_dir() else run_or_file
        try:
            files.append(path.read_bytes())
        except OSError as error:
            hint = "join with --trace to have one" if run_or_file.is_dir() else "give a run folder or a trace file"
            print(f"tandem: {path} cannot be read ({error.strerror}); {hint}", file=sys.stderr)
            return 2
    try:
        arguments.out.write_bytes(merge_traces(files, one_clock=arguments.one_clock))
    except OSError as error:
        print(f"tandem: {arguments.out} cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    except (TandemError, ValueError) as error:
        print(f"tandem: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.out}: open it in ui.perfetto.dev or chrome://tracing")
    return 0
