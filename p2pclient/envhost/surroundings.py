"""The environment variables of a host: the client's, less what is the client's alone, with what makes hosts alike."""

from __future__ import annotations

import platform
from collections.abc import Mapping

_REMOVED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONINSPECT")
"""Settings of the client's Python that must not reach the host's."""

_FIXED = {
    "PYTHONFAULTHANDLER": "1",  # the stack of a crash goes to the log
    "PYTHONUNBUFFERED": "1",  # the last lines before a kill are in the log
    "PYTHONIOENCODING": "utf-8:backslashreplace",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
}

_PINNED_X86 = {
    # Names of NumPy up to 2.3, then from 2.4 on; those that a build does not know are only warned of.
    "NPY_DISABLE_CPU_FEATURES": "AVX F16C FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
    "AVX512_SPR X86_V3 X86_V4",
    "OPENBLAS_CORETYPE": "Nehalem",
    "MKL_CBWR": "COMPATIBLE",
    # glibc has sin, exp, pow and others with and without FMA; they differ in the last bit.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2_Usable,-FMA_Usable,-FMA4_Usable,-AVX2,-FMA,-FMA4",
}
"""Holds arithmetic to what every 64-bit x86 machine has: equal versions then give equal bits on unequal processors."""


def make_environment(base: Mapping[str, str], *, pin_cpu: bool, hash_seed: str = "0") -> dict[str, str]:
    """Return the environment variables of a host, given the client's."""
    variables = {name: value for name, value in base.items() if name not in _REMOVED}
    variables.update(_FIXED, PYTHONHASHSEED=hash_seed)
    if pin_cpu and platform.machine().lower() in ("x86_64", "amd64"):
        variables.update(_PINNED_X86)
    return variables
