"""The rollback engine: pure decisions about which frames to load, step and save.

Nothing here reads a clock, draws a random number or does I/O. Time is an argument, outputs are returned.
"""
