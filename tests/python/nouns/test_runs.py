from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from modelry import Client, Lifecycle, RunStatus
from modelry.errors import (
    ExperimentNotFound,
    FieldInvalid,
    FilterSyntax,
    InvalidArgument,
    ParamConflict,
    RunAlreadyEnded,
    RunDeleted,
    RunExists,
    RunNotFound,
    TagNotFound,
)


@pytest.fixture
def experiment_id(client: Client, unique: str) -> str:
    return client.experiments.create(unique).experiment_id


def test_a_run_is_read_with_all_that_was_logged(client: Client, experiment_id: str) -> None:
    start = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    run_id = client.runs.create(
        experiment_id,
        name="one",
        start_time=start,
        params={"lr": 0.1},
        tags={"a": 1},
        description="the first",
        claimed_user="ada",
        metrics={"m": 0.5},
    ).run_id
    client.runs.log_batch(
        run_id,
        metrics=[("loss", 0.5, 1_000, 1), ("loss", 0.25, 2_000, 2), ("nan", math.nan, 0, 0)],
        params={"depth": 3},
        tags={"a": 2, "b": "x"},
    )

    run = client.runs.get(run_id)

    assert (run.run_id, run.name, run.description, run.claimed_user) == (run_id, "one", "the first", "ada")
    assert (run.status, run.lifecycle) == ("RUNNING", "ACTIVE")
    assert (run.start_time, run.end_time) == (start, None)
    assert (run.params, run.tags) == ({"lr": "0.1", "depth": "3"}, {"a": "2", "b": "x"})
    assert (run.metrics["loss"], run.metrics["m"], math.isnan(run.metrics["nan"])) == (0.25, 0.5, True)
    assert (run.summaries["loss"].min_step, run.summaries["loss"].point_count) == (2, 2)
    assert run.summaries["nan"].min_value is None
    assert run.creator


def test_the_client_may_choose_the_id_and_send_it_again(client: Client, experiment_id: str) -> None:
    run_id = "0197" + "7" * 9 + "8" * 19
    run_id = run_id[:12] + "7" + run_id[13:16] + "8" + client.runs.create(experiment_id).run_id[17:]

    first = client.runs.create(experiment_id, run_id=run_id, name="mine")
    again = client.runs.create(experiment_id, run_id=run_id, name="mine")

    assert first.run_id == again.run_id == run_id
    with pytest.raises(RunExists):
        client.runs.create("0", run_id=run_id)


def test_a_run_ends_once(client: Client, experiment_id: str) -> None:
    run_id = client.runs.create(experiment_id).run_id
    ended = client.runs.finish(run_id, "failed", end_time=datetime.now(UTC) + timedelta(seconds=1))
    again = client.runs.finish(run_id, RunStatus.FAILED)

    with pytest.raises(RunAlreadyEnded):
        client.runs.finish(run_id)

    assert ended.status is again.status is RunStatus.FAILED
    assert ended.end_time is not None
    assert client.runs.update(run_id, status="running", name="once more").name == "once more"
    assert client.runs.get(run_id).status is RunStatus.RUNNING


def test_one_conflict_writes_none_of_the_batch(client: Client, experiment_id: str) -> None:
    run_id = client.runs.create(experiment_id, params={"lr": 0.1}).run_id

    with pytest.raises(ParamConflict, match=r"'0\.1'.*'0\.2'") as conflict:
        client.runs.log_batch(run_id, params={"seed": 7, "lr": 0.2}, metrics={"m": 1.0})

    run = client.runs.get(run_id)
    assert (run.params, run.metrics) == ({"lr": "0.1"}, {})
    assert conflict.value.metadata["key"] == "lr"


def test_a_deleted_run_is_restored(client: Client, experiment_id: str) -> None:
    run_id = client.runs.create(experiment_id).run_id
    deleted = client.runs.delete(run_id)

    with pytest.raises(RunDeleted):
        client.runs.set_tags(run_id, {"a": "b"})

    assert deleted.lifecycle is Lifecycle.DELETED
    assert [run.run_id for run in client.runs.search([experiment_id])] == []
    assert client.runs.restore(run_id).lifecycle is Lifecycle.ACTIVE


def test_tags_are_removed(client: Client, experiment_id: str) -> None:
    run_id = client.runs.create(experiment_id, tags={"a": "1", "b": "2"}).run_id
    client.runs.delete_tags(run_id, ["a"])

    with pytest.raises(TagNotFound):
        client.runs.delete_tags(run_id, ["a"])

    assert client.runs.get(run_id).tags == {"b": "2"}


def test_a_search_filters_sorts_and_pages(client: Client, experiment_id: str) -> None:
    for number in range(7):
        run_id = client.runs.create(experiment_id, params={"kind": "even" if number % 2 == 0 else "odd"}).run_id
        client.runs.log_metrics(run_id, {"acc": number / 10})

    found = client.runs.search(
        [experiment_id], "params.kind = 'even'", order_by=["metrics.acc DESC"], page_size=2, read=["metrics"]
    )

    assert [run.metrics["acc"] for run in found] == [0.6, 0.4, 0.2, 0.0]
    assert [run.params for run in found] == [{}] * 4
    assert len(client.runs.search([experiment_id], max_results=5, page_size=2)) == 5


def test_a_partial_read_reads_nothing_else(client: Client, experiment_id: str) -> None:
    run_id = client.runs.create(experiment_id, params={"a": 1}, tags={"b": 2}).run_id

    run = client.runs.get(run_id, read=["tags"])

    assert (run.params, run.tags) == ({}, {"b": "2"})
    assert (run.status, run.lifecycle, run.experiment_id) == ("RUNNING", "ACTIVE", experiment_id)


def test_what_cant_be_is_refused(client: Client, experiment_id: str) -> None:
    run_id = client.runs.create(experiment_id).run_id

    with pytest.raises(RunNotFound):
        client.runs.get("f" * 32)
    with pytest.raises(FieldInvalid):
        client.runs.log_params(run_id, {"k" * 251: 1})
    with pytest.raises(FilterSyntax):
        list(client.runs.search([experiment_id], "metrics.acc >"))
    with pytest.raises(InvalidArgument, match="not one of RUNNING"):
        client.runs.finish(run_id, "DONE")
    with pytest.raises(InvalidArgument, match="metric 'm' has the value 'much'"):
        client.runs.log_metrics(run_id, {"m": "much"})  # type: ignore[arg-type]


def test_a_single_text_needs_no_list(client: Client, experiment_id: str) -> None:
    run_id = client.runs.create(int(experiment_id), name="only", params={"p": 1}, tags={"t": 1}).run_id
    client.runs.log_metrics(run_id, {"m": 1.0})

    for ids in (experiment_id, int(experiment_id), [int(experiment_id)]):
        found = client.runs.search(ids, order_by="metrics.m", read="params")
        assert [(run.run_id, run.params, run.metrics) for run in found] == [(run_id, {"p": "1"}, {})]
    assert client.runs.get(run_id, read="params").metrics == {}
    assert [key for _, series in client.metrics.read_many(run_id, "m") for key in [series.key]] == ["m"]
    client.runs.delete_tags(run_id, "t")
    assert "t" not in client.runs.get(run_id).tags


def test_digits_are_one_experiment_and_not_several(client: Client) -> None:
    with pytest.raises(ExperimentNotFound):
        list(client.runs.search("999999999"))
