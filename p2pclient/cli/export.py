"""``tandem export``: tables from a recording, made in a process of their own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder; also of a run that was killed")
    parser.add_argument("--out", type=Path, help="where the tables go (default: into the run folder)")
    parser.add_argument("--format", default="parquet,csv", help="parquet, csv or both (default)")
    parser.add_argument("--salvage", action="store_true", help="export what stands before damage in the log")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(arguments: argparse.Namespace) -> int:
    """Run the exporter; its exit code is ours."""
    command = [sys.executable, "-P", "-m", "p2pclient.recorder.export", str(arguments.folder)]
    command += ["--format", arguments.format]
    command += [flag for flag in ("--salvage", "--quiet") if getattr(arguments, flag[2:])]
    if arguments.out is not None:
        command += ["--out", str(arguments.out)]
    return subprocess.run(command, check=False).returncode
