"""A Python with an older major version of NumPy, installed by ``tandem install`` from a folder of wheels, offline.

The folder is made by ``.ci/run``; by hand, with the Python that runs the tests:

    python -m pip download --only-binary :all: -d .wheels "numpy<2" gymnasium pettingzoo
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WHEELS = Path(os.environ.get("TANDEM_TEST_WHEELS") or ROOT / ".wheels")
NAME = "old-numpy"
REQUIREMENTS = ("numpy<2", "gymnasium", "pettingzoo")


def tandem_install(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run ``tandem install`` with ``data`` as the folder of the user's data, and no network to fall back on."""
    command = [sys.executable, "-P", "-m", "p2pclient.cli", "install", *arguments]
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0"}
    variables = {**os.environ, **nowhere, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(data)}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="session")
def old_numpy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the user's data in which :data:`NAME` is installed."""
    if not list(WHEELS.glob("numpy-1.*.whl")):
        pytest.skip(f"no NumPy 1 in {WHEELS}: see tests/old_numpy.py for how to get it (there is none for Python 3.13)")
    data = tmp_path_factory.mktemp("data")
    done = tandem_install(NAME, *REQUIREMENTS, "--wheels", str(WHEELS), data=data)
    assert done.returncode == 0, done.stderr
    assert "numpy: installed" in done.stderr
    return data


@pytest.fixture
def old_numpy(old_numpy_data: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name, for this process and those that it starts."""
    monkeypatch.setenv("XDG_DATA_HOME", str(old_numpy_data))
    monkeypatch.chdir(ROOT / "tests")
    return NAME
