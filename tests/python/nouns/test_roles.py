from __future__ import annotations

from typing import Any

import pytest

from modelry import Client
from modelry.errors import (
    ExperimentDeleted,
    ExperimentNotFound,
    FieldInvalid,
    GroupNotFound,
    InvalidArgument,
    ModelNotFound,
    PrincipalNotFound,
    RoleBindingExists,
    RoleBindingNotFound,
    RoleBuiltin,
    RoleExists,
    RoleInUse,
    RoleNotFound,
    WorkspaceNotFound,
)
from modelry.types import Place


@pytest.fixture
def ada(client: Client, unique: str) -> str:
    """The name of a person."""
    return client.principals.create(f"ada-{unique}").name


@pytest.fixture
def workspace(client: Client, unique: str) -> str:
    """A workspace of the test."""
    return client.workspaces.create(f"w{unique}").name


def test_the_roles_of_modelry_come_first_and_stay_as_they_are(client: Client) -> None:
    names = [each.name for each in client.roles.list(page_size=2)]

    assert names[:4] == ["reader", "writer", "approver", "admin"]
    assert client.roles.get("reader").builtin
    assert "runs.read" in client.roles.get("reader").permissions
    with pytest.raises(RoleBuiltin):
        client.roles.update("reader", permissions=["runs.write"])
    with pytest.raises(RoleBuiltin):
        client.roles.delete("admin")


def test_a_role_is_made_changed_and_deleted(client: Client, unique: str) -> None:
    name = f"r{unique}"
    made = client.roles.create(name, "versions.archive", description="tidies up")
    changed = client.roles.update(name, permissions=["runs.read", "versions.archive"], etag=made.etag)
    told = client.roles.update(name, description="reads and tidies up")

    assert (made.permissions, made.description, made.builtin) == (("versions.archive",), "tidies up", False)
    assert set(changed.permissions) == {"runs.read", "versions.archive"}
    assert (told.description, told.permissions) == ("reads and tidies up", changed.permissions)
    with pytest.raises(RoleExists):
        client.roles.create(name, ["runs.read"])
    with pytest.raises(FieldInvalid, match=r"runs\.fly"):
        client.roles.create(f"{name}-x", ["runs.fly"])
    client.roles.delete(name)
    with pytest.raises(RoleNotFound):
        client.roles.get(name)


def test_a_role_is_bound_at_the_workspace_of_the_client_and_taken_away(
    client: Client, ada: str, workspace: str
) -> None:
    there = Client(client._connection.address.uri, workspace)

    made = there.roles.bind("writer", principal=ada)

    assert made.place == Place(workspace)
    assert [each.binding_id for each in client.roles.bindings(workspace=workspace)] == [made.binding_id]
    assert [each.binding_id for each in there.roles.bindings(principal=ada)] == [made.binding_id]
    with pytest.raises(RoleBindingExists) as told:
        client.roles.bind("writer", principal=ada, workspace=workspace)
    assert told.value.metadata["binding_id"] == made.binding_id
    client.roles.unbind(made.binding_id)
    assert there.roles.bindings() == []
    with pytest.raises(RoleBindingNotFound):
        client.roles.unbind(made.binding_id)


def test_a_binding_is_read_by_its_id_and_found_by_its_role(client: Client, ada: str, workspace: str) -> None:
    made = client.roles.bind("approver", principal=ada, workspace=workspace)
    client.roles.bind("reader", principal=ada, workspace=workspace)

    assert client.roles.binding(made.binding_id) == made
    assert client.roles.bindings(role="approver", workspace=workspace) == [made]
    assert made in client.roles.bindings(role="approver", principal=ada, everywhere=True)
    with pytest.raises(RoleNotFound):
        list(client.roles.bindings(role="aprover", workspace=workspace))
    client.roles.unbind(made.binding_id)
    with pytest.raises(RoleBindingNotFound):
        client.roles.binding(made.binding_id)


