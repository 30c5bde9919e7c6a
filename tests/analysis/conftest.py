"""A synthetic audit for each test; no model is loaded."""

from pathlib import Path

import pytest

from tests.analysis.synthetic import Synthetic
from tests.browsing import browser, chromium, opening  # noqa: F401


@pytest.fixture
def synthetic(tmp_path: Path) -> Synthetic:
    """An empty experiment."""
    return Synthetic(tmp_path)
