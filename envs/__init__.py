"""The environment contract, what every environment needs around it, and the environments that ship.

Runs in the environment host's own interpreter, which may be Python 3.8: only the standard library, NumPy and what an
environment itself needs. Nothing here reads a clock that was not passed in.
"""