def test_experiments_and_models_are_places_by_their_names(client: Client, ada: str, workspace: str) -> None:
    there = Client(client._connection.address.uri, workspace)
    experiment = there.experiments.create("flights")
    model = there.models.create("delays")

    by_name = client.roles.bind("reader", principal=ada, workspace=workspace, experiment="flights")
    by_id = client.roles.bind("writer", principal=ada, workspace=workspace, experiment=experiment.experiment_id)
    of_model = client.roles.bind("approver", principal=ada, workspace=workspace, model="delays")

    assert by_name.place == by_id.place == Place(workspace, experiment_id=experiment.experiment_id)
    assert of_model.place == Place(workspace, model_id=model.model_id)
    assert [each.role for each in there.roles.bindings(experiment="flights")] == ["reader", "writer"]


def test_a_deleted_experiment_is_no_place_for_a_new_role(client: Client, ada: str, workspace: str) -> None:
    there = Client(client._connection.address.uri, workspace)
    gone = there.experiments.create("gone").experiment_id
    kept = client.roles.bind("reader", principal=ada, workspace=workspace, experiment=gone)
    there.experiments.delete(gone)

    with pytest.raises(ExperimentDeleted, match="restore it first"):
        client.roles.bind("writer", principal=ada, workspace=workspace, experiment=gone)

    assert [each.binding_id for each in client.roles.bindings(workspace=workspace, experiment=gone)] == [
        kept.binding_id
    ]
    client.roles.unbind(kept.binding_id)


def test_an_experiment_of_another_workspace_is_no_place_here(client: Client, ada: str, workspace: str) -> None:
    elsewhere = client.experiments.create(f"{workspace}-outside")

    with pytest.raises(ExperimentNotFound, match="in the workspace 'default'"):
        client.roles.bind("reader", principal=ada, workspace=workspace, experiment=elsewhere.experiment_id)
    assert client.roles.bindings(workspace=workspace) == []


def test_everything_is_given_only_in_so_many_words(client: Client, ada: str) -> None:
    forgotten = client.roles.bind("reader", principal=ada)
    meant = client.roles.bind("reader", principal=ada, everywhere=True)

    assert (forgotten.place, meant.place) == (Place("default"), Place(""))
    assert {each.binding_id for each in client.roles.bindings(principal=ada, everywhere=True)} == {
        forgotten.binding_id,
        meant.binding_id,
    }


def test_a_group_has_a_role(client: Client, unique: str, workspace: str) -> None:
    client.groups.create(unique)
    made = client.roles.bind("reader", group=unique, workspace=workspace)

    assert (made.group, made.principal_id) == (unique, "")
    assert [each.binding_id for each in client.roles.bindings(group=unique, everywhere=True)] == [made.binding_id]


def test_a_role_that_somebody_has_stays(client: Client, ada: str, unique: str) -> None:
    client.roles.create(f"r{unique}", ["runs.read"])
    client.roles.bind(f"r{unique}", principal=ada)

    with pytest.raises(RoleInUse):
        client.roles.delete(f"r{unique}")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"principal": "ada", "group": "team"},
        {"principal": "ada", "experiment": "1", "model": "delays"},
        {"principal": "ada", "everywhere": True, "workspace": "w"},
        {"principal": "ada", "everywhere": True, "experiment": 7},
        {"principal": "ada", "everywhere": "no"},
    ],
)
def test_half_a_place_and_two_subjects_are_refused_before_anything_is_sent(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Client("grpc://127.0.0.1:9").roles.bind("reader", **given)


def test_what_is_not_there_can_not_be_bound(client: Client, ada: str) -> None:
    for given, error in (
        ({"principal": "nobody of this name"}, PrincipalNotFound),
        ({"group": "no such group"}, GroupNotFound),
        ({"principal": ada, "workspace": "nowhere"}, WorkspaceNotFound),
        ({"principal": ada, "model": "no such model"}, ModelNotFound),
        ({"principal": ada, "experiment": "no such experiment"}, ExperimentNotFound),
    ):
        with pytest.raises(error):
            client.roles.bind("reader", **given)  # type: ignore[arg-type]
    with pytest.raises(RoleNotFound):
        client.roles.bind("no-such-role", principal=ada)
