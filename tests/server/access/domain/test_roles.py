"""What holds for roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa

from modelry_server.access.entities import Role
from modelry_server.access.errors import GrantTooWide, RoleBuiltin, RoleExists, RoleInUse, RoleNotFound
from modelry_server.access.store import tables
from modelry_server.kernel.access import Place
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, PermissionMissing
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import ROLES, Permission
from tests.server.access.acting import ONCE, Rules, calling

READS = ["runs.read", "files.read"]


@pytest.fixture
def rules(db: Database) -> Rules:
    """Roles at work."""
    return Rules(db)


@pytest.fixture(autouse=True)
def ann(rules: Rules) -> Iterator[str]:
    """An administrator, who calls unless a test says otherwise."""
    ann = rules.a_principal("admin")
    with calling(ann, "RoleService.CreateRole"):
        yield ann


def by(principal_id: str) -> AbstractContextManager[None]:
    """A block in which somebody else changes roles."""
    return calling(principal_id, "RoleService.UpdateRole")


def names(rules: Rules, limit: int = 100, after: tuple[int, str] | None = None) -> list[str]:
    """The names of a page of roles."""
    return [each.item.name for each in rules.roles.page(after=after, limit=limit)]


def test_a_role_that_was_made_is_found_with_its_permissions_in_one_order(rules: Rules) -> None:
    made = rules.roles.create("clerk", "Clerks.", ["files.read", "runs.read", "runs.read"], ONCE)

    now = rules.clock.now()
    assert made == rules.roles.get("clerk")
    assert made == Role("clerk", "Clerks.", ("runs.read", "files.read"), create_time=now, update_time=now)
    assert rules.records() == [
        ("role.created", "clerk", {}, {"description": "Clerks.", "permissions": ["runs.read", "files.read"]})
    ]
    assert rules.changes() == []


def test_the_roles_of_modelry_are_there_and_stay_as_they_are(rules: Rules) -> None:
    for name, permissions in ROLES.items():
        found = rules.roles.get(name)

        assert found.is_builtin
        assert set(found.permissions) == permissions
        with pytest.raises(RoleBuiltin):
            rules.roles.update(name, "", lambda: {"permissions": READS})
        with pytest.raises(RoleBuiltin):
            rules.roles.delete(name)
        with pytest.raises(RoleExists):
            rules.roles.create(name, "", READS, ONCE)


def test_an_unknown_permission_is_named_with_the_nearest_right_one(rules: Rules) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        rules.roles.create("clerk", "", ["runs.read", "run.reed", "versions.promot"], ONCE)

    violations = refusal.value.violations
    assert list(violations) == ["permissions[1]", "permissions[2]"]
    assert "'run.reed'" in violations["permissions[1]"]
    assert "'runs.read'" in violations["permissions[1]"]
    assert "'versions.promote'" in violations["permissions[2]"]


def test_all_mistakes_are_told_at_once(rules: Rules) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        rules.roles.create("A", "x" * 5001, [], ONCE)

    assert list(refusal.value.violations) == ["name", "description", "permissions"]
    with pytest.raises(FieldInvalid):
        rules.roles.create("clerk", "", READS * 51, ONCE)


def test_the_same_request_twice_makes_one_role(rules: Rules) -> None:
    request = Request("ann", "CreateRole", "request-1", "digest-1")
    made = rules.roles.create("clerk", "", READS, request)

    assert rules.roles.create("clerk", "", READS, request) == made
    with pytest.raises(RoleExists):
        rules.roles.create("clerk", "", READS, ONCE)


def test_pages_have_the_roles_of_modelry_then_others_by_name(rules: Rules) -> None:
    for name in ("clerk", "auditor"):
        rules.roles.create(name, "", READS, ONCE)

    seen: list[str] = []
    after = None
    while page := rules.roles.page(after=after, limit=2):
        seen += [each.item.name for each in page]
        after = page[-1].key

    assert seen == names(rules) == [*ROLES, "auditor", "clerk"]


def test_new_permissions_of_a_role_make_everybody_forget(rules: Rules) -> None:
    made = rules.roles.create("clerk", "", READS, ONCE)
    rules.clock.advance(1)

    described = rules.roles.update("clerk", made.etag, lambda: {"description": "Words."})
    assert rules.changes() == []
    changed = rules.roles.update("clerk", described.etag, lambda: {"permissions": ["runs.write"]})

    assert changed == rules.roles.get("clerk")
    assert (changed.description, changed.permissions) == ("Words.", ("runs.write",))
    assert changed.update_time == rules.clock.now()
    assert rules.changes() == [Changed()]
    assert rules.records()[-1] == (
        "role.updated",
        "clerk",
        {"permissions": READS},
        {"permissions": ["runs.write"]},
    )


def test_an_update_needs_the_present_etag_and_right_values(rules: Rules) -> None:
    made = rules.roles.create("clerk", "", READS, ONCE)

    with pytest.raises(EtagMismatch):
        rules.roles.update("clerk", "7", lambda: {"description": "Mine."})
    with pytest.raises(FieldInvalid) as refusal:
        rules.roles.update("clerk", "", lambda: {"description": "x" * 5001, "permissions": []})

    assert list(refusal.value.violations) == ["role.description", "role.permissions"]
    assert rules.roles.update("clerk", made.etag, dict) == made


def test_what_is_not_there_is_named(rules: Rules) -> None:
    with pytest.raises(RoleNotFound):
        rules.roles.get("clerk")
    with pytest.raises(RoleNotFound):
        rules.roles.update("clerk", "", lambda: {"description": "Mine."})
    with pytest.raises(RoleNotFound):
        rules.roles.delete("clerk")


def test_a_role_that_somebody_has_stays(rules: Rules, ann: str) -> None:
    rules.roles.create("clerk", "", READS, ONCE)
    rules.bound("clerk", ann, Place("risk"))
    rules.bound("clerk", ann, Place("lab"))

    with pytest.raises(RoleInUse) as refusal:
        rules.roles.delete("clerk")

    assert (refusal.value.metadata["role"], refusal.value.metadata["bindings"]) == ("clerk", "2")


def test_a_role_that_caps_a_token_that_can_be_used_stays(rules: Rules, ann: str) -> None:
    rules.roles.create("clerk", "", READS, ONCE)
    now = rules.clock.now()
    row = {
        "former_until": 0,
        "principal_id": ann,
        "description": "",
        "hint": "",
        "role_cap": "clerk",
        "workspaces": "[]",
        "creator_id": "",
        "is_invitation": False,
        "create_time": now,
        "lifetime_ms": 10,
    }
    others = [
        {"token_id": "1" * 32, "digest": "1", "expire_time": now + 10, "revoke_time": None},
        {"token_id": "2" * 32, "digest": "2", "expire_time": now, "revoke_time": None},
        {"token_id": "3" * 32, "digest": "3", "expire_time": now + 10, "revoke_time": now},
    ]
    with rules.db.write() as tx:
        tx.execute(sa.insert(tables.tokens), [row | other for other in others])

    with pytest.raises(RoleInUse) as refusal:
        rules.roles.delete("clerk")
    assert refusal.value.metadata["tokens"] == "1"
    rules.clock.advance(10)
    rules.roles.delete("clerk")

    with pytest.raises(RoleNotFound):
        rules.roles.get("clerk")
    assert rules.records()[-1][:2] == ("role.deleted", "clerk")


def test_a15_nobody_puts_more_into_a_role_than_they_may_do_everywhere(rules: Rules) -> None:
    rules.a_role(Permission.ROLES_WRITE, Permission.RUNS_READ, name="role-writer")
    eve = rules.a_principal("role-writer")
    rules.bound("admin", eve, Place("risk"))
    rules.roles.create("wide", "", ["runs.read", "runs.delete"], ONCE)

    with by(eve):
        with pytest.raises(GrantTooWide) as refusal:
            rules.roles.create("mine", "", ["runs.read", "runs.write", "aliases.write"], ONCE)
        assert refusal.value.metadata["permissions"] == "aliases.write, runs.write"
        with pytest.raises(GrantTooWide):
            rules.roles.update("wide", "", lambda: {"permissions": ["runs.read", "runs.delete", "runs.write"]})
        with pytest.raises(GrantTooWide) as taken:
            rules.roles.update("wide", "", lambda: {"permissions": ["runs.read"]})
        with pytest.raises(GrantTooWide):
            rules.roles.delete("wide")
        rules.roles.create("mine", "", ["runs.read"], ONCE)
        rules.roles.update("mine", "", lambda: {"permissions": ["roles.write"]})
        rules.roles.delete("mine")

    assert taken.value.metadata["permissions"] == "runs.delete"


def test_the_caps_of_a_credential_count(rules: Rules, ann: str) -> None:
    cap = frozenset({"roles.write", "runs.read"})

    with calling(ann, "RoleService.CreateRole", permission_cap=cap):
        rules.roles.create("mine", "", ["runs.read"], ONCE)
        with pytest.raises(GrantTooWide):
            rules.roles.create("more", "", ["runs.write"], ONCE)
    with calling(ann, "RoleService.CreateRole", workspace_cap=frozenset({"risk"})), pytest.raises(PermissionMissing):
        rules.roles.create("other", "", ["runs.read"], ONCE)


def test_who_may_not_write_roles_changes_none_and_reads_all(rules: Rules) -> None:
    rules.roles.create("clerk", "", READS, ONCE)
    eve = rules.a_principal("admin", Place("risk"))

    with by(eve):
        with pytest.raises(PermissionMissing):
            rules.roles.create("x", "", ["bad"], ONCE)
        with pytest.raises(PermissionMissing):
            rules.roles.update("nothing", "", lambda: pytest.fail("was judged"))
        with pytest.raises(PermissionMissing):
            rules.roles.delete("nothing")
        assert rules.roles.get("clerk").name == "clerk"
        assert names(rules) == [*ROLES, "clerk"]
