from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelry.api.access import v1 as access
from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import WORKSPACE, Platform, of_run, unique
from tests.parts.deployment import Deployment
from tests.parts.refusal import refused


def of(model_name: str) -> dict[str, Any]:
    """The fields of a request that name a model."""
    return {"workspace": WORKSPACE, "model_name": model_name}


def test_a_model_that_was_made_is_found_by_its_name(platform: Platform) -> None:
    made = platform.a_model(description="Finds fraud.", tags={"team": "risk"})

    found = platform.models.GetModel(api.GetModelRequest(**of(made.name))).model

    assert found == made
    assert (found.workspace, found.description, dict(found.tags)) == ("default", "Finds fraud.", {"team": "risk"})
    assert (found.last_version_number, found.creator, len(found.model_id)) == (0, "anonymous", 32)
    assert platform.models.GetModel(api.GetModelRequest(model_id=made.model_id)).model == made
    assert found.create_time.ToMilliseconds() > 1_700_000_000_000


def test_a_taken_name_is_refused_or_answered_with_the_model_that_has_it(platform: Platform) -> None:
    made = platform.a_model(description="first")

    refusal = refused(platform.models.CreateModel, api.CreateModelRequest(workspace=WORKSPACE, name=made.name))
    request = api.CreateModelRequest(workspace=WORKSPACE, name=made.name, description="second", allow_existing=True)

    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "MODEL_EXISTS")
    assert platform.models.CreateModel(request).model == made


def test_many_who_make_the_same_model_at_once_get_one_model(platform: Platform) -> None:
    request = api.CreateModelRequest(workspace=WORKSPACE, name=unique("fraud"), allow_existing=True)

    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(lambda _: platform.models.CreateModel(request).model, range(64)))

    assert len({model.model_id for model in made}) == 1


def test_a_retry_answers_with_the_same_model_for_the_same_caller_only(platform: Platform) -> None:
    request = api.CreateModelRequest(workspace=WORKSPACE, name=unique("fraud"), request_id=new_id())
    made = platform.models.CreateModel(request).model

    assert platform.models.CreateModel(request).model == made
    stranger = refused(platform.models.CreateModel, request, metadata=(("modelry-subject", "eve"),))
    assert stranger.reason == "MODEL_EXISTS"
    other = api.CreateModelRequest(workspace=WORKSPACE, name=unique("fraud"), request_id=request.request_id)
    assert refused(platform.models.CreateModel, other).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"workspace": ""}, "workspace"),
        ({"name": ""}, "name"),
        ({"name": "x" * 251}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"description": "x" * 100_001}, "description"),
        ({"tags": {"": ""}}, "tags['']"),
        ({"tags": {"k": "x" * 8001}}, "tags['k']"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_its_path(
    platform: Platform, fields: dict[str, object], path: str
) -> None:
    request = api.CreateModelRequest(**({"workspace": WORKSPACE, "name": unique("fraud")} | fields))  # type: ignore[arg-type]

    refusal = refused(platform.models.CreateModel, request)

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(refusal.violations) == [path]


def test_all_mistakes_are_told_at_once(platform: Platform) -> None:
    request = api.CreateModelRequest(workspace=WORKSPACE, name="a/b", description="x" * 100_001, request_id="x" * 65)

    assert sorted(refused(platform.models.CreateModel, request).violations) == ["description", "name", "request_id"]


@pytest.mark.parametrize("name", ["a/b", "latest", "x" * 10_000])
def test_a_model_that_is_not_there_is_named(platform: Platform, name: str) -> None:
    refusal = refused(platform.models.GetModel, api.GetModelRequest(**of(name)))

    assert (refusal.code, refusal.reason, refusal.resource[0]) == ("NOT_FOUND", "MODEL_NOT_FOUND", "model")


def test_a_rename_keeps_the_id_and_the_etag_guards_it(platform: Platform) -> None:
    made, name = platform.a_model(), unique("scam")

    given = api.Model(model_id=made.model_id, name=name, description="Words.", etag=made.etag)
    renamed = platform.models.UpdateModel(api.UpdateModelRequest(model=given)).model

    assert (renamed.name, renamed.description, renamed.model_id) == (name, "Words.", made.model_id)
    given = api.Model(model_id=made.model_id, description="Mine.", etag=made.etag)
    late = api.UpdateModelRequest(model=given)
    refusal = refused(platform.models.UpdateModel, late)
    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", renamed.etag)
    assert refused(platform.models.GetModel, api.GetModelRequest(**of(made.name))).reason == "MODEL_NOT_FOUND"


def test_a_mask_clears_what_it_names_and_leaves_the_rest(platform: Platform) -> None:
    made = platform.a_model(description="Words.")

    request = api.UpdateModelRequest(model=api.Model(model_id=made.model_id, name="ignored/"))
    request.update_mask.paths.append("description")

    changed = platform.models.UpdateModel(request).model
    assert (changed.name, changed.description) == (made.name, "")
    request.update_mask.paths.append("tags")
    assert list(refused(platform.models.UpdateModel, request).violations) == ["update_mask"]


def test_a_model_in_use_is_not_deleted_and_says_by_which_versions(platform: Platform) -> None:
    model = platform.a_model()
    version = platform.a_version(model.name)
    platform.promote(version, "Staging")

    refusal = refused(platform.models.DeleteModel, api.DeleteModelRequest(**of(model.name)))
    assert (refusal.code, refusal.reason, refusal.metadata["versions"]) == ("FAILED_PRECONDITION", "MODEL_IN_USE", "1")
    assert "MODEL_IN_USE" in refusal.unmet
    platform.promote(version, "Archived")
    platform.models.DeleteModel(api.DeleteModelRequest(**of(model.name)))
    assert refused(platform.models.GetModel, api.GetModelRequest(**of(model.name))).reason == "MODEL_NOT_FOUND"


def test_tags_are_set_replaced_and_removed(platform: Platform) -> None:
    name = platform.a_model(tags={"a": "1", "b": "2"}).name

    changed = platform.models.SetModelTags(api.SetModelTagsRequest(**of(name), tags={"b": "3"})).model
    assert changed.tags == {"a": "1", "b": "3"}
    refusal = refused(
        platform.models.DeleteModelTags,
        api.DeleteModelTagsRequest(**of(name), keys=["a", "none"]),
    )
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "TAG_NOT_FOUND")
    left = platform.models.DeleteModelTags(api.DeleteModelTagsRequest(**of(name), keys=["a"])).model
    assert left.tags == {"b": "3"}
    for request in (
        api.SetModelTagsRequest(**of(name)),
        api.SetModelTagsRequest(**of(name), tags={"": "x"}),
    ):
        assert refused(platform.models.SetModelTags, request).reason == "FIELD_INVALID"
    assert refused(platform.models.DeleteModelTags, api.DeleteModelTagsRequest(**of(name))).reason == "FIELD_INVALID"


