from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.access.conftest import World, masked
from tests.parts.deployment import Deployment
from tests.parts.refusal import refused


@pytest.fixture
def workspaces(deployment: Deployment) -> api.WorkspaceServiceStub:
    """The service, at work."""
    return deployment.stub(api.WorkspaceServiceStub)


def create(workspaces: api.WorkspaceServiceStub, **fields: Any) -> api.Workspace:
    """A new workspace."""
    request = api.CreateWorkspaceRequest(**{"name": f"team-{new_id()}", **fields})
    return workspaces.CreateWorkspace(request).workspace


def test_a_workspace_that_was_made_is_found_by_its_name(workspaces: api.WorkspaceServiceStub) -> None:
    made = create(workspaces, description="The risk team.\nSecond line.")

    found = workspaces.GetWorkspace(api.GetWorkspaceRequest(name=made.name)).workspace

    assert (found, found.description) == (made, "The risk team.\nSecond line.")
    assert found.create_time.ToMilliseconds() > 1_700_000_000_000


def test_the_default_workspace_is_always_there(workspaces: api.WorkspaceServiceStub) -> None:
    assert workspaces.GetWorkspace(api.GetWorkspaceRequest(name="default")).workspace.name == "default"


def test_a_taken_name_is_refused(workspaces: api.WorkspaceServiceStub) -> None:
    made = create(workspaces)

    refusal = refused(workspaces.CreateWorkspace, api.CreateWorkspaceRequest(name=made.name))

    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "WORKSPACE_EXISTS")
    assert (refusal.domain, refusal.metadata) == ("modelry.dev", {"workspace": made.name})


def test_of_many_who_make_the_same_workspace_at_once_one_makes_it(workspaces: api.WorkspaceServiceStub) -> None:
    request = api.CreateWorkspaceRequest(name=f"team-{new_id()}")

    def make(_: int) -> str:
        try:
            workspaces.CreateWorkspace(request)
        except grpc.RpcError as error:
            return str(error.code())
        return "made"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(make, range(16)))

    assert sorted(set(answers)) == ["StatusCode.ALREADY_EXISTS", "made"]
    assert answers.count("made") == 1


