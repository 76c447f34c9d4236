"""Counters of a match: pure, cheap enough to be always on."""
