"""Fixtures of the scorers' tests."""

import shutil

import pytest


@pytest.fixture
def copy(folder, tmp_path):
    """A scorer's folder, a copy that a test may spoil."""
    return shutil.copytree(folder, tmp_path / "copy")