def test_a_retry_answers_with_the_same_workspace(workspaces: api.WorkspaceServiceStub) -> None:
    request = api.CreateWorkspaceRequest(name=f"team-{new_id()}", request_id=new_id())

    first = workspaces.CreateWorkspace(request).workspace

    assert workspaces.CreateWorkspace(request).workspace == first
    other = api.CreateWorkspaceRequest(name=f"team-{new_id()}", request_id=request.request_id)
    assert refused(workspaces.CreateWorkspace, other).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "Team"}, "name"),
        ({"name": "1team"}, "name"),
        ({"name": "team-"}, "name"),
        ({"name": "-team"}, "name"),
        ({"name": "te am"}, "name"),
        ({"name": "te/am"}, "name"),
        ({"name": "team\n"}, "name"),
        ({"name": "te\0am"}, "name"),
        ({"name": "tеam"}, "name"),  # noqa: RUF001
        ({"description": "x" * 5001}, "description"),
        ({"description": "a\0b"}, "description"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_its_path(
    workspaces: api.WorkspaceServiceStub, fields: dict[str, Any], path: str
) -> None:
    request = api.CreateWorkspaceRequest(**{"name": f"team-{new_id()}", **fields})

    refusal = refused(workspaces.CreateWorkspace, request)

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(refusal.violations) == [path]


@pytest.mark.parametrize("name", ["", "nowhere", "x" * 10_000])
def test_a_workspace_that_is_not_there_is_named(workspaces: api.WorkspaceServiceStub, name: str) -> None:
    refusal = refused(workspaces.GetWorkspace, api.GetWorkspaceRequest(name=name))

    assert (refusal.code, refusal.reason, refusal.resource[0]) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND", "workspace")


def test_a_description_changes_and_an_old_etag_is_refused(workspaces: api.WorkspaceServiceStub) -> None:
    made = create(workspaces)
    given = api.Workspace(name=made.name, description="Words.", etag=made.etag)

    changed = workspaces.UpdateWorkspace(api.UpdateWorkspaceRequest(workspace=given)).workspace

    assert (changed.description, changed.etag != made.etag) == ("Words.", True)
    assert workspaces.GetWorkspace(api.GetWorkspaceRequest(name=made.name)).workspace == changed
    refusal = refused(workspaces.UpdateWorkspace, api.UpdateWorkspaceRequest(workspace=given))
    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", changed.etag)


@pytest.mark.parametrize(
    ("paths", "description", "after"),
    [([], "", "Old."), ([], "New.", "New."), (["description"], "", ""), (["*"], "", ""), (["*"], "New.", "New.")],
)
def test_a_mask_says_what_changes_and_an_empty_one_stands_for_what_is_set(
    workspaces: api.WorkspaceServiceStub, paths: list[str], description: str, after: str
) -> None:
    made = create(workspaces, description="Old.")
    request = api.UpdateWorkspaceRequest(workspace=api.Workspace(name=made.name, description=description))
    request.update_mask.paths.extend(paths)

    changed = workspaces.UpdateWorkspace(request).workspace

    assert changed.description == after
    assert (changed.etag == made.etag) == (after == "Old.")
    assert workspaces.GetWorkspace(api.GetWorkspaceRequest(name=made.name)).workspace == changed


def test_a_change_of_anything_else_is_refused(workspaces: api.WorkspaceServiceStub) -> None:
    request = api.UpdateWorkspaceRequest(workspace=create(workspaces))
    request.update_mask.paths.append("name")

    assert list(refused(workspaces.UpdateWorkspace, request).violations) == ["update_mask"]
    absent = api.UpdateWorkspaceRequest(workspace=api.Workspace(name="nowhere", description="x"))
    assert refused(workspaces.UpdateWorkspace, absent).reason == "WORKSPACE_NOT_FOUND"
    long = api.UpdateWorkspaceRequest(workspace=api.Workspace(name="default", description="x" * 5001))
    assert list(refused(workspaces.UpdateWorkspace, long).violations) == ["workspace.description"]


def test_workspaces_are_listed_by_name_page_by_page(workspaces: api.WorkspaceServiceStub) -> None:
    made = sorted(create(workspaces).name for _ in range(5))

    names: list[str] = []
    request = api.ListWorkspacesRequest(page_size=2)
    while not names or request.page_token:
        page = workspaces.ListWorkspaces(request)
        assert len(page.workspaces) <= 2
        names += [workspace.name for workspace in page.workspaces]
        request.page_token = page.next_page_token

    assert names == sorted(set(names))
    assert {"default", *made} <= set(names)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (api.ListWorkspacesRequest(page_size=-1), "FIELD_INVALID"),
        (api.ListWorkspacesRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
        (api.ListWorkspacesRequest(page_token="é" * 5000), "PAGE_TOKEN_INVALID"),
    ],
)
def test_a_page_that_cannot_be_given_is_refused(
    workspaces: api.WorkspaceServiceStub, request_: api.ListWorkspacesRequest, reason: str
) -> None:
    assert refused(workspaces.ListWorkspaces, request_).reason == reason


def test_a_page_is_never_larger_than_a_client_receives(workspaces: api.WorkspaceServiceStub) -> None:
    made = {create(workspaces, description="\u65e5" * 5000).name for _ in range(300)}

    request, found = api.ListWorkspacesRequest(page_size=1000), set[str]()
    while True:
        page = workspaces.ListWorkspaces(request)
        found |= {each.name for each in page.workspaces}
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break

    assert made <= found


@pytest.mark.parametrize(
    ("paths", "given", "after"),
    [
        ([], {"run_count": 7}, {"run_count": 7, "version_count": 0}),
        ([], {"run_count": 0}, {"run_count": 0, "version_count": 0}),
        ([], {}, {"run_count": 5, "version_count": 0}),
        (
            ["quotas.stored_bytes"],
            {"run_count": 7, "stored_bytes": 0},
            {"run_count": 5, "version_count": 0, "stored_bytes": 0},
        ),
        (["quotas.run_count"], {"stored_bytes": 9}, {"version_count": 0}),
        (["quotas.run_count", "quotas.version_count"], {"run_count": 1}, {"run_count": 1}),
        (["quotas"], {"stored_bytes": 9}, {"stored_bytes": 9}),
        (["quotas"], {}, {}),
        (["description"], {"run_count": 7}, {"run_count": 5, "version_count": 0}),
        (["*"], {"run_count": 7}, {"run_count": 7}),
    ],
)
def test_a_mask_says_which_quotas_change_and_one_that_is_named_but_not_set_is_removed(
    workspaces: api.WorkspaceServiceStub, paths: list[str], given: dict[str, int], after: dict[str, int]
) -> None:
    made = create(workspaces, quotas=api.WorkspaceQuotas(run_count=5, version_count=0))
    request = api.UpdateWorkspaceRequest(workspace=api.Workspace(name=made.name, quotas=api.WorkspaceQuotas(**given)))
    request.update_mask.paths.extend(paths)

    changed = workspaces.UpdateWorkspace(request).workspace

    assert changed.quotas == api.WorkspaceQuotas(**after)
    assert changed.HasField("quotas") == bool(after)
    assert workspaces.GetWorkspace(api.GetWorkspaceRequest(name=made.name)).workspace == changed


