"""Pure leaf package: what every other package may import, and which imports none of ours.

The modules that also travel to the environment host (``errors``, ``frames``, ``spaces``) keep to Python 3.8
syntax and to the standard library, because the host may run under another interpreter.
"""
