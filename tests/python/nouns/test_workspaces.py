from __future__ import annotations

import pytest

from modelry import Client
from modelry.errors import EtagMismatch, FieldInvalid, InvalidArgument, WorkspaceExists, WorkspaceNotFound
from modelry.types import WorkspaceQuotas


def test_a_workspace_is_made_described_and_listed(client: Client, unique: str) -> None:
    name = f"w{unique}"
    made = client.workspaces.create(name, description="ours")
    changed = client.workspaces.update(name, description="all of ours", etag=made.etag)

    assert client.workspaces.get(name) == changed
    assert {"default", name} <= {workspace.name for workspace in client.workspaces.list(page_size=1)}
    with pytest.raises(EtagMismatch):
        client.workspaces.update(name, description="mine", etag=made.etag)


def test_what_cant_be_is_refused(client: Client) -> None:
    with pytest.raises(WorkspaceExists):
        client.workspaces.create("default")
    with pytest.raises(WorkspaceNotFound):
        client.workspaces.get("nowhere")
    with pytest.raises(FieldInvalid):
        client.workspaces.create("Not A Name")


def test_experiments_of_workspaces_are_apart(client: Client, unique: str) -> None:
    name = f"w{unique}"
    client.workspaces.create(name)
    other = Client(client._connection.address.uri, workspace=name)

    here, there = client.experiments.create(unique), other.experiments.create(unique)

    assert here.experiment_id != there.experiment_id
    assert [each.experiment_id for each in other.experiments.search(f"name = '{unique}'")] == [there.experiment_id]


def test_a_run_without_an_experiment_goes_into_the_default_one_of_its_workspace(client: Client, unique: str) -> None:
    name = f"w{unique}"
    client.workspaces.create(name)
    other = Client(client._connection.address.uri, workspace=name)

    here, first, second = client.runs.create(), other.runs.create(), other.runs.create()
    named = other.runs.create("0")

    assert (here.experiment_id, named.experiment_id, first.workspace) == ("0", "0", name)
    assert first.experiment_id == second.experiment_id == other.experiments.get_by_name("Default").experiment_id


def test_quotas_are_set_kept_and_lifted(client: Client, unique: str) -> None:
    name = f"w{unique}"
    made = client.workspaces.create(name, quotas=WorkspaceQuotas(run_count=10, stored_bytes=1 << 40))
    described = client.workspaces.update(name, description="ours")
    lifted = client.workspaces.update(name, quotas=WorkspaceQuotas())

    assert made.quotas == described.quotas == WorkspaceQuotas(10, None, 1 << 40)
    assert (lifted.quotas, lifted.description) == (WorkspaceQuotas(), "ours")
    assert client.workspaces.update(name) == lifted
    for wrong in (-1, 1 << 63, True):
        with pytest.raises(InvalidArgument, match=r"quotas\.run_count"):
            client.workspaces.update(name, quotas=WorkspaceQuotas(run_count=wrong))


def test_a_mapping_changes_the_quotas_that_it_names(client: Client, unique: str) -> None:
    name = f"w{unique}"
    made = client.workspaces.create(name, quotas={"run_count": 10, "version_count": 0, "stored_bytes": None})
    changed = client.workspaces.update(name, quotas={"run_count": 0, "stored_bytes": 5}, etag=made.etag)
    lifted = client.workspaces.update(name, quotas={"version_count": None})

    assert made.quotas == WorkspaceQuotas(10, 0, None)
    assert changed.quotas == WorkspaceQuotas(0, 0, 5)
    assert lifted.quotas == client.workspaces.get(name).quotas == WorkspaceQuotas(0, None, 5)
    assert client.workspaces.update(name, quotas={}) == lifted
    for wrong, match in (({"runs": 1}, "run_count, version_count, stored_bytes, not 'runs'"), (5, "WorkspaceQuotas")):
        with pytest.raises(InvalidArgument, match=match):
            client.workspaces.update(name, quotas=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"quotas\.stored_bytes must be a whole number"):
        client.workspaces.create(name, quotas={"stored_bytes": -1})
