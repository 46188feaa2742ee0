"""What training code calls is tested as its users have it: with everything that a run records of itself."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def whole_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns on what the tests of other folders are without."""
    monkeypatch.setenv("MODELRY_SNAPSHOT", "1")
    monkeypatch.setenv("MODELRY_CONSOLE", "1")