def search(platform: Platform, filter: str, *order_by: str, size: int = 100) -> list[str]:
    """The names of all models that a filter finds, read by pages."""
    request = api.SearchModelsRequest(workspace=WORKSPACE, filter=filter, order_by=order_by, page_size=size)
    found: list[str] = []
    while True:
        page = platform.models.SearchModels(request)
        found += [model.name for model in page.models]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def test_models_are_found_by_what_they_are(platform: Platform) -> None:
    mark = new_id()
    names = [platform.a_model(f"{mark}-{word}", tags={"n": str(n)}).name for n, word in enumerate("cBa")]
    platform.a_model(f"{mark}-d")
    own = f"name LIKE '{mark}%'"

    assert search(platform, own) == [names[1], names[2], names[0], f"{mark}-d"]
    assert search(platform, own, "tags.n DESC", size=1) == [names[2], names[1], names[0], f"{mark}-d"]
    assert search(platform, f"{own} AND tags.n != '1'") == [names[2], names[0]]
    assert search(platform, f"name ILIKE '{mark}-b'") == [names[1]]
    assert search(platform, f"{own} AND NOT (tags.n = '0' OR tags.n IS NULL)", "name DESC") == [names[2], names[1]]
    assert search(platform, f"{own} AND update_time < 0") == []


def test_pages_neither_skip_nor_repeat_while_others_write(platform: Platform) -> None:
    mark = new_id()
    names = [platform.a_model(f"{mark}-{n:02}").name for n in range(0, 20, 2)]
    request = api.SearchModelsRequest(workspace=WORKSPACE, filter=f"name LIKE '{mark}%'", page_size=3)

    seen: list[str] = []
    while not seen or request.page_token:
        page = platform.models.SearchModels(request)
        seen += [model.name for model in page.models]
        request.page_token = page.next_page_token
        platform.a_model(f"{seen[-1]}-before")
        platform.models.DeleteModel(api.DeleteModelRequest(**of(seen[-1])))

    assert [name for name in seen if not name.endswith("-before")] == names


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"filter": "name = "}, "FILTER_SYNTAX"),
        ({"filter": "name = 3"}, "FILTER_SYNTAX"),
        ({"filter": "metrics.x = 3"}, "FILTER_SYNTAX"),
        ({"filter": "(" * 100_000}, "FILTER_SYNTAX"),
        ({"order_by": ["colour"]}, "FILTER_SYNTAX"),
        ({"order_by": ["name"] * 9}, "FILTER_SYNTAX"),
        ({"page_size": -1}, "FIELD_INVALID"),
        ({"page_token": "x" * 10_000}, "PAGE_TOKEN_INVALID"),
        ({"workspace": "nowhere"}, "WORKSPACE_NOT_FOUND"),
        ({"workspace": "a b"}, "WORKSPACE_NOT_FOUND"),
        ({"workspace": "a\0b"}, "FIELD_INVALID"),
        ({"workspace": ""}, "FIELD_INVALID"),
    ],
)
def test_a_search_that_cannot_be_answered_is_refused(
    platform: Platform, fields: dict[str, object], reason: str
) -> None:
    refusal = refused(
        platform.models.SearchModels,
        api.SearchModelsRequest(**({"workspace": WORKSPACE} | fields)),  # type: ignore[arg-type]
    )

    assert refusal.reason == reason


