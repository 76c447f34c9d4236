"""Counters, histograms and traces of a match: pure, cheap enough to be always on."""
