from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import Tracking
from tests.parts.refusal import refused


def name() -> str:
    return f"experiment {new_id()}"


def make(tracking: Tracking, called: str = "", **fields: Any) -> api.Experiment:
    request = api.CreateExperimentRequest(**({"workspace": "default", "name": called or name()} | fields))
    return tracking.experiments.CreateExperiment(request).experiment


def test_an_experiment_is_found_by_its_id_and_by_its_name(tracking: Tracking) -> None:
    made = make(tracking, tags={"team": "blue"})

    by_id = tracking.experiments.GetExperiment(api.GetExperimentRequest(experiment_id=made.experiment_id)).experiment
    by_name = tracking.experiments.GetExperimentByName(
        api.GetExperimentByNameRequest(workspace="default", name=made.name)
    ).experiment

    assert made == by_id == by_name
    assert (made.workspace, made.lifecycle, dict(made.tags)) == ("default", common.LIFECYCLE_ACTIVE, {"team": "blue"})


def test_many_who_ask_for_the_same_name_get_one_experiment(tracking: Tracking) -> None:
    request = api.CreateExperimentRequest(workspace="default", name=name(), allow_existing=True)

    with ThreadPoolExecutor(32) as pool:
        ids = set(
            pool.map(lambda _: tracking.experiments.CreateExperiment(request).experiment.experiment_id, range(32))
        )

    assert len(ids) == 1


def test_a_taken_name_is_refused_and_says_whose_it_is(tracking: Tracking) -> None:
    made = make(tracking)

    refusal = refused(
        tracking.experiments.CreateExperiment, api.CreateExperimentRequest(workspace="default", name=made.name)
    )

    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "EXPERIMENT_EXISTS")
    assert refusal.metadata == {"name": made.name, "experiment_id": made.experiment_id, "lifecycle": "active"}


def test_a_request_sent_twice_makes_one_and_with_another_body_is_refused(tracking: Tracking) -> None:
    request = api.CreateExperimentRequest(workspace="default", name=name(), request_id=new_id())

    made = [tracking.experiments.CreateExperiment(request).experiment for _ in range(2)]
    request.name = name()
    refusal = refused(tracking.experiments.CreateExperiment, request)

    assert made[0] == made[1]
    assert refusal.reason == "REQUEST_ID_REUSED"


def test_an_experiment_has_a_description_and_the_caller_as_its_creator(tracking: Tracking) -> None:
    request = api.CreateExperimentRequest(workspace="default", name=name(), description="what\nand why")

    made = tracking.experiments.CreateExperiment(request, metadata=(("modelry-subject", "ann"),)).experiment

    assert (made.description, made.creator) == ("what\nand why", "ann")
    assert tracking.experiments.GetExperiment(api.GetExperimentRequest(experiment_id=made.experiment_id)) == (
        api.GetExperimentResponse(experiment=made)
    )


@pytest.mark.parametrize(
    ("paths", "fields", "changed"),
    [
        ([], {}, {}),
        ([], {"name": "{new}"}, {"name": "{new}"}),
        ([], {"description": "b"}, {"description": "b"}),
        (["description"], {"name": "{new}"}, {"description": ""}),
        (["name"], {"name": "{new}", "description": "b"}, {"name": "{new}"}),
        (["*"], {"name": "{new}"}, {"name": "{new}", "description": ""}),
        ([], {"tags": {"t": "2"}, "creator": "x"}, {}),
        (["description"], {"description": "a"}, {}),
    ],
)
def test_an_update_changes_what_the_mask_names_or_else_what_is_set_and_its_etag_if_that_is_new(
    tracking: Tracking, paths: list[str], fields: dict[str, Any], changed: dict[str, str]
) -> None:
    made, new = make(tracking, description="a", tags={"t": "1"}), name()
    given = api.Experiment(experiment_id=made.experiment_id, etag=made.etag)
    given.MergeFrom(api.Experiment(**(fields | ({"name": new} if "name" in fields else {}))))

    request = api.UpdateExperimentRequest(experiment=given, update_mask=FieldMask(paths=paths))
    updated = tracking.experiments.UpdateExperiment(request).experiment

    wanted = {"name": made.name, "description": "a"} | changed
    wanted["name"] = new if wanted["name"] == "{new}" else wanted["name"]
    assert {"name": updated.name, "description": updated.description} == wanted
    assert (updated.etag != made.etag) == bool(changed)
    assert (updated.creator, dict(updated.tags)) == (made.creator, {"t": "1"})


