"""Every store keeps what it is given, by the same rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from signaling.store.conformance import CHECKS, Check, run_check
from signaling.store.interface import Store
from signaling.store.memory import MemoryStore
from signaling.store.sqlite import SqliteStore


@pytest.mark.parametrize("kind", ["memory", "sqlite", "sqlite as a guest"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_store_conforms(check: Check, kind: str, tmp_path: Path) -> None:
    server = SqliteStore(tmp_path) if kind == "sqlite as a guest" else None

    def make_store() -> Store:
        return MemoryStore() if kind == "memory" else SqliteStore(tmp_path, serve=server is None)

    await run_check(check, make_store)
    if server is not None:
        await server.close()
