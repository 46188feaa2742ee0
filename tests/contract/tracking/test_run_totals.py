"""What a run may hold in all. A run that is filled to every limit can still be read whole, alone and in a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelry.api.tracking import v1 as api
from tests.contract.tracking.conftest import Tracking
from tests.parts.refusal import refused

_CLIENT_RECEIVES = 4 << 20
_LOWEST = -(1 << 63)
_WIDE = "\U0001f600"  # four bytes


@pytest.fixture(scope="module")
def full(tracking: Tracking) -> str:
    """The id of a run that is filled to every limit with what takes most space in a message."""
    run_id = tracking.a_run(
        tracking.an_experiment(), name=_WIDE * 500, claimed_user=_WIDE * 250, description=_WIDE * 100_000
    )
    for begin in range(0, 5000, 1000):
        params = {f"{n:010}": "v" * 199 for n in range(begin, begin + 1000)}  # 209 bytes each: below 1 MiB
        tracking.runs.LogBatch(api.LogBatchRequest(run_id=run_id, params=params))
    tags = {f"{n:010}": "v" * 246 for n in range(1000)}  # 262 bytes of JSON each: below 256 KiB
    tracking.runs.SetRunTags(api.SetRunTagsRequest(run_id=run_id, tags=tags))
    for begin in range(0, 10_000, 1000):
        tracking.runs.LogBatch(
            api.LogBatchRequest(run_id=run_id, metrics=[_lowest(f"{n:078}") for n in range(begin, begin + 1000)])
        )
    for begin in range(0, 1000, 100):
        tracking.datasets.LogDatasets(
            api.LogDatasetsRequest(run_id=run_id, inputs=[_an_input(n) for n in range(begin, begin + 100)])
        )
    return run_id


def test_a_full_run_is_read_whole_alone_and_in_a_list(tracking: Tracking, full: str) -> None:
    alone = tracking.runs.GetRun(api.GetRunRequest(run_id=full))
    order = ["name", "claimed_user", "params.0000000001", "tags.0000000001"]
    page = api.SearchRunsRequest(
        workspace="default", experiment_ids=[alone.run.experiment_id], page_size=1, order_by=order
    )
    before = (
        tracking.a_run(alone.run.experiment_id, name="A"),
        tracking.a_run(alone.run.experiment_id, name="\U0001f601"),
    )

    answers = [tracking.runs.SearchRuns(page)]
    while answers[-1].next_page_token:
        page.page_token = answers[-1].next_page_token
        answers.append(tracking.runs.SearchRuns(page))

    assert [run.run_id for answer in answers for run in answer.runs] == [before[0], full, before[1]]
    assert answers[1].runs[0] == alone.run
    assert (3 << 20) < alone.ByteSize() <= max(each.ByteSize() for each in answers) < _CLIENT_RECEIVES
    held = alone.run
    assert (len(held.params), len(held.tags), len(held.metrics), len(held.datasets)) == (5000, 1000, 10_000, 1000)


def _batch(run_id: str, **more: Any) -> api.LogBatchRequest:
    return api.LogBatchRequest(run_id=run_id, **more)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda t, run: refused(t.runs.LogBatch, _batch(run, params={"one more": ""})), "params"),
        (lambda t, run: refused(t.runs.LogBatch, _batch(run, tags={"one more": ""})), "tags"),
        (lambda t, run: refused(t.runs.SetRunTags, api.SetRunTagsRequest(run_id=run, tags={"one more": ""})), "tags"),
        (lambda t, run: refused(t.runs.LogBatch, _batch(run, metrics=[_lowest("one more")])), "metrics"),
        (
            lambda t, run: refused(
                t.metrics.WriteMetrics,
                api.WriteMetricsRequest(run_id=run, writer_id="w", batch_number=1, metrics=[_lowest("one more")]),
            ),
            "metrics",
        ),
        (
            lambda t, run: refused(
                t.datasets.LogDatasets, api.LogDatasetsRequest(run_id=run, inputs=[_an_input(1000)])
            ),
            "inputs",
        ),
    ],
)
def test_a_full_run_takes_no_more(
    tracking: Tracking, full: str, call: Callable[[Tracking, str], Any], field: str
) -> None:
    before = tracking.run(full)

    refusal = call(tracking, full)

    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LIMIT_REACHED")
    assert refusal.metadata["field"] == field
    assert int(refusal.metadata["total"]) > int(refusal.metadata["most"])
    assert tracking.run(full) == before


def test_a_full_run_still_takes_what_does_not_make_it_larger(tracking: Tracking, full: str) -> None:
    key = f"{0:078}"
    same = {f"{0:010}": "v" * 199}

    tracking.runs.LogBatch(
        _batch(full, metrics=[api.MetricColumns(key=key, steps=[1], times_ms=[1], values=[1.0])], params=same)
    )
    tracking.runs.SetRunTags(api.SetRunTagsRequest(run_id=full, tags={f"{0:010}": "short"}))
    tracking.datasets.LogDatasets(api.LogDatasetsRequest(run_id=full, inputs=[_an_input(0)]))

    run = tracking.run(full)
    assert [each.point_count for each in run.metrics if each.key == key] == [2]
    assert run.tags[f"{0:010}"] == "short"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"params": {str(n): "\u20ac" * 500 for n in range(1000)}}, "params"),
        ({"tags": {str(n): "v" * 300 for n in range(1000)}}, "tags"),
    ],
)
def test_a_new_run_is_held_to_the_same_limits(tracking: Tracking, fields: dict[str, Any], field: str) -> None:
    experiment_id = tracking.an_experiment()

    refusal = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id=experiment_id, **fields))

    assert list(refusal.violations) == [field]
    search = api.SearchRunsRequest(workspace="default", experiment_ids=[experiment_id])
    assert not tracking.runs.SearchRuns(search).runs


def test_long_keys_of_metrics_count_by_their_bytes(tracking: Tracking) -> None:
    keys = [f"{n:03}" + _WIDE * 247 for n in range(1000)]  # 991 bytes each
    batch = [api.MetricColumns(key=key, steps=[0], times_ms=[0], values=[0.0]) for key in keys]

    in_all = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id="0", metrics=batch))
    run_id = tracking.a_run(metrics=batch[:700])
    later = refused(tracking.runs.LogBatch, _batch(run_id, metrics=batch[700:800]))

    assert (list(in_all.violations), later.metadata["field"]) == (["metrics"], "metrics")
    tracking.runs.LogBatch(_batch(run_id, metrics=batch[700:790]))
    assert len(tracking.run(run_id).metrics) == 790


def _lowest(key: str) -> api.MetricColumns:
    """A point whose summary takes the most bytes."""
    return api.MetricColumns(key=key, steps=[_LOWEST], times_ms=[_LOWEST], values=[-1.5])


def _an_input(number: int) -> api.DatasetInput:
    """A dataset of 262 bytes."""
    dataset = api.Dataset(name=f"{number:0100}", digest="d" * 50, source_type="s" * 10, source="x" * 90)
    return api.DatasetInput(dataset=dataset, context="c" * 12)