@pytest.mark.parametrize(
    "filter",
    [
        "name = '{name}' AND creator = 'ann' AND create_time > 1 AND update_time > 1",
        "name = '{name}' AND creation_time > 1 AND last_update_time > 1",
        "experiment_id = '{id}'",
        "attributes.experiment_id IN ('{id}')",
    ],
)
def test_experiments_are_found_by_the_names_of_their_fields_and_by_the_words_of_mlflow(
    tracking: Tracking, filter: str
) -> None:
    request = api.CreateExperimentRequest(workspace="default", name=name())
    made = tracking.experiments.CreateExperiment(request, metadata=(("modelry-subject", "ann"),)).experiment

    search = api.SearchExperimentsRequest(
        workspace="default",
        filter=filter.format(name=made.name, id=made.experiment_id),
        order_by=["experiment_id", "last_update_time DESC"],
    )

    assert list(tracking.experiments.SearchExperiments(search).experiments) == [made]


def test_experiments_are_sorted_by_id_as_numbers(tracking: Tracking) -> None:
    workspace = tracking.a_workspace()
    made = [make(tracking, workspace=workspace).experiment_id for _ in range(12)]

    request = api.SearchExperimentsRequest(workspace=workspace, order_by=["experiment_id"], page_size=5)
    found: list[str] = []
    while not found or request.page_token:
        page = tracking.experiments.SearchExperiments(request)
        found += [each.experiment_id for each in page.experiments]
        request.page_token = page.next_page_token

    assert found == made


def test_renaming_needs_the_present_etag_where_one_is_given(tracking: Tracking) -> None:
    made, new = make(tracking), name()

    def rename(to: str, etag: str) -> tuple[Any, Any]:
        given = api.Experiment(experiment_id=made.experiment_id, name=to, etag=etag)
        mask = FieldMask(paths=["name"])
        return tracking.experiments.UpdateExperiment, api.UpdateExperimentRequest(experiment=given, update_mask=mask)

    method, request = rename(new, made.etag)
    renamed = method(request).experiment
    refusal = refused(*rename("another", made.etag))

    assert (renamed.name, renamed.etag != made.etag) == (new, True)
    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", renamed.etag)


def test_a_deleted_experiment_keeps_its_name_hides_its_runs_and_comes_back(tracking: Tracking) -> None:
    made = make(tracking)
    run_id = tracking.a_run(made.experiment_id)
    deleted = tracking.experiments.DeleteExperiment(
        api.DeleteExperimentRequest(experiment_id=made.experiment_id)
    ).experiment

    def found(lifecycle: common.LifecycleFilter.ValueType) -> list[str]:
        request = api.SearchRunsRequest(workspace="default", experiment_ids=[made.experiment_id], lifecycle=lifecycle)
        return [run.run_id for run in tracking.runs.SearchRuns(request).runs]

    assert (deleted.lifecycle, deleted.HasField("delete_time")) == (common.LIFECYCLE_DELETED, True)
    assert (found(common.LIFECYCLE_FILTER_ACTIVE), found(common.LIFECYCLE_FILTER_DELETED)) == ([], [run_id])
    taken = refused(
        tracking.experiments.CreateExperiment,
        api.CreateExperimentRequest(workspace="default", name=made.name, allow_existing=True),
    )
    closed = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id=made.experiment_id))
    assert (taken.reason, taken.metadata["lifecycle"]) == ("EXPERIMENT_EXISTS", "deleted")
    assert (closed.code, closed.reason) == ("FAILED_PRECONDITION", "EXPERIMENT_DELETED")
    tracking.experiments.RestoreExperiment(api.RestoreExperimentRequest(experiment_id=made.experiment_id))
    assert found(common.LIFECYCLE_FILTER_ACTIVE) == [run_id]


