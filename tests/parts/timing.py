"""Compares how long two refusals take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from modelry_server.kernel.errors import ModelryError

TRIES = 1000


def ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """The time of the first refusal by that of the second: of the medians over 1000 tries each, taken in turn.

    So a machine that is busy for a while is as slow for both.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(TRIES):
        for call, times in zip((one, other), taken, strict=True):
            began = time.perf_counter()
            with pytest.raises(ModelryError):
                call()
            times.append(time.perf_counter() - began)
    return statistics.median(taken[0]) / statistics.median(taken[1])
