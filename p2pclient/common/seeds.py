"""Seeds derived from seeds, so that one number makes a whole match repeatable."""

from __future__ import annotations

from hashlib import blake2b


def derive_seed(seed: int, *path: int | str) -> int:
    """Return a seed of 31 bits for one purpose, named by ``path``.

    ``blake2b-64("tandem" | seed | path)``, low 31 bits: what every environment's seeding takes.
    """
    text = "/".join(["tandem", str(seed), *(str(part) for part in path)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") & 0x7FFFFFFF
