"""The fields of a run: which are read, which are changed, and by what names runs are found."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import Tracking, line
from tests.parts.refusal import refused

FIELDS = [field.name for field in api.Run.DESCRIPTOR.fields]


def a_full_run(tracking: Tracking) -> str:
    """The id of a run in which every field is set."""
    parent, experiment_id = tracking.a_run(), tracking.an_experiment()
    run_id = tracking.a_run(
        experiment_id,
        parent_run_id=parent,
        description="d",
        params={"a": "1"},
        tags={"b": "2"},
        metrics=[line("loss", [1])],
    )
    used = api.DatasetInput(dataset=api.Dataset(name=new_id(), digest="d"))
    tracking.datasets.LogDatasets(api.LogDatasetsRequest(run_id=run_id, inputs=[used]))
    tracking.runs.FinishRun(api.FinishRunRequest(run_id=run_id))
    tracking.runs.DeleteRun(api.DeleteRunRequest(run_id=run_id))
    return run_id


@pytest.mark.parametrize("field", FIELDS)
def test_a_reader_gets_the_fields_that_it_names_and_the_id(tracking: Tracking, field: str) -> None:
    run_id = a_full_run(tracking)
    mask = FieldMask(paths=[field])

    read = tracking.runs.GetRun(api.GetRunRequest(run_id=run_id, read_mask=mask)).run
    request = api.SearchRunsRequest(
        workspace="default", filter=f"run_id = '{run_id}'", lifecycle=common.LIFECYCLE_FILTER_ANY, read_mask=mask
    )
    [found] = tracking.runs.SearchRuns(request).runs

    assert {set_field.name for set_field, _ in read.ListFields()} == {"run_id", field}
    assert found == read


@pytest.mark.parametrize("mask", [None, FieldMask(), FieldMask(paths=["*"]), FieldMask(paths=FIELDS)])
def test_a_reader_who_names_nothing_or_everything_gets_all_fields(tracking: Tracking, mask: FieldMask | None) -> None:
    run_id = a_full_run(tracking)

    read = tracking.runs.GetRun(api.GetRunRequest(run_id=run_id, read_mask=mask)).run

    assert {field.name for field, _ in read.ListFields()} == set(FIELDS)


@pytest.mark.parametrize("paths", [["metrics", "secrets"], ["metrics.key"], ["*", "name"], [""]])
def test_a_read_mask_of_something_else_is_refused(tracking: Tracking, paths: list[str]) -> None:
    request = api.GetRunRequest(run_id=tracking.a_run(), read_mask=FieldMask(paths=paths))

    assert list(refused(tracking.runs.GetRun, request).violations) == ["read_mask"]


def test_what_a_mask_names_changes_and_the_rest_stays(tracking: Tracking) -> None:
    run_id = tracking.a_run(name="old")
    given = api.Run(run_id=run_id, name="new", status=api.RUN_STATUS_FAILED, end_time=Timestamp(seconds=7))

    by_mask = tracking.runs.UpdateRun(api.UpdateRunRequest(run=given, update_mask=FieldMask(paths=["name"]))).run
    by_what_is_set = tracking.runs.UpdateRun(api.UpdateRunRequest(run=given)).run

    assert (by_mask.name, by_mask.status, by_mask.HasField("end_time")) == ("new", api.RUN_STATUS_RUNNING, False)
    assert (by_what_is_set.status, by_what_is_set.end_time.seconds) == (api.RUN_STATUS_FAILED, 7)


@pytest.mark.parametrize("mask", [None, FieldMask()])
def test_an_update_of_nothing_changes_nothing(tracking: Tracking, mask: FieldMask | None) -> None:
    run_id = tracking.a_run(name="n", description="d")
    before = tracking.run(run_id)

    updated = tracking.runs.UpdateRun(api.UpdateRunRequest(run=api.Run(run_id=run_id), update_mask=mask)).run

    assert (updated.etag, tracking.run(run_id)) == (before.etag, before)


def test_an_update_of_everything_empties_what_is_not_set(tracking: Tracking) -> None:
    run_id = tracking.a_run(name="old", description="long")
    given = api.Run(run_id=run_id, name="new", status=api.RUN_STATUS_RUNNING, params={"p": "1"})

    updated = tracking.runs.UpdateRun(api.UpdateRunRequest(run=given, update_mask=FieldMask(paths=["*"]))).run

    assert (updated.name, updated.description, updated.status) == ("new", "", api.RUN_STATUS_RUNNING)
    assert dict(tracking.run(run_id).params) == {}


@pytest.mark.parametrize(
    "filter",
    [
        "name = '{name}' AND claimed_user = 'ann' AND creator = 'bob'",
        "run_name = '{name}' AND user_id = 'ann'",
        "attributes.`Run name` = '{name}' AND created = 1600000000000",
        "run.`run name` LIKE '{name}' AND attr.Created <= 1600000000000 AND start_time > 1",
        "name = '{name}' AND status IN ('RUNNING', 'KILLED') AND end_time IS NULL AND experiment_id = '0'",
    ],
)
def test_runs_are_found_by_the_names_of_their_fields_and_by_the_words_of_mlflow(
    tracking: Tracking, filter: str
) -> None:
    name = f"run {new_id()}"
    request = api.CreateRunRequest(
        experiment_id="0", name=name, claimed_user="ann", start_time=Timestamp(seconds=1_600_000_000)
    )
    run_id = tracking.runs.CreateRun(request, metadata=(("modelry-subject", "bob"),)).run.run_id

    found = tracking.runs.SearchRuns(
        api.SearchRunsRequest(workspace="default", filter=filter.format(name=name), order_by=["run_name", "Created"])
    ).runs

    assert [run.run_id for run in found] == [run_id]
