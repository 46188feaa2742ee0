"""What is remembered of the metrics of runs."""

from __future__ import annotations

from modelry_server.tracking.domain.totals import KnownMetrics


def test_metrics_are_known_once_they_are_noted() -> None:
    known = KnownMetrics()

    assert not known.has("a", ["x"])
    known.note("a", {"x", "y"})

    assert known.has("a", ["x", "y"])
    assert not known.has("a", ["x", "z"])
    assert not known.has("b", ["x"])


def test_the_runs_that_were_noted_first_are_forgotten() -> None:
    known = KnownMetrics()
    keys = {str(n) for n in range(10_000)}

    for number in range(11):
        known.note(str(number), keys)
        known.note(str(number), keys)

    assert not known.has("0", ["0"])
    assert all(known.has(str(number), ["0"]) for number in range(1, 11))
