"""A caller tries to find out what there is elsewhere: by lists, by pages, by errors, by how long an answer takes."""

from __future__ import annotations

import dataclasses
import re
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.attacks.conftest import Scene
from tests.contract.test_callers import INSIDE
from tests.parts.locked import Who
from tests.parts.refusal import unpacked
from tests.server.every_rpc import BUILD, OTHER_WAYS, Things, absent

SECRET = "merger-with-acme"
SEARCHES: dict[str, tuple[str, Callable[..., Any]]] = {
    "experiments": ("tracking.v1.ExperimentService/SearchExperiments", tracking.SearchExperimentsRequest),
    "runs": ("tracking.v1.RunService/SearchRuns", tracking.SearchRunsRequest),
    "datasets": ("tracking.v1.DatasetService/SearchDatasets", tracking.SearchDatasetsRequest),
    "models": ("registry.v1.ModelService/SearchModels", registry.SearchModelsRequest),
    "versions": ("registry.v1.VersionService/SearchVersions", registry.SearchVersionsRequest),
}
TAGGED = sorted(set(SEARCHES) - {"datasets"})


@pytest.fixture(scope="module", autouse=True)
def secrets(scene: Scene) -> None:
    """Everything that is attacked has a tag that nobody elsewhere may find."""
    things, tags = scene.things, {"project": SECRET}
    scene.ask(
        scene.victim,
        "tracking.v1.ExperimentService/SetExperimentTags",
        tracking.SetExperimentTagsRequest(experiment_id=things.experiment_id, tags=tags),
    )
    for _ in range(2):
        scene.ask(
            scene.victim,
            "tracking.v1.RunService/CreateRun",
            tracking.CreateRunRequest(experiment_id=things.experiment_id, tags=tags),
        )
    scene.ask(
        scene.victim,
        "registry.v1.ModelService/SetModelTags",
        registry.SetModelTagsRequest(**things.model, tags=tags),
    )
    scene.ask(
        scene.victim,
        "registry.v1.VersionService/SetVersionTags",
        registry.SetVersionTagsRequest(**things.version, tags=tags),
    )


@pytest.fixture(scope="module")
def neighbour(scene: Scene) -> Who:
    """Somebody with a role in the workspace of the secrets, but at another experiment and another model only."""
    workspace = scene.things.workspace
    experiment = scene.ask(
        scene.victim,
        "tracking.v1.ExperimentService/CreateExperiment",
        tracking.CreateExperimentRequest(workspace=workspace, name=new_id()),
    ).experiment
    create = registry.CreateModelRequest(workspace=workspace, name=new_id())
    model = scene.ask(scene.victim, "registry.v1.ModelService/CreateModel", create).model
    who = scene.locked.somebody("reader", access.Place(workspace=workspace, experiment_id=experiment.experiment_id))
    scene.locked.bind(who.principal_id, "reader", access.Place(workspace=workspace, model_id=model.model_id))
    return who


@pytest.mark.parametrize("noun", sorted(SEARCHES))
def test_a03_a_search_elsewhere_has_no_row_no_page_and_no_error_of_its_own(scene: Scene, noun: str) -> None:
    rpc, request = SEARCHES[noun]

    there = scene.refusal(scene.attacker, rpc, request(workspace=scene.things.workspace))
    nowhere = scene.refusal(scene.attacker, rpc, request(workspace="nowhere"))
    filtered = scene.refusal(scene.attacker, rpc, request(workspace=scene.things.workspace, filter="][ no filter"))
    own = scene.ask(scene.attacker, rpc, request(workspace=scene.own.workspace, page_size=1))

    assert there.code == filtered.code == "NOT_FOUND"
    assert (
        str(there).replace(scene.things.workspace, "nowhere")
        == str(nowhere)
        == str(filtered).replace(scene.things.workspace, "nowhere")
    )
    assert scene.things.workspace not in str(own)
    assert own.next_page_token == ""


