"""Builds the folder of host-side code that is handed to the host's interpreter, and nothing else.

The interpreter of an environment may be another Python with other packages; it must not find the client's packages
by accident. The folder is named by the digest of its content, so that it is made once per version of the program.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import platformdirs

from p2pclient.common.errors import ConfigurationError

START_SCRIPT = "tandem_env_host.py"

_START = '''"""Starts the environment host. Its folder holds this program's host-side code only."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from p2pclient.envhost.host import main

if __name__ == "__main__":
    main()
'''

_PATTERNS = (
    "p2pclient/__init__.py",
    "p2pclient/common/__init__.py",
    "p2pclient/common/errors.py",
    "p2pclient/common/frames.py",
    "p2pclient/common/spaces*.py",
    "p2pclient/envhost/__init__.py",
    "p2pclient/envhost/host*.py",
    "p2pclient/envhost/values*.py",
    "envs/**/*",
)

_KEPT_SECONDS = 30 * 86400.0
"""Folders of other versions that no client has used for so long are removed when a new one is made."""

Files = dict[str, bytes]
"""Content by path relative to the folder, with forward slashes."""


def build_host_folder() -> Path:
    """Return the folder with the host-side code of this program, after making it if needed.

    It is in the user's cache; where that cannot be written to, in a temporary folder that goes with this process.

    Raises:
        ConfigurationError: the program's own files are not complete.
    """
    files = read_host_files(Path(__file__).resolve().parent.parent.parent)
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    name = digest.hexdigest()[:16]
    try:
        return _complete(Path(platformdirs.user_cache_dir("tandem", appauthor=False)) / "envhost", name, files)
    except OSError:
        temporary = Path(tempfile.mkdtemp(prefix="tandem-envhost-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return _complete(temporary, name, files)


def read_host_files(root: Path) -> Files:
    """Return every host-side file below ``root``, the folder that holds ``p2pclient`` and ``envs``."""
    files: Files = {START_SCRIPT: _START.encode()}
    for pattern in _PATTERNS:
        for path in sorted(root.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                files[path.relative_to(root).as_posix()] = path.read_bytes()
    if "envs/__init__.py" not in files:
        raise ConfigurationError("folder of the program", str(root), "one that holds the package 'envs'; install again")
    return files


def _complete(parent: Path, name: str, files: Files) -> Path:
    folder = parent / name
    if _is_whole(folder, files):
        os.utime(folder)  # in use: see _KEPT_SECONDS
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    try:
        for relative, content in files.items():
            path = made / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if not _is_whole(folder, files):
        raise OSError(f"{folder} cannot be completed")
    _remove_unused(parent)
    return folder


def _remove_unused(parent: Path) -> None:
    for folder in parent.iterdir():
        try:
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # Another client removes it at the same time.


def _put_in_place(made: Path, folder: Path) -> None:
    try:
        os.rename(made, folder)
    except OSError:
        # Another client was faster, or a cleaner has eaten into the folder: fill in what is missing, file by file,
        # because hosts may be running from it.
        for path in made.rglob("*"):
            if path.is_file():
                target = folder / path.relative_to(made)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)


def _is_whole(folder: Path, files: Files) -> bool:
    try:
        return all((folder / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False
