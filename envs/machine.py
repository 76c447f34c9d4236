"""What must agree between two machines before their environments can: sources, versions and arithmetic."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import platform
from hashlib import blake2b
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from envs.canonical import checksum

_OWN_FOLDER = Path(__file__).resolve().parent


def machine_facts() -> Dict[str, str]:
    """Return this interpreter's Python and NumPy versions, its system and its machine type."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
    }


def source_digest(distribution: Optional[str]) -> str:
    """Return 32 hex digits over the code that an environment runs: its package's version and files, and this package's.

    Args:
        distribution: name of a package, as it is imported: an installed distribution, or code of the person's own; None
            for none.
    """
    digest = blake2b(digest_size=16)
    if distribution is not None:
        digest.update(f"{distribution} {_version(distribution)}\n".encode())
        spec = importlib.util.find_spec(distribution)
        if spec is not None and spec.submodule_search_locations is None and spec.origin is not None:
            digest.update(Path(spec.origin).read_bytes().replace(b"\r\n", b"\n"))
        for folder in (spec.submodule_search_locations if spec is not None else None) or ():
            _add_files(digest, Path(folder))
    _add_files(digest, _OWN_FOLDER)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "as it is"


def _add_files(digest: Any, folder: Path) -> None:
    for name, data in sorted(_sources(folder)):
        digest.update(f"{name} {len(data)}\n".encode("utf-8", "surrogatepass"))
        digest.update(data)


def _sources(folder: Path) -> Iterator[Tuple[str, bytes]]:
    for path in folder.rglob("*.py"):
        # A checkout on Windows may have other line ends.
        yield path.relative_to(folder).as_posix(), path.read_bytes().replace(b"\r\n", b"\n")


def numeric_probe() -> str:
    """Return 16 hex digits over the results of fixed NumPy and ``math`` operations.

    Two hosts with different probes do not compute alike to the last bit, whatever their versions are.
    """
    return checksum([_vector_results(np.float64), _vector_results(np.float32), _scalar_results()]).hex()


def _vector_results(dtype: Any) -> List[Any]:
    line = np.arange(1, 1026, dtype=dtype) / dtype(257)
    square = (line[:1024] - dtype(2)).reshape(32, 32)
    functions = (np.exp, np.log, np.sin, np.cos, np.tan, np.sqrt, np.cbrt, np.tanh, np.arctan, np.log1p, np.expm1)
    results: List[Any] = [function(line) for function in functions]
    results += [np.power(line, dtype(1.7)), np.hypot(line, line[::-1]), np.arctan2(line, line[::-1])]
    results += [square @ square.T, square @ line[:32], np.dot(line, line[::-1]), np.einsum("ij,kj->ik", square, square)]
    results += [line.sum(), line.mean(), line.std(), np.cumsum(line), np.linalg.norm(line), square.sum(axis=0)]
    results += [np.linalg.solve(square @ square.T + 32 * np.eye(32, dtype=dtype), line[:32])]
    return results


def _scalar_results() -> List[float]:
    results: List[float] = []
    for step in range(1, 65):
        x = step / 7.3
        results += [math.exp(x), math.log(x), math.sin(x), math.cos(x), math.tan(x), math.atan(x), math.tanh(x)]
        results += [math.pow(x, 1.7), x**-0.3, math.sqrt(x), math.hypot(x, 1.1), math.gamma(x), math.erf(x)]
    return [*results, math.fsum(results[:100])]