@pytest.mark.parametrize("noun", TAGGED)
def test_a03_a_secret_tag_can_not_be_guessed_by_a_filter(scene: Scene, neighbour: Who, noun: str) -> None:
    rpc, request = SEARCHES[noun]

    def seen(who: Who, workspace: str, text: str) -> str:
        return str(scene.ask(who, rpc, request(workspace=workspace, filter=text, page_size=1)))

    here, own = scene.things.workspace, scene.own.workspace
    assert SECRET in seen(scene.victim, here, f"tags.project = '{SECRET}'")
    for text, other in (
        (f"tags.project = '{SECRET}'", "tags.project = 'merger-with-nobody'"),
        ("tags.project LIKE 'merger%'", "tags.project LIKE 'nothing%'"),
        ("tags.project ILIKE '%ACME'", "tags.project ILIKE '%ACMF'"),
    ):
        assert seen(neighbour, here, text) == seen(neighbour, here, other) == ""
        assert seen(scene.attacker, own, text) == seen(scene.attacker, own, other) == ""


@pytest.mark.parametrize("noun", sorted(SEARCHES))
def test_a03_who_sees_a_part_of_a_workspace_counts_nothing_of_the_rest(scene: Scene, neighbour: Who, noun: str) -> None:
    rpc, request = SEARCHES[noun]

    found = scene.ask(neighbour, rpc, request(workspace=scene.things.workspace, page_size=1))

    assert found.next_page_token == ""
    for secret in (scene.things.run_id, scene.things.model_name, scene.things.dataset_id, SECRET):
        assert secret not in str(found)


