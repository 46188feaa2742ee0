from __future__ import annotations

from typing import Any

import pytest

from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import Tracking
from tests.parts.refusal import refused


def an_input(name: str = "", **fields: Any) -> api.DatasetInput:
    given: dict[str, Any] = {"name": name or f"data {new_id()}", "digest": "d"} | fields
    return api.DatasetInput(dataset=api.Dataset(**given), context="training")


def log(tracking: Tracking, run_id: str, *inputs: api.DatasetInput) -> list[api.Dataset]:
    return list(tracking.datasets.LogDatasets(api.LogDatasetsRequest(run_id=run_id, inputs=inputs)).datasets)


def test_a_dataset_that_a_run_used_is_found_from_the_run_by_its_id_and_by_a_search(tracking: Tracking) -> None:
    run_id, used = tracking.a_run(), an_input(source_type="s3", source="s3://b/x", schema='{"a": 1}', profile="{}")

    [logged] = log(tracking, run_id, used)

    whole = tracking.datasets.GetDataset(api.GetDatasetRequest(dataset_id=logged.dataset_id)).dataset
    assert (whole.schema, whole.profile, whole.source, whole.workspace) == ('{"a": 1}', "{}", "s3://b/x", "default")
    [found] = tracking.run(run_id).datasets
    assert (found.dataset.dataset_id, found.context, found.dataset.schema) == (logged.dataset_id, "training", "")
    by_name = api.SearchDatasetsRequest(workspace="default", filter=f"name = '{used.dataset.name}'")
    assert [each.dataset_id for each in tracking.datasets.SearchDatasets(by_name).datasets] == [logged.dataset_id]
    by_dataset = api.SearchRunsRequest(workspace="default", filter=f"datasets.name = '{used.dataset.name}'")
    assert [run.run_id for run in tracking.runs.SearchRuns(by_dataset).runs] == [run_id]


def test_logging_it_again_adds_nothing(tracking: Tracking) -> None:
    run_id, used = tracking.a_run(), an_input()

    logged = log(tracking, run_id, used, used) + log(tracking, run_id, used)

    assert len({each.dataset_id for each in logged}) == 1
    assert len(tracking.run(run_id).datasets) == 1


def test_a_page_is_never_larger_than_a_client_receives(tracking: Tracking) -> None:
    prefix = new_id()
    for group in range(15):
        log(tracking, tracking.a_run(), *(an_input(f"{prefix} {group} {n}", source="s" * 64_000) for n in range(4)))
    request = api.SearchDatasetsRequest(workspace="default", filter=f"name LIKE '{prefix}%'")

    pages = [tracking.datasets.SearchDatasets(request)]
    while pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token
        pages.append(tracking.datasets.SearchDatasets(request))

    assert len({each.dataset_id for page in pages for each in page.datasets}) == 60


def test_the_answer_does_not_repeat_what_is_long_and_known(tracking: Tracking) -> None:
    used = an_input(schema="s" * 900_000)
    log(tracking, tracking.a_run(), used)
    brief = an_input(used.dataset.name)

    logged = log(tracking, tracking.a_run(), *[brief] * 100)

    assert len({each.dataset_id for each in logged}) == 1


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"run_id": "x"}, "run_id", "'x'"),
        ({"inputs": []}, "inputs", "1 to 100"),
        ({"inputs": [an_input() for _ in range(101)]}, "inputs", "101"),
        ({"inputs": [an_input(digest="")]}, "inputs[0].dataset.digest", "1 to 128"),
        ({"inputs": [an_input(), an_input(digest="d" * 129)]}, "inputs[1].dataset.digest", "129"),
        ({"inputs": [an_input("n" * 501)]}, "inputs[0].dataset.name", "501"),
        ({"inputs": [an_input("a\0")]}, "inputs[0].dataset.name", "control"),
        ({"inputs": [an_input(source_type="t" * 251)]}, "inputs[0].dataset.source_type", "251"),
        ({"inputs": [an_input(source="s" * 100_001)]}, "inputs[0].dataset.source", "100001"),
        ({"inputs": [an_input(schema="s" * 1_000_001)]}, "inputs[0].dataset.schema", "1000001"),
        ({"inputs": [an_input(profile="\0")]}, "inputs[0].dataset.profile", "control"),
        ({"inputs": [api.DatasetInput(dataset=an_input().dataset, context="c" * 251)]}, "inputs[0].context", "251"),
    ],
)
def test_a_field_outside_its_limits_is_refused_and_none_of_them_is_logged(
    tracking: Tracking, fields: dict[str, Any], field: str, said: str
) -> None:
    run_id = tracking.a_run()
    request = api.LogDatasetsRequest(**({"run_id": run_id, "inputs": [an_input()]} | fields))

    refusal = refused(tracking.datasets.LogDatasets, request)

    assert (refusal.code, list(refusal.violations)) == ("INVALID_ARGUMENT", [field])
    assert said in refusal.violations[field]
    assert len(tracking.run(run_id).datasets) == 0


def test_what_is_not_there_is_named(tracking: Tracking) -> None:
    dataset = refused(tracking.datasets.GetDataset, api.GetDatasetRequest(dataset_id="0" * 32))
    run = refused(tracking.datasets.LogDatasets, api.LogDatasetsRequest(run_id="0" * 32, inputs=[an_input()]))
    wrong = refused(tracking.datasets.GetDataset, api.GetDatasetRequest(dataset_id="x"))
    search = refused(
        tracking.datasets.SearchDatasets, api.SearchDatasetsRequest(workspace="default", filter="colour = 'red'")
    )

    assert (dataset.code, dataset.reason, dataset.resource) == ("NOT_FOUND", "DATASET_NOT_FOUND", ("dataset", "0" * 32))
    assert (run.code, run.reason) == ("NOT_FOUND", "RUN_NOT_FOUND")
    assert list(wrong.violations) == ["dataset_id"]
    assert (search.reason, list(search.violations)) == ("FILTER_SYNTAX", ["filter"])


def test_a_call_whose_answer_would_be_too_large_changes_nothing(tracking: Tracking) -> None:
    run_id, large = tracking.a_run(), an_input(source="s" * 64_000)
    again = api.DatasetInput(dataset=api.Dataset(name=large.dataset.name, digest="d"))
    log(tracking, run_id, large)

    other = tracking.a_run()
    refusal = refused(tracking.datasets.LogDatasets, api.LogDatasetsRequest(run_id=other, inputs=[again] * 100))

    assert (refusal.reason, refusal.metadata["field"]) == ("LIMIT_REACHED", "inputs")
    assert not tracking.run(other).datasets
