"""Fixtures of the tests of `experiments`."""

from pathlib import Path

import pytest

from prompt_db.cache_store import CacheStore
from prompt_db.run_store import RunStore


@pytest.fixture
def tools(tmp_path: Path):
    """A run's facts and a cache."""
    store, cache = RunStore.writer(tmp_path / "run.db"), CacheStore(tmp_path / "cache.db")
    yield store, cache
    store.close()
    cache.close()
