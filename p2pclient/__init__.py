"""Tandem: people and bots share one environment across machines, in real time."""

__version__ = "0.1.0"
