"""Autologging that is off again after each test, and data to fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import modelry


@pytest.fixture
def autologging(fluent: None) -> Iterator[None]:
    """Autologging may be turned on."""
    yield
    modelry.flush()
    modelry.autolog(disable=True)


@pytest.fixture(scope="session")
def features() -> np.ndarray:
    """80 rows of 3 features."""
    return np.random.default_rng(1).normal(size=(80, 3))


@pytest.fixture(scope="session")
def classes(features: np.ndarray) -> np.ndarray:
    """A class, 0 or 1, for each row."""
    return (features[:, 0] + 0.5 * features[:, 1] > 0).astype(int)