def test_tags_are_set_replaced_and_removed_all_or_none(tracking: Tracking) -> None:
    made = make(tracking, tags={"a": "1", "b": "2"})
    tracking.experiments.SetExperimentTags(
        api.SetExperimentTagsRequest(experiment_id=made.experiment_id, tags={"a": "3"})
    )

    refusal = refused(
        tracking.experiments.DeleteExperimentTags,
        api.DeleteExperimentTagsRequest(experiment_id=made.experiment_id, keys=["b", "c"]),
    )
    after = tracking.experiments.DeleteExperimentTags(
        api.DeleteExperimentTagsRequest(experiment_id=made.experiment_id, keys=["b"])
    ).experiment

    assert (refusal.code, refusal.reason, refusal.metadata["key"]) == ("NOT_FOUND", "TAG_NOT_FOUND", "c")
    assert dict(after.tags) == {"a": "3"}


def test_experiments_are_found_by_filter_in_order_page_by_page_in_their_workspace(tracking: Tracking) -> None:
    workspace, prefix = tracking.a_workspace(), new_id()
    made = [make(tracking, f"{prefix} {n}", workspace=workspace, tags={"n": str(n % 2)}) for n in range(7)]
    make(tracking, f"{prefix} elsewhere", tags={"n": "1"})
    request = api.SearchExperimentsRequest(
        workspace=workspace, filter="tags.n = '1' OR tags.n = '0'", order_by=["name ASC"], page_size=3
    )

    pages = [tracking.experiments.SearchExperiments(request)]
    while pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token
        pages.append(tracking.experiments.SearchExperiments(request))
    newest = tracking.experiments.SearchExperiments(api.SearchExperimentsRequest(workspace=workspace)).experiments

    assert [len(page.experiments) for page in pages] == [3, 3, 1]
    assert [each.name for page in pages for each in page.experiments] == [each.name for each in made]
    assert list(newest) == made[::-1]


def test_a_page_is_never_larger_than_a_client_receives(tracking: Tracking) -> None:
    workspace = tracking.a_workspace()
    for _ in range(14):
        make(tracking, workspace=workspace, tags={f"t{n}": "x" * 8000 for n in range(32)})
    request = api.SearchExperimentsRequest(workspace=workspace)

    pages = [tracking.experiments.SearchExperiments(request)]
    while pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token
        pages.append(tracking.experiments.SearchExperiments(request))

    assert len(pages) > 1
    assert len({each.experiment_id for page in pages for each in page.experiments}) == 14


Ask = Callable[[Tracking], tuple[Any, Any]]


def ask(rpc: str, **fields: Any) -> Ask:
    request = getattr(api, f"{rpc}Request")(**fields)
    if hasattr(request, "workspace") and "workspace" not in fields:
        request.workspace = "default"
    return lambda tracking: (getattr(tracking.experiments, rpc), request)


def update(paths: list[str], **fields: Any) -> Ask:
    given = api.Experiment(experiment_id="0", **fields)
    return ask("UpdateExperiment", experiment=given, update_mask=FieldMask(paths=paths))


