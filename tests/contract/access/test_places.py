"""What roles let people do and see in the other rooms: in a workspace, at one experiment, at one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.contract.access.conftest import World
from tests.parts.locked import Who
from tests.server.every_rpc import BUILD, CONTENT, FILE, FILE_OF_VERSION, Things, make


@dataclass(frozen=True, slots=True)
class Scene:
    """A workspace with two of everything, of which people have roles at the first."""

    world: World
    first: Things
    second: Things

    @property
    def place(self) -> api.Place:
        """The workspace."""
        return api.Place(workspace=self.first.workspace)

    @property
    def experiment(self) -> api.Place:
        """The first experiment."""
        return api.Place(workspace=self.first.workspace, experiment_id=self.first.experiment_id)

    @property
    def model(self) -> api.Place:
        """The first model."""
        return api.Place(workspace=self.first.workspace, model_id=self.first.model_id)

    def version(self, of: Things, by: Who | None = None) -> registry.Version:
        """A new version of a model."""
        source = registry.VersionSource(run=registry.RunFiles(run_id=of.run_id, path="model"))
        request = registry.CreateVersionRequest(**of.model, source=source)
        found: registry.Version = self.world.ask(request, by).version
        return found


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    """Two of everything in one workspace."""
    first = make(lambda rpc, request: world.locked.call(rpc, request, world.admin.metadata))
    return Scene(world, first, _second(world, first))


def _second(world: World, first: Things) -> Things:
    """Another experiment and another model in the workspace, with a run, a file and a version."""
    request = tracking.CreateExperimentRequest(workspace=first.workspace, name="other", tags={"kept": "1"})
    experiment = world.ask(request).experiment
    run = world.ask(tracking.CreateRunRequest(experiment_id=experiment.experiment_id)).run
    wanted = {"experiment_id": experiment.experiment_id, "experiment_name": "other", "run_id": run.run_id}
    of = _replaced(first, **wanted, model_name="other")
    world.ask(_upload(of))
    model = world.ask(registry.CreateModelRequest(workspace=of.workspace, name="other")).model
    source = registry.VersionSource(run=registry.RunFiles(run_id=run.run_id, path="model"))
    version = world.ask(registry.CreateVersionRequest(**of.model, source=source)).version
    return _replaced(of, model_id=model.model_id, version_id=version.version_id)


def _replaced(things: Things, **fields: str) -> Things:
    return Things(**{name: fields.get(name, getattr(things, name)) for name in things.__slots__})


def _upload(of: Things) -> Any:
    messages: Any = BUILD["/modelry.api.artifacts.v1.ArtifactService/WriteArtifacts"](of)
    messages[1].header.path = FILE
    return messages


def promoted(of: Things, version: registry.Version, stage: str) -> registry.PromoteVersionRequest:
    """A request that moves a version."""
    return registry.PromoteVersionRequest(**of.model, version_number=version.version_number, stage=stage)


def content(world: World, by: Who, **owner: str) -> bytes:
    """The bytes of the file of a run or a version."""
    path = FILE if "run_id" in owner else FILE_OF_VERSION
    request = artifacts.ReadArtifactsRequest(owner=artifacts.ArtifactOwner(**owner), path=path)
    return b"".join(each.content for each in world.ask(request, by))


def test_a_role_may_create_versions_but_not_promote_them_to_production(scene: Scene) -> None:
    world, of = scene.world, scene.first
    role = world.role("models.read", "runs.read", "files.read", "versions.create", "versions.stage")
    me = world.locked.somebody(role, scene.place)

    version = scene.version(of, me)

    assert version.version_number > 1
    assert world.ask(promoted(of, version, "Staging"), me).promotion.to_stage == "Staging"
    refusal = world.refused(promoted(of, version, "Production"), me)
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    assert refusal.metadata["permission"] == "versions.promote"
    assert world.refused(promoted(of, version, "Archived"), me).metadata["permission"] == "versions.archive"


def test_a_role_may_archive_but_never_delete(scene: Scene) -> None:
    world, of = scene.world, scene.first
    me = world.locked.somebody(world.role("models.read", "versions.archive"), scene.place)
    version = scene.version(of)
    name = {**of.model, "version_number": version.version_number}

    assert world.ask(promoted(of, version, "Archived"), me).promotion.to_stage == "Archived"

    refusal = world.refused(registry.DeleteVersionRequest(**name), me)
    assert (refusal.code, refusal.metadata["permission"]) == ("PERMISSION_DENIED", "versions.delete")
    assert world.refused(registry.DeleteModelRequest(**of.model), me).metadata["permission"] == "models.delete"
    assert world.refused(promoted(of, version, "Staging"), me).metadata["permission"] == "versions.stage"
    assert world.ask(registry.GetVersionRequest(**name), me).version.stage == "Archived"


def test_out_of_production_needs_the_permission_to_promote_too(scene: Scene) -> None:
    world, of = scene.world, scene.first
    me = world.locked.somebody(world.role("models.read", "versions.stage"), scene.place)
    version = scene.version(of)
    world.ask(promoted(of, version, "Production"))

    refusal = world.refused(promoted(of, version, "Staging"), me)

    assert (refusal.code, refusal.metadata["permission"]) == ("PERMISSION_DENIED", "versions.promote")


def test_a_role_may_log_metrics_and_neither_read_files_nor_delete(scene: Scene) -> None:
    world, of = scene.world, scene.first
    me = world.locked.somebody(world.role("runs.read", "runs.write"), scene.place)

    made = world.ask(tracking.CreateRunRequest(experiment_id=of.experiment_id), me).run

    assert world.ask(tracking.LogBatchRequest(run_id=made.run_id, params={"lr": "1"}), me)
    assert world.refused(tracking.DeleteRunRequest(run_id=made.run_id), me).metadata["permission"] == "runs.delete"
    read = artifacts.ReadArtifactsRequest(owner=of.files, path=FILE)
    assert world.refused(read, me).metadata["permission"] == "files.read"
    assert world.refused(_upload(of), me).metadata["permission"] == "files.write"
    assert world.refused(registry.GetModelRequest(**of.model), me).metadata["permission"] == "models.read"


def test_who_has_a_role_at_one_experiment_sees_it_and_nothing_else(scene: Scene) -> None:
    world, of, other = scene.world, scene.first, scene.second
    me = world.locked.somebody("writer", scene.experiment)

    experiments = world.ask(tracking.SearchExperimentsRequest(workspace=of.workspace), me).experiments
    runs = world.ask(tracking.SearchRunsRequest(workspace=of.workspace), me).runs

    assert [each.experiment_id for each in experiments] == [of.experiment_id]
    assert {each.experiment_id for each in runs} == {of.experiment_id}
    assert world.ask(tracking.GetRunRequest(run_id=of.run_id), me).run.run_id == of.run_id
    assert content(world, me, run_id=of.run_id) == CONTENT
    hidden: list[tuple[Any, str]] = [
        (tracking.GetExperimentRequest(experiment_id=other.experiment_id), "EXPERIMENT_NOT_FOUND"),
        (tracking.GetExperimentByNameRequest(workspace=of.workspace, name="other"), "EXPERIMENT_NOT_FOUND"),
        (tracking.CreateRunRequest(experiment_id=other.experiment_id), "EXPERIMENT_NOT_FOUND"),
        (tracking.GetRunRequest(run_id=other.run_id), "RUN_NOT_FOUND"),
        (tracking.LogBatchRequest(run_id=other.run_id, params={"lr": "1"}), "RUN_NOT_FOUND"),
        (tracking.ReadMetricsRequest(run_ids=[other.run_id]), "RUN_NOT_FOUND"),
        (artifacts.ReadArtifactsRequest(owner=other.files, path=FILE), "OWNER_NOT_FOUND"),
        (artifacts.ListArtifactsRequest(owner=other.files), "OWNER_NOT_FOUND"),
        (_upload(other), "OWNER_NOT_FOUND"),
        (registry.GetModelRequest(**of.model), "MODEL_NOT_FOUND"),
        (registry.GetVersionRequest(version_id=of.version_id), "VERSION_NOT_FOUND"),
        (artifacts.ListArtifactsRequest(owner=of.files_of_version), "OWNER_NOT_FOUND"),
    ]
    for request, reason in hidden:
        refusal = world.refused(request, me)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", reason), request
    assert world.ask(registry.SearchModelsRequest(workspace=of.workspace), me).models == []


def test_a_writer_at_one_experiment_works_there_and_makes_no_other(scene: Scene) -> None:
    world, of = scene.world, scene.first
    me = world.locked.somebody("writer", scene.experiment)

    run = world.ask(tracking.CreateRunRequest(experiment_id=of.experiment_id), me).run
    world.ask(_upload(_replaced(of, run_id=run.run_id)), me)

    assert content(world, me, run_id=run.run_id) == CONTENT
    world.ask(tracking.DeleteRunRequest(run_id=run.run_id), me)
    made = tracking.CreateExperimentRequest(workspace=of.workspace, name=new_id())
    assert world.refused(made, me).code == "PERMISSION_DENIED"
    model = registry.CreateModelRequest(workspace=of.workspace, name=new_id())
    assert world.refused(model, me).code == "PERMISSION_DENIED"


def test_who_has_a_role_at_one_model_sees_it_and_nothing_else(scene: Scene) -> None:
    world, of, other = scene.world, scene.first, scene.second
    me = world.locked.somebody("reader", scene.model)

    models = world.ask(registry.SearchModelsRequest(workspace=of.workspace), me).models
    versions = world.ask(registry.SearchVersionsRequest(workspace=of.workspace), me).versions

    assert [each.name for each in models] == [of.model_name]
    assert {each.model_name for each in versions} == {of.model_name}
    assert world.ask(registry.GetVersionRequest(version_id=of.version_id), me).version.version_number == 1
    assert content(world, me, version_id=of.version_id) == CONTENT
    hidden: list[tuple[Any, str]] = [
        (registry.GetModelRequest(**other.model), "MODEL_NOT_FOUND"),
        (registry.GetModelRequest(model_id=other.model_id), "MODEL_NOT_FOUND"),
        (registry.GetVersionRequest(version_id=other.version_id), "VERSION_NOT_FOUND"),
        (artifacts.ListArtifactsRequest(owner=other.files_of_version), "OWNER_NOT_FOUND"),
        (tracking.GetRunRequest(run_id=of.run_id), "RUN_NOT_FOUND"),
        (artifacts.ReadArtifactsRequest(owner=of.files, path=FILE), "OWNER_NOT_FOUND"),
        (tracking.GetExperimentRequest(experiment_id=of.experiment_id), "EXPERIMENT_NOT_FOUND"),
    ]
    for request, reason in hidden:
        refusal = world.refused(request, me)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", reason), request
    assert world.ask(tracking.SearchRunsRequest(workspace=of.workspace), me).runs == []
    assert world.ask(tracking.SearchExperimentsRequest(workspace=of.workspace), me).experiments == []
    tagged = registry.SetModelTagsRequest(**of.model, tags={"team": "risk"})
    assert world.refused(tagged, me).reason == "PERMISSION_MISSING"


def test_a_version_is_made_only_of_files_that_its_maker_may_read(scene: Scene) -> None:
    world, of, other = scene.world, scene.first, scene.second
    me = world.locked.somebody("writer", scene.model)
    world.locked.bind(me.principal_id, "reader", scene.experiment)

    assert scene.version(of, me).version_number > 1
    source = registry.VersionSource(run=registry.RunFiles(run_id=other.run_id, path="model"))
    refusal = world.refused(registry.CreateVersionRequest(**of.model, source=source), me)

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "RUN_NOT_FOUND")
    copy = registry.VersionSource(version=registry.VersionCopy(model_name="other", version_number=1))
    hidden = world.refused(registry.CreateVersionRequest(**of.model, source=copy), me)
    assert hidden.code == "NOT_FOUND"


def test_a_workspace_with_a_role_at_a_part_is_listed_and_others_are_not(scene: Scene) -> None:
    world = scene.world
    me = world.locked.somebody("reader", scene.experiment)

    listed = world.ask(api.ListWorkspacesRequest(), me).workspaces

    assert [each.name for each in listed] == [scene.first.workspace]
    assert world.ask(api.GetWorkspaceRequest(name=scene.first.workspace), me).workspace == listed[0]


@pytest.mark.parametrize("part", ["experiment", "model"])
def test_a_role_at_a_part_ends_with_its_binding(scene: Scene, part: str) -> None:
    world, of = scene.world, scene.first
    me = world.locked.somebody()
    binding = world.locked.bind(me.principal_id, "reader", getattr(scene, part))
    request: Any = {
        "experiment": tracking.GetRunRequest(run_id=of.run_id),
        "model": registry.GetModelRequest(model_id=of.model_id),
    }[part]
    world.ask(request, me)

    world.ask(api.DeleteRoleBindingRequest(binding_id=binding))

    assert world.soon_refused(request, me).code == "NOT_FOUND"


def test_a_binding_at_a_deleted_model_gives_nothing_at_one_of_the_same_name(scene: Scene) -> None:
    world, here, name = scene.world, scene.first.workspace, new_id()
    gone = world.ask(registry.CreateModelRequest(workspace=here, name=name)).model
    me = world.locked.somebody("admin", api.Place(workspace=here, model_id=gone.model_id))
    request = registry.GetModelRequest(workspace=here, model_name=name)
    world.ask(request, me)
    world.ask(registry.DeleteModelRequest(workspace=here, model_name=name), me)

    made = world.ask(registry.CreateModelRequest(workspace=here, name=name)).model

    assert made.model_id != gone.model_id
    assert world.refused(request, me).reason == "MODEL_NOT_FOUND"
    late = api.CreateRoleBindingRequest(
        role="reader", principal_id=me.principal_id, place=api.Place(workspace=here, model_id=gone.model_id)
    )
    world.ask(late)
    assert world.refused(request, me).reason == "MODEL_NOT_FOUND"


def test_a_binding_at_a_deleted_experiment_holds_for_it_as_before(scene: Scene) -> None:
    world, here = scene.world, scene.first.workspace
    gone = world.ask(tracking.CreateExperimentRequest(workspace=here, name=new_id())).experiment.experiment_id
    me = world.locked.somebody("writer", api.Place(workspace=here, experiment_id=gone))
    world.ask(tracking.DeleteExperimentRequest(experiment_id=gone), me)

    assert world.ask(tracking.GetExperimentRequest(experiment_id=gone), me).experiment.experiment_id == gone
    assert world.ask(tracking.RestoreExperimentRequest(experiment_id=gone), me)


def test_a_binding_that_names_an_experiment_of_another_workspace_gives_nothing(scene: Scene) -> None:
    world, of = scene.world, scene.first
    elsewhere = world.locked.workspace()
    me = world.locked.somebody("admin", api.Place(workspace=elsewhere, experiment_id=of.experiment_id))
    world.locked.bind(me.principal_id, "admin", api.Place(workspace=elsewhere, model_id=of.model_id))

    for request in (
        tracking.GetExperimentRequest(experiment_id=of.experiment_id),
        tracking.GetRunRequest(run_id=of.run_id),
        registry.GetModelRequest(model_id=of.model_id),
    ):
        assert world.refused(request, me).code == "NOT_FOUND"
    assert world.ask(tracking.SearchRunsRequest(workspace=elsewhere), me).runs == []