def test_a_page_of_large_models_ends_before_it_is_too_large_to_receive(platform: Platform) -> None:
    mark = new_id()
    tags = {str(n): "ä" * 8000 for n in range(16)}
    names = [platform.a_model(f"{mark}-{n}", description="🦉" * 100_000, tags=tags).name for n in range(9)]

    request = api.SearchModelsRequest(workspace=WORKSPACE, filter=f"name LIKE '{mark}%'")
    first = platform.models.SearchModels(request)

    assert 0 < len(first.models) < 9
    assert search(platform, request.filter) == names


def test_models_of_one_workspace_are_not_those_of_another(platform: Platform, deployment: Deployment) -> None:
    workspace, name = f"team-{new_id()}", unique("fraud")
    deployment.stub(access.WorkspaceServiceStub).CreateWorkspace(access.CreateWorkspaceRequest(name=workspace))

    made = platform.models.CreateModel(api.CreateModelRequest(workspace=workspace, name=name)).model

    assert made.workspace == workspace
    assert refused(platform.models.GetModel, api.GetModelRequest(**of(name))).reason == "MODEL_NOT_FOUND"
    assert platform.a_model(name).model_id != made.model_id
    assert search(platform, f"name = '{name}'") == [name]
    elsewhere = platform.models.SearchModels(api.SearchModelsRequest(workspace=workspace)).models
    assert [model.model_id for model in elsewhere] == [made.model_id]
    missing = api.CreateModelRequest(workspace="nowhere", name=name)
    assert refused(platform.models.CreateModel, missing).reason == "WORKSPACE_NOT_FOUND"


def test_a_run_of_another_workspace_makes_no_version(platform: Platform, deployment: Deployment) -> None:
    workspace = f"team-{new_id()}"
    deployment.stub(access.WorkspaceServiceStub).CreateWorkspace(access.CreateWorkspaceRequest(name=workspace))
    model = platform.models.CreateModel(api.CreateModelRequest(workspace=workspace, name="fraud")).model

    request = api.CreateVersionRequest(workspace=workspace, model_name=model.name, source=of_run(platform.a_run()))

    assert list(refused(platform.versions.CreateVersion, request).violations) == ["source.run.run_id"]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["model_name", "workspace"]),
        ({"workspace": WORKSPACE}, ["model_name"]),
        ({"model_name": "fraud"}, ["workspace"]),
        ({"model_id": "x"}, ["model_id"]),
        ({"model_id": "0" * 32, "workspace": WORKSPACE, "model_name": "fraud"}, ["model_id"]),
    ],
)
def test_a_model_is_asked_for_in_exactly_one_way(platform: Platform, fields: dict[str, str], paths: list[str]) -> None:
    refusal = refused(platform.models.GetModel, api.GetModelRequest(**fields))

    assert (refusal.reason, sorted(refusal.violations)) == ("FIELD_INVALID", paths)


def test_an_update_names_the_model_by_its_id(platform: Platform) -> None:
    made = platform.a_model()

    by_name = api.UpdateModelRequest(model=api.Model(workspace=WORKSPACE, name=made.name, description="x"))
    assert list(refused(platform.models.UpdateModel, by_name).violations) == ["model.model_id"]
    unknown = api.UpdateModelRequest(model=api.Model(model_id=new_id(), description="x"))
    assert refused(platform.models.UpdateModel, unknown).reason == "MODEL_NOT_FOUND"


def test_a_mask_of_everything_changes_name_and_description(platform: Platform) -> None:
    made, name = platform.a_model(description="Words."), unique("scam")
    request = api.UpdateModelRequest(model=api.Model(model_id=made.model_id, name=name))
    request.update_mask.paths.append("*")

    changed = platform.models.UpdateModel(request).model

    assert (changed.name, changed.description) == (name, "")


def test_an_update_of_nothing_changes_nothing(platform: Platform) -> None:
    made = platform.a_model(description="Words.")

    assert platform.models.UpdateModel(api.UpdateModelRequest(model=api.Model(model_id=made.model_id))).model == made


def test_models_are_found_by_who_created_them_and_by_the_words_of_mlflow(platform: Platform) -> None:
    name = platform.a_model().name

    assert search(platform, f"creator = 'anonymous' AND name = '{name}'", "create_time DESC") == [name]
    assert search(platform, f"name = '{name}' AND creation_timestamp > 0", "last_updated_timestamp") == [name]
