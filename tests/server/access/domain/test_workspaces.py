"""What holds for workspaces."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from modelry_server.access.domain.workspaces import Workspaces
from modelry_server.access.entities import Quotas, Workspace
from modelry_server.access.errors import WorkspaceExists
from modelry_server.access.jobs import jobs
from modelry_server.access.store import tables
from modelry_server.kernel.access import Place, WorkspaceNotFound
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, PermissionMissing, RequestIdReused
from modelry_server.kernel.requests.idempotency import KEPT_MS, Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import Permission
from tests.parts.clock import HeldClock
from tests.server.access import written
from tests.server.access.conftest import Installation

ONCE = Request("", "", "", "")
REQUEST = Request("ada", "modelry.api.access.v1.CreateWorkspaceRequest", "request-1", "digest-1")


def test_the_default_workspace_is_there_from_the_beginning(workspaces: Workspaces) -> None:
    assert [each.name for each in workspaces.page("", 9)] == ["default"]


def test_a_workspace_that_was_made_is_found(workspaces: Workspaces, clock: HeldClock) -> None:
    made = workspaces.create("risk", "The risk team.", ONCE)

    assert made == workspaces.get("risk") == Workspace("risk", "The risk team.", clock.now(), clock.now())


@pytest.mark.parametrize("name", ["a", "a" * 63, "a-1", "default-2"])
def test_what_the_rule_allows_is_a_name(workspaces: Workspaces, name: str) -> None:
    assert workspaces.create(name, "", ONCE).name == name


def test_all_mistakes_are_told_at_once(workspaces: Workspaces) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        workspaces.create("A", "x" * 5001, replace(REQUEST, request_id="x" * 65))

    assert list(refusal.value.violations) == ["name", "description", "request_id"]


def test_of_many_who_make_the_same_workspace_at_once_one_makes_it(workspaces: Workspaces) -> None:
    def make(_: int) -> bool:
        try:
            workspaces.create("risk", "", ONCE)
        except WorkspaceExists:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(make, range(32))) == 1


def test_the_same_request_twice_makes_one_workspace(workspaces: Workspaces) -> None:
    made = workspaces.create("risk", "", REQUEST)

    assert workspaces.create("risk", "", REQUEST) == made
    with pytest.raises(RequestIdReused):
        workspaces.create("risk", "", replace(REQUEST, digest="digest-2"))
    with pytest.raises(WorkspaceExists):
        workspaces.create("risk", "", replace(REQUEST, subject="eve"))


def test_the_same_request_many_times_at_once_makes_one_workspace(workspaces: Workspaces) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: workspaces.create("risk", "", REQUEST), range(16)))

    assert {each.name for each in made} == {"risk"}


def test_a_request_is_forgotten_after_a_day(workspaces: Workspaces, clock: HeldClock, db: Database) -> None:
    workspaces.create("risk", "", REQUEST)
    forget, _ = jobs(db, Requests(tables.requests, clock), clock)

    forget.run()
    assert workspaces.create("risk", "", REQUEST).name == "risk"
    clock.advance(KEPT_MS)
    forget.run()

    with pytest.raises(WorkspaceExists):
        workspaces.create("risk", "", REQUEST)


def test_a_description_changes_with_its_etag(workspaces: Workspaces, clock: HeldClock) -> None:
    made = workspaces.create("risk", "", ONCE)
    clock.advance(1)

    changed = workspaces.update("risk", made.etag, lambda: {"description": "Words."})

    assert changed == workspaces.get("risk")
    assert (changed.description, changed.update_time, changed.create_time) == ("Words.", clock.now(), made.create_time)
    with pytest.raises(EtagMismatch):
        workspaces.update("risk", made.etag, lambda: {"description": "Mine."})


def test_a_list_has_what_the_caller_sees_and_is_full_all_the_same(
    installation: Installation, workspaces: Workspaces
) -> None:
    for number in range(9):
        workspaces.create(f"team-{number}", "", ONCE)
    eve = installation.principal("eve", "reader", Place("team-3"))
    with installation.db.write() as tx:
        written.bind(tx, "writer", eve.principal_id, Place("team-8", model_id="a model"))
    _, text = installation.token(eve)

    with installation.by(text, Permission.WORKSPACES_WRITE):
        mine = installation.workspaces
        assert [each.name for each in mine.page("", 2)] == ["team-3", "team-8"]
        assert [each.name for each in mine.page("", 1)] == ["team-3"]
        assert [each.name for each in mine.page("team-3", 5)] == ["team-8"]
        assert mine.get("team-8").name == "team-8"
        with pytest.raises(WorkspaceNotFound):
            mine.get("team-4")
        with pytest.raises(PermissionMissing):
            mine.update("team-3", "", lambda: {"description": "Mine."})


def test_what_is_judged_after_the_caller_is_not_judged_for_a_stranger(installation: Installation) -> None:
    _, text = installation.token(installation.principal("eve"))

    def changes() -> dict[str, str]:
        raise AssertionError("was judged")

    with installation.by(text, Permission.WORKSPACES_CREATE):
        stranger = installation.workspaces
        for name in ("default", "not-there"):
            with pytest.raises(WorkspaceNotFound):
                stranger.update(name, "wrong etag", changes)
        with pytest.raises(PermissionMissing):
            stranger.create("default", "x" * 6000, ONCE)
        assert stranger.page("", 9) == []


def test_a_stranger_is_judged_before_the_workspace_is_looked_for(installation: Installation) -> None:
    _, text = installation.token(installation.principal("eve"))
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        with installation.by(text, Permission.WORKSPACES_WRITE):
            for look in (installation.workspaces.get, lambda name: installation.workspaces.update(name, "", dict)):
                with pytest.raises(WorkspaceNotFound):
                    look("default")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)

    assert not [statement for statement in asked if "FROM workspaces" in statement]


def test_quotas_are_set_by_who_may_do_that(installation: Installation) -> None:
    creator = installation.principal("creator")
    with installation.db.write() as tx:
        written.bind(tx, written.a_role(tx, "opener", "workspaces.create"), creator.principal_id)
    _, text = installation.token(creator)

    with installation.by(text, Permission.WORKSPACES_CREATE):
        assert installation.workspaces.create("risk", "", ONCE)
        with pytest.raises(PermissionMissing) as refusal:
            installation.workspaces.create("lab", "", ONCE, Quotas(run_count=1))

    assert refusal.value.metadata["permission"] == "quotas.write"


def test_quotas_are_changed_by_who_may_set_them(installation: Installation) -> None:
    _, of_team = installation.token(installation.principal("eve", "admin", Place("default")))
    _, of_all = installation.token(installation.principal("ada", "admin"))
    quotas = {"quotas.run_count": 10, "quotas.stored_bytes": 1 << 40}

    with installation.by(of_team, Permission.WORKSPACES_WRITE):
        with pytest.raises(PermissionMissing) as refusal:
            installation.workspaces.update("default", "", lambda: quotas)
        unchanged = installation.workspaces.update("default", "", lambda: {"quotas.run_count": None})
    with installation.by(of_all, Permission.WORKSPACES_WRITE):
        changed = installation.workspaces.update("default", "", lambda: quotas)
        with pytest.raises(FieldInvalid) as negative:
            installation.workspaces.update("default", "", lambda: {"quotas.version_count": -1})

    assert refusal.value.metadata["permission"] == "quotas.write"
    assert unchanged.quotas == Quotas()
    assert changed.quotas == Quotas(run_count=10, stored_bytes=1 << 40)
    assert list(negative.value.violations) == ["workspace.quotas.version_count"]


def test_a_quota_is_changed_set_to_0_and_removed_without_the_others(workspaces: Workspaces) -> None:
    made = workspaces.create("risk", "", ONCE, Quotas(run_count=5, version_count=0))

    lower = workspaces.update("risk", made.etag, lambda: {"quotas.run_count": 0, "quotas.stored_bytes": 9})
    removed = workspaces.update("risk", lower.etag, lambda: {"quotas.version_count": None})

    assert made.quotas == Quotas(5, 0, None)
    assert lower.quotas == Quotas(0, 0, 9)
    assert removed.quotas == Quotas(0, None, 9)
    assert workspaces.get("risk") == removed


def test_each_change_is_written_down(installation: Installation, workspaces: Workspaces) -> None:
    workspaces.create("risk", "Words.", ONCE, Quotas(run_count=5))
    workspaces.update("risk", "", lambda: {"description": "Better.", "quotas.run_count": 0})
    workspaces.update("risk", "", lambda: {"quotas.run_count": None})

    made, changed, removed = installation.records()
    assert [record.members()["action"] for record in (made, changed)] == ["workspace.created", "workspace.updated"]
    assert json.loads(changed.before) == {"description": "Words.", "quotas": {"run_count": 5}}
    assert json.loads(changed.after) == {"description": "Better.", "quotas": {"run_count": 0}}
    assert (json.loads(removed.before), json.loads(removed.after)) == (
        {"quotas": {"run_count": 0}},
        {"quotas": {}},
    )


def test_an_update_without_a_change_keeps_the_etag(workspaces: Workspaces) -> None:
    made = workspaces.create("risk", "Words.", ONCE)

    assert workspaces.update("risk", made.etag, dict) == made


def test_what_is_not_there_is_named(workspaces: Workspaces) -> None:
    for name in ("nowhere", ""):
        with pytest.raises(WorkspaceNotFound):
            workspaces.get(name)
        with pytest.raises(WorkspaceNotFound):
            workspaces.update(name, "", lambda: {"description": "Words."})


def test_a_page_begins_after_a_name(workspaces: Workspaces) -> None:
    for name in ("b", "a", "e"):
        workspaces.create(name, "", ONCE)

    assert [each.name for each in workspaces.page("a", 2)] == ["b", "default"]


def test_pages_are_in_the_order_of_the_bytes_on_every_database(workspaces: Workspaces) -> None:
    names = ["ab", "a-c", "aa", "a1", "default"]
    for name in names[:-1]:
        workspaces.create(name, "", ONCE)

    assert [each.name for each in workspaces.page("", 9)] == sorted(names)
