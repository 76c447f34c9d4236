"""``tandem envs``: what can be played."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no flags."""


def run(arguments: argparse.Namespace) -> int:
    """Print the registered names."""
    from envs.registry import families, known_names

    for name in known_names():
        if not name.startswith("test:"):
            print(name)
    for family in families():
        print(f"{family}NAME")
    print("module:factory, where the person at the machine has allowed it")
    return 0
