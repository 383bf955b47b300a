"""Faults are tried in memory where there is room: nothing here depends on how slow a disk is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.helpers import scratch


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory of the test's own."""
    with scratch() as path:
        yield path
