"""What the tests of the server leave as they found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _levels_of_the_log() -> Iterator[None]:
    """A test that starts the log of a server leaves its levels to no other test, in whatever order they run."""
    loggers = [logging.getLogger(), logging.getLogger("modelry")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