@pytest.mark.parametrize("path", ["quotas.", "quotas.runs", "quotas.run_count.value", "run_count"])
def test_a_path_of_no_quota_is_refused(workspaces: api.WorkspaceServiceStub, path: str) -> None:
    request = masked(api.UpdateWorkspaceRequest(workspace=api.Workspace(name="default")), path)

    refusal = refused(workspaces.UpdateWorkspace, request)

    assert list(refusal.violations) == ["update_mask"]
    assert "quotas, quotas.run_count, quotas.stored_bytes, quotas.version_count" in refusal.violations["update_mask"]


@pytest.mark.parametrize("quota", ["run_count", "version_count", "stored_bytes"])
def test_a_negative_quota_is_refused_and_changes_nothing(workspaces: api.WorkspaceServiceStub, quota: str) -> None:
    negative = api.WorkspaceQuotas(**{quota: -1})
    made = create(workspaces)
    request = api.UpdateWorkspaceRequest(workspace=api.Workspace(name=made.name, description="Words.", quotas=negative))

    created = refused(workspaces.CreateWorkspace, api.CreateWorkspaceRequest(name=f"team-{new_id()}", quotas=negative))
    changed = refused(workspaces.UpdateWorkspace, request)

    assert (created.reason, list(created.violations)) == ("FIELD_INVALID", [f"quotas.{quota}"])
    assert (changed.reason, list(changed.violations)) == ("FIELD_INVALID", [f"workspace.quotas.{quota}"])
    assert workspaces.GetWorkspace(api.GetWorkspaceRequest(name=made.name)).workspace == made


def test_only_who_administers_the_installation_sets_quotas(world: World) -> None:
    here = world.locked.workspace()
    keeper = world.locked.somebody("admin", api.Place(workspace=here))
    quotas = api.WorkspaceQuotas(run_count=5, stored_bytes=1 << 30)
    limited = masked(api.UpdateWorkspaceRequest(workspace=api.Workspace(name=here, quotas=quotas)), "quotas")
    described = api.UpdateWorkspaceRequest(workspace=api.Workspace(name=here, description="Ours."))

    refusal = world.refused(limited, keeper)

    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    assert world.ask(described, keeper).workspace.description == "Ours."
    assert world.ask(limited).workspace.quotas == quotas
    assert world.ask(api.GetWorkspaceRequest(name=here), keeper).workspace.quotas == quotas
    negative = api.WorkspaceQuotas(run_count=-1)
    wrong = masked(api.UpdateWorkspaceRequest(workspace=api.Workspace(name=here, quotas=negative)), "quotas")
    assert world.refused(wrong).reason == "FIELD_INVALID"


def test_a_caller_lists_the_workspaces_that_it_may_read(world: World) -> None:
    here, group = world.locked.workspace(), world.group()
    there = world.locked.workspace()
    world.locked.workspace()
    me = world.locked.somebody("reader", api.Place(workspace=here))
    world.bind_group(group, "reader", api.Place(workspace=there, experiment_id="123456"))
    world.ask(api.AddGroupMembersRequest(name=group, members=[api.GroupMember(principal_id=me.principal_id)]))

    listed = world.pages(api.ListWorkspacesRequest(page_size=1), "workspaces", me)

    assert [each.name for each in listed] == sorted([here, there])
    assert world.pages(api.ListWorkspacesRequest(), "workspaces", world.locked.somebody()) == []