@pytest.mark.parametrize(
    ("question", "field", "said"),
    [
        (ask("CreateExperiment", workspace="", name="n"), "workspace", "is required"),
        (ask("GetExperimentByName", workspace="", name="n"), "workspace", "is required"),
        (ask("SearchExperiments", workspace=""), "workspace", "is required"),
        (ask("CreateExperiment"), "name", "1 to 500"),
        (ask("CreateExperiment", name="n", description="d" * 100_001), "description", "100001"),
        (ask("CreateExperiment", name="n" * 501), "name", "501"),
        (ask("CreateExperiment", name="a\0b"), "name", "control"),
        (ask("CreateExperiment", name="n "), "name", "'n '"),
        (ask("CreateExperiment", name="n", tags={"k" * 251: ""}), f"tags['{'k' * 40}']", "251"),
        (ask("CreateExperiment", name="n", tags={"k": "v" * 8001}), "tags['k']", "8001"),
        (ask("CreateExperiment", name="n", tags={str(n): "" for n in range(1001)}), "tags", "1001"),
        (ask("CreateExperiment", name="n", request_id="r" * 65), "request_id", "65"),
        (ask("GetExperiment", experiment_id="x"), "experiment_id", "'x'"),
        (ask("GetExperiment"), "experiment_id", "''"),
        (ask("GetExperimentByName"), "name", "1 to 500"),
        (
            ask("UpdateExperiment", experiment=api.Experiment(experiment_id="x", name="n")),
            "experiment.experiment_id",
            "x",
        ),
        (update(["name"]), "experiment.name", "1 to 500"),
        (update([], name="n" * 501), "experiment.name", "501"),
        (update([], description="d" * 100_001), "experiment.description", "100001"),
        (update(["tags"]), "update_mask", "'tags' can't be named here; allowed: description, name"),
        (update([], creator="c", tags={"t": "1"}, name=" "), "experiment.name", "white space"),
        (ask("DeleteExperiment", experiment_id="1.5"), "experiment_id", "'1.5'"),
        (ask("RestoreExperiment", experiment_id="one"), "experiment_id", "'one'"),
        (ask("SetExperimentTags", experiment_id="0"), "tags", "1 to 1000"),
        (ask("SetExperimentTags", experiment_id="0", tags={"": "v"}), "tags['']", "1 to 250"),
        (ask("DeleteExperimentTags", experiment_id="0"), "keys", "1 to 1000"),
        (ask("DeleteExperimentTags", experiment_id="0", keys=["k"] * 1001), "keys", "1001"),
        (ask("SearchExperiments", page_size=-5), "page_size", "-5"),
        (ask("SearchExperiments", lifecycle=8), "lifecycle", "8"),
        (ask("SearchExperiments", filter="colour = 'red'"), "filter", "name, experiment_id, creator, create_time"),
        (ask("SearchExperiments", filter="experiment_id = 1"), "filter", "a text in quotes"),
        (ask("SearchExperiments", filter="name = 'a"), "filter", "column 8"),
        (ask("SearchExperiments", order_by=["name", "colour"]), "order_by[1]", "name"),
    ],
)
def test_a_field_outside_its_limits_is_refused_by_its_path_with_value_and_rule(
    tracking: Tracking, question: Ask, field: str, said: str
) -> None:
    refusal = refused(*question(tracking))

    assert refusal.code == "INVALID_ARGUMENT"
    assert list(refusal.violations) == [field]
    assert said in refusal.violations[field]


@pytest.mark.parametrize(
    "question",
    [
        ask("GetExperiment", experiment_id="999999999999"),
        ask("UpdateExperiment", experiment=api.Experiment(experiment_id="999999999999", name="n")),
        ask("DeleteExperiment", experiment_id="999999999999"),
        ask("RestoreExperiment", experiment_id="999999999999"),
        ask("SetExperimentTags", experiment_id="999999999999", tags={"a": "1"}),
        ask("DeleteExperimentTags", experiment_id="999999999999", keys=["a"]),
    ],
)
def test_an_experiment_that_is_not_there_is_named(tracking: Tracking, question: Ask) -> None:
    refusal = refused(*question(tracking))

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "EXPERIMENT_NOT_FOUND")
    assert refusal.resource == ("experiment", "999999999999")


@pytest.mark.parametrize("workspace", ["no-such-team", "\x01", "x" * 10_000, "../default", "\u65e5\u672c"])
@pytest.mark.parametrize(
    "rpc", ["CreateExperiment", "GetExperimentByName", "SearchExperiments", "SearchRuns", "SearchDatasets"]
)
def test_a_workspace_that_is_not_there_is_named_wherever_one_can_be(
    tracking: Tracking, rpc: str, workspace: str
) -> None:
    request = getattr(api, f"{rpc}Request")(workspace=workspace)
    if hasattr(request, "name"):
        request.name = "n"
    noun = {"SearchRuns": tracking.runs, "SearchDatasets": tracking.datasets}.get(rpc, tracking.experiments)

    refusal = refused(getattr(noun, rpc), request)

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND")
    assert refusal.resource[0] == "workspace"
