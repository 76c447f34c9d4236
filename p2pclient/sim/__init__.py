"""Whole matches in virtual time: simulated networks, clocks, hosts and faults from one seed, and an oracle beside them.

It drives the same state machine as a client does (``Match.tick``, ``receive``, ``batch_done``); nothing sleeps, and the
same scenario gives the same trace, byte for byte.
"""
