"""What holds for bindings: who can give which role to whom, and who sees and removes it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from modelry_server.access.domain import bindings
from modelry_server.access.domain.bindings import Bindings, Draft
from modelry_server.access.entities import Member
from modelry_server.access.errors import (
    GrantTooWide,
    GroupNotFound,
    LastAdministrator,
    PrincipalDisabled,
    PrincipalNotFound,
    RoleBindingExists,
    RoleBindingNotFound,
    RoleNotFound,
)
from modelry_server.access.store import tables
from modelry_server.kernel.access import INSTALLATION, Access, Open, Place, WorkspaceNotFound
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import FieldInvalid, LimitReached, PermissionMissing
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import Permission
from tests.server.access import written
from tests.server.access.acting import ONCE, Rules, calling

RISK, LAB = Place("risk"), Place("lab")
SEVEN, EIGHT = Place("risk", experiment_id="7"), Place("risk", experiment_id="8")
MODEL = Place("risk", model_id="d" * 32)


@pytest.fixture
def rules(db: Database) -> Rules:
    """Bindings at work."""
    return Rules(db)


@pytest.fixture(autouse=True)
def ann(rules: Rules) -> Iterator[str]:
    """An administrator, who calls unless a test says otherwise."""
    ann = rules.a_principal("admin")
    with binding(ann):
        yield ann


@pytest.fixture
def bob(rules: Rules) -> str:
    """Somebody without a role."""
    return rules.a_principal()


def binding(principal_id: str) -> AbstractContextManager[None]:
    """A block in which somebody binds roles."""
    return calling(principal_id, "RoleService.CreateRoleBinding")


def listing(principal_id: str) -> AbstractContextManager[None]:
    """A block in which somebody lists bindings."""
    return calling(principal_id, "RoleService.ListRoleBindings")


def deleting(principal_id: str) -> AbstractContextManager[None]:
    """A block in which somebody removes bindings."""
    return calling(principal_id, "RoleService.DeleteRoleBinding")


def at(number: int, workspace: str = "risk") -> Place:
    """One of many experiments of a workspace."""
    return Place(workspace, experiment_id=str(number))


def test_nobody_swells_what_another_one_may_do_without_end(
    rules: Rules, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bindings, "MOST_OF_ONE", 3)
    for number in range(3):
        rules.bind("reader", bob, at(number))

    with pytest.raises(LimitReached, match="there would be 4 roles of this principal in the workspace"):
        rules.bind("reader", bob, at(3))

    rules.bind("reader", bob, at(3, "lab"))
    rules.bind("reader", rules.a_principal(), at(3))
    rules.bind("reader", bob, INSTALLATION)


def test_a_workspace_has_a_limited_number_of_bindings(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "MOST", 3)
    for number in range(3):
        rules.bind("reader", rules.a_principal(), at(number))

    with pytest.raises(LimitReached, match="there would be 4 role bindings in the workspace"):
        rules.bind("reader", rules.a_principal(), at(1))

    rules.bind("reader", rules.a_principal(), LAB)


def test_a_role_that_means_nothing_at_a_place_is_not_bound_there(rules: Rules, bob: str) -> None:
    rules.a_role(Permission.ACCESS_AUDIT, name="auditor")

    with pytest.raises(FieldInvalid, match="'auditor' has only permissions for the whole installation"):
        rules.bind("auditor", bob, RISK)

    assert rules.bind("auditor", bob, INSTALLATION)


@pytest.mark.parametrize("place", [INSTALLATION, RISK, SEVEN, MODEL])
def test_a_role_that_was_bound_is_listed_and_written_down(rules: Rules, ann: str, bob: str, place: Place) -> None:
    made = rules.bind("reader", bob, place)

    with listing(ann):
        (found,) = rules.bindings.page(place, Member(bob), after=None, limit=9)
    assert found.item == made
    assert (made.role, made.subject, made.place, made.creator_id) == ("reader", Member(bob), place, ann)
    assert rules.changes() == [Changed(principal_id=bob)]
    ((action, resource_id, before, after),) = rules.records()
    assert (action, resource_id, before) == ("role_binding.created", made.binding_id, {})
    assert after["principal_id"] == bob


def test_a_role_of_a_group_makes_those_forget_who_are_in_it(rules: Rules, ann: str) -> None:
    rules.a_group("team")

    made = rules.bind("reader", "team", RISK, is_group=True)
    with deleting(ann):
        rules.bindings.delete(made.binding_id)

    assert rules.changes() == [Changed(group="team")] * 2
    assert [each[0] for each in rules.records()] == ["role_binding.created", "role_binding.deleted"]
    assert rules.records()[1][2] == {"role": "reader", "group": "team", "workspace": "risk"}


def test_what_is_named_must_be_there(rules: Rules, bob: str) -> None:
    with pytest.raises(RoleNotFound):
        rules.bind("clerk", bob)
    with pytest.raises(PrincipalNotFound):
        rules.bind("reader", "f" * 32)
    with pytest.raises(GroupNotFound):
        rules.bind("reader", "nobody", is_group=True)
    with pytest.raises(WorkspaceNotFound):
        rules.bind("reader", bob, Place("nowhere"))
    with rules.db.write() as tx:
        written.disable(tx, bob)
    with pytest.raises(PrincipalDisabled):
        rules.bind("reader", bob)

    assert rules.changes() == []
    assert rules.records() == []


@pytest.mark.parametrize(
    ("draft", "fields"),
    [
        (Draft("reader", None, INSTALLATION), ["principal_id"]),
        (Draft("", Member("x"), INSTALLATION), ["role", "principal_id"]),
        (Draft("reader", Member("", is_group=True), INSTALLATION), ["group"]),
        (Draft("reader", Member("a" * 32), Place("", "7")), ["place.workspace"]),
        (Draft("reader", Member("a" * 32), Place("risk", "7", "d" * 32)), ["place"]),
        (Draft("reader", Member("a" * 32), Place("risk", "seven")), ["place.experiment_id"]),
        (Draft("reader", Member("a" * 32), Place("risk", "", "fraud")), ["place.model_id"]),
        (Draft("reader", Member("a" * 32), Place("ri\0sk")), ["place.workspace"]),
    ],
)
def test_mistakes_are_told(rules: Rules, draft: Draft, fields: list[str]) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        rules.bindings.create(draft, ONCE)

    assert list(refusal.value.violations) == fields


def test_the_same_role_of_the_same_one_at_the_same_place_is_bound_once(rules: Rules, bob: str) -> None:
    request = Request("ann", "CreateRoleBinding", "request-1", "digest-1")
    draft = Draft("reader", Member(bob), RISK)
    made = rules.bindings.create(draft, request)

    assert rules.bindings.create(draft, request) == made
    with pytest.raises(RoleBindingExists) as refusal:
        rules.bindings.create(draft, ONCE)
    assert refusal.value.metadata["binding_id"] == made.binding_id
    rules.bind("reader", bob, SEVEN)
    rules.bind("writer", bob, RISK)


def test_of_many_who_bind_the_same_at_once_one_does(rules: Rules, ann: str, bob: str) -> None:
    def bind(_: int) -> bool:
        with binding(ann):
            try:
                rules.bind("reader", bob)
            except RoleBindingExists:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(bind, range(8))) == 1


def test_the_administrator_of_an_experiment_binds_there_and_nowhere_else(rules: Rules, bob: str) -> None:
    eve = rules.a_principal("admin", SEVEN)

    with binding(eve):
        made = rules.bind("admin", bob, SEVEN)
        with pytest.raises(WorkspaceNotFound):
            rules.bind("reader", bob, EIGHT)
        with pytest.raises(PermissionMissing):
            rules.bind("reader", bob, INSTALLATION)
        with pytest.raises(WorkspaceNotFound):
            rules.bind("reader", bob, LAB)
        with pytest.raises(PermissionMissing):
            rules.bind("reader", bob, RISK)
    with deleting(eve):
        rules.bindings.delete(made.binding_id)


def test_a15_nobody_gives_more_than_they_may_do_there(rules: Rules, bob: str) -> None:
    rules.a_role(Permission.BINDINGS_WRITE, Permission.RUNS_READ, name="host")
    eve = rules.a_principal("host", RISK)
    rules.bound("admin", eve, SEVEN)
    rules.a_role(Permission.RUNS_READ, Permission.ROLES_WRITE, name="viewer")

    with binding(eve):
        with pytest.raises(GrantTooWide) as refusal:
            rules.bind("reader", bob, RISK)
        assert refusal.value.metadata["permissions"] == "audit.read, files.read, models.read"
        with pytest.raises(GrantTooWide):
            rules.bind("reader", bob, MODEL)
        rules.bind("reader", bob, SEVEN)
        # What counts only for the whole installation gives nothing here.
        rules.bind("viewer", bob, RISK)


def test_the_administrator_of_a_workspace_makes_others_there(rules: Rules, bob: str) -> None:
    eve = rules.a_principal("admin", RISK)

    with binding(eve):
        rules.bind("admin", bob, RISK)
        with pytest.raises(PermissionMissing):
            rules.bind("admin", bob)


def test_the_caps_of_a_credential_count(rules: Rules, ann: str, bob: str) -> None:
    rpc = "RoleService.CreateRoleBinding"

    with calling(ann, rpc, permission_cap=frozenset({"bindings.write", "runs.read"})), pytest.raises(GrantTooWide):
        rules.bind("reader", bob, RISK)
    with calling(ann, rpc, workspace_cap=frozenset({"risk"})):
        with pytest.raises(PermissionMissing):
            rules.bind("reader", bob)
        with pytest.raises(WorkspaceNotFound):
            rules.bind("reader", bob, LAB)
        rules.bind("reader", bob, RISK)


def test_a_list_has_what_lies_at_the_place_and_in_it(rules: Rules, ann: str, bob: str) -> None:
    rules.a_group("team")
    everywhere = rules.bound("reader", bob)
    risk = rules.bound("reader", bob, RISK)
    seven = rules.bound("reader", bob, SEVEN)
    model = rules.bound("reader", bob, MODEL)
    lab = rules.bound("reader", "team", LAB, is_group=True)

    with listing(ann):
        assert rules.listed()[1:] == [everywhere, risk, seven, model, lab]
        assert rules.listed(RISK) == [risk, seven, model]
        assert rules.listed(SEVEN) == [seven]
        assert rules.listed(MODEL) == [model]
        assert rules.listed(subject=Member(bob)) == [everywhere, risk, seven, model]
        assert rules.listed(subject=Member("team", is_group=True)) == [lab]
        assert rules.listed(LAB, Member(bob)) == []
        with pytest.raises(WorkspaceNotFound):
            rules.listed(Place("nowhere"))


def test_a_list_goes_on_after_a_page(rules: Rules, ann: str, bob: str) -> None:
    made = [rules.bound("reader", bob, Place("risk", experiment_id=str(number))) for number in range(5)]

    with listing(ann):
        first = rules.bindings.page(RISK, None, after=None, limit=2)
        rest = rules.bindings.page(RISK, None, after=first[-1].key, limit=9)

    assert [each.item.binding_id for each in (*first, *rest)] == made


def test_a_list_shows_only_places_whose_members_the_caller_may_read(rules: Rules, bob: str) -> None:
    risk, seven = rules.bound("reader", bob, RISK), rules.bound("reader", bob, SEVEN)
    eight, lab = rules.bound("reader", bob, EIGHT), rules.bound("reader", bob, LAB)
    eve = rules.a_principal("admin", SEVEN)
    zoe = rules.a_principal("admin", LAB)
    rules.bound("reader", zoe)
    mia = rules.a_principal("reader")

    with listing(eve):
        assert set(rules.listed()) & {risk, seven, eight, lab} == {seven}
        assert set(rules.listed(RISK)) & {risk, seven, eight, lab} == {seven}
        assert seven in rules.listed(SEVEN)
        with pytest.raises(WorkspaceNotFound):
            rules.listed(EIGHT)
        with pytest.raises(WorkspaceNotFound):
            rules.listed(LAB)
    with listing(zoe):
        assert set(rules.listed()) & {risk, seven, eight, lab} == {lab}
        with pytest.raises(PermissionMissing):
            rules.listed(RISK)
    with listing(mia):
        with pytest.raises(PermissionMissing):
            rules.listed()
        with pytest.raises(PermissionMissing):
            rules.listed(RISK)
    with listing(rules.a_principal()):
        with pytest.raises(PermissionMissing):
            rules.listed()
        with pytest.raises(WorkspaceNotFound):
            rules.listed(RISK)


def test_a_capped_credential_lists_its_workspaces_only(rules: Rules, ann: str, bob: str) -> None:
    rules.bound("reader", bob)
    risk = rules.bound("reader", bob, RISK)
    rules.bound("reader", bob, LAB)

    with calling(ann, "RoleService.ListRoleBindings", workspace_cap=frozenset({"risk"})):
        assert rules.listed() == [risk]


def test_who_may_not_see_a_binding_does_not_find_it(rules: Rules, bob: str) -> None:
    made = rules.bound("reader", bob, RISK)
    everywhere = rules.bound("reader", bob)
    rules.a_role(Permission.BINDINGS_READ, name="watcher")

    for stranger in (rules.a_principal("admin", LAB), rules.a_principal("reader", RISK)):
        with deleting(stranger):
            for hidden in (made, everywhere, "f" * 32):
                with pytest.raises(RoleBindingNotFound):
                    rules.bindings.delete(hidden)
    with deleting(rules.a_principal("watcher", RISK)):
        with pytest.raises(PermissionMissing):
            rules.bindings.delete(made)
        with pytest.raises(FieldInvalid):
            rules.bindings.delete("x")


def test_who_lists_a_binding_reads_it_and_for_others_it_is_not_there(rules: Rules, ann: str, bob: str) -> None:
    rules.a_role(Permission.BINDINGS_READ, name="watcher")
    rules.a_role(Permission.BINDINGS_WRITE, name="giver")
    made = {place: rules.bound("reader", bob, place) for place in (INSTALLATION, RISK, SEVEN, EIGHT, LAB)}
    seen_by = {
        ann: set(made),
        rules.a_principal("watcher"): set(made),
        rules.a_principal("watcher", RISK): {RISK, SEVEN, EIGHT},
        rules.a_principal("watcher", SEVEN): {SEVEN},
        rules.a_principal("giver"): set(),
        rules.a_principal("reader"): set(),
        bob: set(),
    }

    for principal_id, seen in seen_by.items():
        with calling(principal_id, "RoleService.GetRoleBinding"):
            for place, binding_id in made.items():
                if place in seen:
                    assert rules.bindings.get(binding_id).binding_id == binding_id
                else:
                    with pytest.raises(RoleBindingNotFound):
                        rules.bindings.get(binding_id)
            with pytest.raises(RoleBindingNotFound):
                rules.bindings.get("f" * 32)
            with pytest.raises(FieldInvalid):
                rules.bindings.get("x")


def test_a_binding_that_is_hidden_is_judged_as_one_that_is_not_there(rules: Rules, bob: str) -> None:
    hidden = rules.bound("reader", bob, RISK)
    asked: list[Place] = []

    class Noting(Open):
        def may(self, caller: Caller, permission: str, place: Place) -> bool:
            asked.append(place)
            return False

    noting = Bindings(rules.db, Requests(tables.requests, rules.clock), Access(Noting()), rules.clock)
    for binding_id in (hidden, "f" * 32):
        with calling(bob, "RoleService.GetRoleBinding"), pytest.raises(RoleBindingNotFound):
            noting.get(binding_id)

    assert [place.workspace for place in asked] == ["risk", "-"]


def test_a_role_that_is_not_there_is_no_role_that_nobody_has(rules: Rules, ann: str, bob: str) -> None:
    rules.a_role("runs.read", name="unused")
    seven, risk = rules.bound("writer", bob, SEVEN), rules.bound("writer", bob, RISK)
    rules.bound("reader", bob, RISK)

    with listing(ann):
        for place in (INSTALLATION, RISK):
            found = rules.bindings.page(place, None, "writer", after=None, limit=9)
            assert [each.item.binding_id for each in found] == [seven, risk]
            assert not rules.bindings.page(place, None, "unused", after=None, limit=9)
            with pytest.raises(RoleNotFound):
                rules.bindings.page(place, None, "clerk", after=None, limit=9)


def test_a_binding_goes_once(rules: Rules, ann: str, bob: str) -> None:
    made = rules.bind("reader", bob, RISK)

    with deleting(ann):
        rules.bindings.delete(made.binding_id)
        with pytest.raises(RoleBindingNotFound):
            rules.bindings.delete(made.binding_id)

    assert rules.changes() == [Changed(principal_id=bob)] * 2


def test_nobody_takes_more_than_they_may_do_themselves(rules: Rules, bob: str) -> None:
    made = rules.bound("admin", bob, RISK)
    rules.a_role(Permission.BINDINGS_WRITE, Permission.RUNS_READ, name="host")

    with deleting(rules.a_principal("host", RISK)), pytest.raises(GrantTooWide):
        rules.bindings.delete(made)
    with deleting(rules.a_principal("admin", RISK)):
        rules.bindings.delete(made)


def test_the_last_administrator_stays(rules: Rules, ann: str, bob: str) -> None:
    with listing(ann):
        (own,) = rules.listed(subject=Member(ann))

    with deleting(ann):
        with pytest.raises(LastAdministrator):
            rules.bindings.delete(own)
        rules.bound("admin", bob, RISK)
        with pytest.raises(LastAdministrator):
            rules.bindings.delete(own)
        rules.a_group("chiefs", bob)
        rules.bound("admin", "chiefs", is_group=True)
        rules.bindings.delete(own)

    with deleting(bob), pytest.raises(LastAdministrator):
        rules.bindings.delete(rules.listed(subject=Member("chiefs", is_group=True))[0])


def test_of_two_last_administrators_who_remove_each_other_at_once_one_stays(rules: Rules, ann: str) -> None:
    bob = rules.a_principal()
    bobs = rules.bound("admin", bob)
    with listing(ann):
        (anns,) = rules.listed(subject=Member(ann))

    def remove(pair: tuple[str, str]) -> bool:
        with deleting(pair[0]):
            try:
                rules.bindings.delete(pair[1])
            except (LastAdministrator, RoleBindingNotFound, GrantTooWide):
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        removed = list(pool.map(remove, [(ann, bobs), (bob, anns)]))

    assert sum(removed) == 1