def test_a03_lists_and_events_have_nothing_from_elsewhere(scene: Scene, neighbour: Who) -> None:
    workspaces = scene.ask(scene.attacker, "access.v1.WorkspaceService/ListWorkspaces", access.ListWorkspacesRequest())
    principals = scene.ask(neighbour, "access.v1.PrincipalService/ListPrincipals", access.ListPrincipalsRequest())
    groups = scene.ask(neighbour, "access.v1.GroupService/ListGroups", access.ListGroupsRequest())
    who_am_i = scene.ask(scene.attacker, "access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest())
    events = scene.ask(
        neighbour, "registry.v1.EventService/ListEvents", registry.ListEventsRequest(workspace=scene.things.workspace)
    )
    beats = tracking.LogHeartbeatsRequest(run_ids=[scene.things.run_id, absent().run_id])
    unknown = scene.ask(scene.attacker, "tracking.v1.RunService/LogHeartbeats", beats)

    assert [each.name for each in workspaces.workspaces] == [scene.own.workspace]
    assert workspaces.next_page_token == ""
    assert [each.principal_id for each in principals.principals] == [neighbour.principal_id]
    assert not groups.groups
    assert scene.things.workspace not in str(who_am_i)
    assert scene.things.model_name not in str(events)
    assert SECRET not in str(events)
    assert list(unknown.unknown_run_ids) == list(beats.run_ids)
    assert [*unknown.denied_run_ids, *unknown.deleted_run_ids, *unknown.not_running_run_ids] == []


def test_a03_a_dataset_that_is_known_elsewhere_is_new_here(scene: Scene) -> None:
    """The same name and digest: neither its id nor its time tell that somebody else has used it."""
    request = BUILD["/modelry.api.tracking.v1.DatasetService/LogDatasets"](scene.own)
    logged = scene.ask(scene.attacker, "tracking.v1.DatasetService/LogDatasets", request).datasets[0]

    assert logged.dataset_id == scene.own.dataset_id != scene.things.dataset_id


def _requests(things: Things, nothing: Things) -> Sequence[tuple[str, str, Any, Any]]:
    """A name, an rpc, the request about what is there, and the same about what is not there."""
    calls = [(rpc, f"/modelry.api.{rpc}", BUILD[f"/modelry.api.{rpc}"]) for rpc in sorted(INSIDE)]
    calls += [(name, rpc, build) for name, (rpc, build) in sorted(OTHER_WAYS.items())]
    return [(name, rpc, build(things), build(nothing)) for name, rpc, build in calls]


def _without_names(answer: str, things: Things) -> str:
    """The answer with the names of things replaced by what they name."""
    for field, value in dataclasses.asdict(things).items():
        answer = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", f"<{field}>", answer)
    return answer


def test_a09_not_yours_and_not_there_are_told_in_the_same_words(scene: Scene) -> None:
    """Every rpc that needs a role, for somebody who has one elsewhere."""
    nothing = absent()
    differ = []
    for name, rpc, there, not_there in _requests(scene.things, nothing):
        answers = []
        for request in (there, not_there):
            with pytest.raises(grpc.RpcError) as caught:
                scene.locked.call(rpc, request, scene.attacker.metadata)
            error: Any = caught.value
            refusal, keys = unpacked(error), sorted(key for key, _ in error.trailing_metadata() or ())
            answers.append(f"{refusal} {keys}")
        answers = [_without_names(answer, of) for answer, of in zip(answers, (scene.things, nothing), strict=True)]
        if answers[0] != answers[1] or "NOT_FOUND" not in answers[0]:
            differ.append((name, *answers))

    assert differ == []


def test_a09_a_name_that_is_taken_elsewhere_is_free_here_and_none_can_be_tried_there(scene: Scene) -> None:
    for rpc, request in (
        ("tracking.v1.ExperimentService/CreateExperiment", tracking.CreateExperimentRequest),
        ("registry.v1.ModelService/CreateModel", registry.CreateModelRequest),
    ):
        taken = "taken-" + new_id()
        scene.ask(scene.victim, rpc, request(workspace=scene.things.workspace, name=taken))
        there = scene.refusal(scene.attacker, rpc, request(workspace=scene.things.workspace, name=taken))
        free = scene.refusal(scene.attacker, rpc, request(workspace=scene.things.workspace, name="free-" + new_id()))

        scene.ask(scene.attacker, rpc, request(workspace=scene.own.workspace, name=taken))
        assert there == free


def test_a09_neither_an_etag_nor_a_request_id_tells_of_what_is_not_yours(scene: Scene) -> None:
    def updated(model_id: str, etag: str) -> str:
        model = registry.Model(model_id=model_id, description="x", etag=etag)
        found = scene.refusal(
            scene.attacker, "registry.v1.ModelService/UpdateModel", registry.UpdateModelRequest(model=model)
        )
        return str(found).replace(model_id, "")

    mine = scene.ask(
        scene.victim, "registry.v1.ModelService/GetModel", registry.GetModelRequest(model_id=scene.things.model_id)
    ).model
    request_id = new_id()
    create: dict[str, Any] = {"name": new_id(), "request_id": request_id}
    scene.ask(
        scene.victim,
        "registry.v1.ModelService/CreateModel",
        registry.CreateModelRequest(workspace=scene.things.workspace, **create),
    )
    again = scene.ask(
        scene.attacker,
        "registry.v1.ModelService/CreateModel",
        registry.CreateModelRequest(workspace=scene.own.workspace, **create),
    ).model

    answers = {updated(mine.model_id, mine.etag), updated(mine.model_id, "wrong"), updated(new_id(), mine.etag)}
    assert len(answers) == 1
    assert again.workspace == scene.own.workspace


TRIES = 1000
TIMED: dict[str, tuple[str, Callable[[str], Any], Callable[[Scene], str]]] = {
    "a run": (
        "tracking.v1.RunService/GetRun",
        lambda run_id: tracking.GetRunRequest(run_id=run_id),
        lambda scene: scene.things.run_id,
    ),
    "a model": (
        "registry.v1.ModelService/GetModel",
        lambda model_id: registry.GetModelRequest(model_id=model_id),
        lambda scene: scene.things.model_id,
    ),
}


@pytest.mark.parametrize("name", sorted(TIMED))
def test_a09_not_yours_and_not_there_take_the_same_time(scene: Scene, name: str) -> None:
    """Medians of 1000 tries in turn. A look-up of its own would be a third of a call."""
    rpc, request, known = TIMED[name]
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(TRIES):
        for times, wanted in zip(took, (known(scene), new_id()), strict=True):
            begun = time.perf_counter()
            scene.refusal(scene.attacker, rpc, request(wanted))
            times.append(time.perf_counter() - begun)
    yours, absent_ = (statistics.median(times) for times in took)

    assert abs(yours - absent_) < 0.2 * max(yours, absent_), (yours, absent_)


def _page(scene: Scene, who: Who, token: str = "", **fields: Any) -> tracking.SearchRunsResponse:
    request = tracking.SearchRunsRequest(workspace=scene.things.workspace, page_size=1, page_token=token, **fields)
    found: tracking.SearchRunsResponse = scene.ask(who, "tracking.v1.RunService/SearchRuns", request)
    return found


def test_a10_a_page_token_is_good_for_its_caller_and_its_search_only(scene: Scene) -> None:
    reader, other = scene.insider("reader"), scene.insider("reader")
    token = _page(scene, reader).next_page_token
    middle = len(token) // 2
    changed = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]

    def refused(who: Who, given: str, **fields: Any) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            _page(scene, who, given, **fields)
        return unpacked(caught.value).code

    assert token
    assert _page(scene, reader, token).runs
    assert refused(other, token) == "INVALID_ARGUMENT"
    assert refused(scene.victim, token) == "INVALID_ARGUMENT"
    nowhere = tracking.SearchRunsRequest(workspace="nowhere", page_size=1, page_token=token)
    there = tracking.SearchRunsRequest(workspace=scene.things.workspace, page_size=1, page_token=token)
    search = "tracking.v1.RunService/SearchRuns"
    assert scene.refusal(scene.attacker, search, there) == scene.refusal(scene.attacker, search, nowhere)
    for given in (changed, token + "A", token[:-1], "x", "A" * (1 << 20)):
        assert refused(reader, given) == "INVALID_ARGUMENT"
    assert refused(reader, token, filter="tags.kept = '1'") == "INVALID_ARGUMENT"
    for rpc, request in SEARCHES.values():
        if not rpc.endswith("SearchRuns"):
            asked = request(workspace=scene.things.workspace, page_token=token)
            assert scene.refusal(reader, rpc, asked).code == "INVALID_ARGUMENT"


