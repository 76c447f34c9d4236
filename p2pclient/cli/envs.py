"""``tandem envs``: what can be played."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no flags."""


def run(arguments: argparse.Namespace) -> int:
    """Print the registered names."""
    from envs.registry import known_names

    for name in known_names():
        if not name.startswith("test:"):
            print(name)
    return 0