def test_a10_a_page_token_is_no_right(scene: Scene) -> None:
    who = scene.locked.somebody()
    binding = scene.locked.bind(who.principal_id, "reader", access.Place(workspace=scene.things.workspace))
    token = _page(scene, who).next_page_token
    scene.locked.ask("access.v1.RoleService/DeleteRoleBinding", access.DeleteRoleBindingRequest(binding_id=binding))
    until = time.monotonic() + 5
    code = ""
    while code != "NOT_FOUND" and time.monotonic() < until:
        try:
            _page(scene, who, token)
        except grpc.RpcError as error:
            code = unpacked(error).code

    assert code == "NOT_FOUND"


def test_a03_files_elsewhere_are_not_told_by_their_content(scene: Scene) -> None:
    """Content that somebody else has stored must be sent as if it were new (U1)."""
    upload: Any = BUILD["/modelry.api.artifacts.v1.ArtifactService/WriteArtifacts"](scene.own)
    short = [step for step in upload if step.WhichOneof("step") != "content"]
    refusal = scene.refusal(scene.attacker, "artifacts.v1.ArtifactService/WriteArtifacts", short)

    assert refusal.code in ("INVALID_ARGUMENT", "DATA_LOSS", "FAILED_PRECONDITION")
    listed = artifacts.ListArtifactsRequest(owner=scene.own.files, path="other")
    found = scene.ask(scene.attacker, "artifacts.v1.ArtifactService/ListArtifacts", listed)
    assert not found.artifacts
