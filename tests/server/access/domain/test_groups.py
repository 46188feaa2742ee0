"""What holds for groups."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise

import pytest
import sqlalchemy as sa

from modelry_server.access.domain import groups as rules_of_groups
from modelry_server.access.entities import Group, Member
from modelry_server.access.errors import (
    GrantTooWide,
    GroupCycle,
    GroupExists,
    GroupNotFound,
    LastAdministrator,
    PrincipalNotFound,
)
from modelry_server.access.store import tables
from modelry_server.kernel.access import INSTALLATION, Place
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, LimitReached, PermissionMissing
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import Permission
from tests.server.access import written
from tests.server.access.acting import ONCE, Rules, calling

RISK = Place("risk")


def group(name: str) -> Member:
    """A group as a member."""
    return Member(name, is_group=True)


@pytest.fixture
def rules(db: Database) -> Rules:
    """Groups at work."""
    return Rules(db)


@pytest.fixture(autouse=True)
def ann(rules: Rules) -> Iterator[str]:
    """An administrator, who calls unless a test says otherwise."""
    ann = rules.a_principal("admin")
    with changing(ann):
        yield ann


def changing(principal_id: str) -> AbstractContextManager[None]:
    """A block in which somebody changes groups."""
    return calling(principal_id, "GroupService.AddGroupMembers")


def reading(principal_id: str, *said: str) -> AbstractContextManager[None]:
    """A block in which somebody reads groups, whose credential says some."""
    return calling(principal_id, "GroupService.GetGroup", groups=frozenset(said))


def names(rules: Rules) -> list[str]:
    """The groups that the caller sees."""
    return [each.item.name for each in rules.groups.page(after=None, limit=100)]


def members(rules: Rules, name: str) -> list[Member]:
    """Who is in a group."""
    return [each.item for each in rules.groups.member_page(name, after=None, limit=100)]


def test_a_group_that_was_made_is_found(rules: Rules) -> None:
    made = rules.groups.create("idp:team 1", "Words.", ONCE)

    now = rules.clock.now()
    assert made == rules.groups.get("idp:team 1") == Group("idp:team 1", "Words.", now, now)
    assert rules.records() == [("group.created", "idp:team 1", {}, {"description": "Words."})]
    with pytest.raises(GroupExists):
        rules.groups.create("idp:team 1", "", ONCE)


def test_the_same_request_twice_makes_one_group(rules: Rules) -> None:
    request = Request("ann", "CreateGroup", "request-1", "digest-1")

    assert rules.groups.create("team", "", request) == rules.groups.create("team", "", request)


@pytest.mark.parametrize("name", ["", "x" * 251, "a\nb", "a\0"])
def test_mistakes_are_told(rules: Rules, name: str) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        rules.groups.create(name, "x" * 5001, ONCE)
    assert list(refusal.value.violations) == ["name", "description"]

    with pytest.raises(FieldInvalid):
        rules.groups.get(name)
    with pytest.raises(FieldInvalid):
        rules.groups.delete(name)
    with pytest.raises(FieldInvalid):
        rules.groups.member_page(name, after=None, limit=1)


def test_mistakes_of_members_are_told(rules: Rules) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        rules.groups.add_members("team", [None, Member("x"), group("")])

    assert list(refusal.value.violations) == ["members[0]", "members[1].principal_id", "members[2].group"]
    for wrong in ([], [group(str(number)) for number in range(1001)]):
        with pytest.raises(FieldInvalid):
            rules.groups.remove_members("team", wrong)


def test_a_description_changes_with_its_etag(rules: Rules) -> None:
    made = rules.groups.create("team", "", ONCE)
    rules.clock.advance(1)

    changed = rules.groups.update("team", made.etag, lambda: {"description": "Words."})

    assert changed == rules.groups.get("team")
    assert (changed.description, changed.update_time) == ("Words.", rules.clock.now())
    with pytest.raises(EtagMismatch):
        rules.groups.update("team", made.etag, lambda: {"description": "Mine."})
    assert rules.groups.update("team", changed.etag, dict) == changed
    with pytest.raises(GroupNotFound):
        rules.groups.update("nobody", "", lambda: {"description": "Mine."})


def test_members_are_listed_groups_by_name_then_principals_by_id(rules: Rules) -> None:
    people = sorted(rules.a_principal() for _ in range(3))
    for name in ("team", "b", "a"):
        rules.a_group(name)
    rules.groups.add_members("team", [Member(people[1]), group("b"), Member(people[0]), group("a"), Member(people[2])])

    seen: list[Member] = []
    after = None
    while page := rules.groups.member_page("team", after=after, limit=2):
        seen += [each.item for each in page]
        after = page[-1].key

    assert seen == [group("a"), group("b"), *map(Member, people)]


def test_who_joins_or_leaves_is_written_down_and_forgotten(rules: Rules) -> None:
    bob = rules.a_principal()
    made = rules.a_group("team"), rules.a_group("unit")
    before = rules.groups.get(made[0])
    rules.clock.advance(1)

    added = rules.groups.add_members("team", [Member(bob), group("unit"), Member(bob)])
    again = rules.groups.add_members("team", [Member(bob)])
    removed = rules.groups.remove_members("team", [Member(bob), Member("e" * 32)])
    rules.groups.remove_members("team", [Member(bob)])

    assert added.etag != before.etag
    assert added.update_time == rules.clock.now()
    assert again == added
    assert removed == rules.groups.get("team")
    assert members(rules, "team") == [group("unit")]
    assert rules.changes() == [Changed(principal_id=bob), Changed(group="unit"), Changed(group="team")]
    assert rules.records() == [
        ("group.members_added", "team", {}, {"principals": [bob], "groups": ["unit"]}),
        ("group.members_removed", "team", {"principals": [bob]}, {}),
    ]


def test_who_joins_must_be_there(rules: Rules) -> None:
    bob = rules.a_principal()
    rules.a_group("team")

    with pytest.raises(GroupNotFound):
        rules.groups.add_members("nobody", [Member(bob)])
    with pytest.raises(GroupNotFound):
        rules.groups.add_members("team", [Member(bob), group("nobody")])
    with pytest.raises(PrincipalNotFound):
        rules.groups.add_members("team", [Member(bob), Member("e" * 32)])

    assert members(rules, "team") == []


def test_a_group_is_never_in_itself(rules: Rules) -> None:
    for name in ("a", "b", "c", "d"):
        rules.a_group(name)
    rules.groups.add_members("a", [group("b")])
    rules.groups.add_members("b", [group("c")])

    for name, member in (("a", "a"), ("b", "a"), ("c", "a"), ("c", "b")):
        with pytest.raises(GroupCycle) as refusal:
            rules.groups.add_members(name, [group("d"), group(member)])
        assert refusal.value.metadata == {"group": name, "member": member}

    rules.groups.add_members("a", [group("c")])
    assert members(rules, "c") == []


def test_two_who_put_two_groups_into_each_other_at_once_make_no_cycle(rules: Rules, ann: str) -> None:
    rules.a_group("a")
    rules.a_group("b")

    def put(pair: tuple[str, str]) -> bool:
        with changing(ann):
            try:
                rules.groups.add_members(pair[0], [group(pair[1])])
            except GroupCycle:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(put, [("a", "b"), ("b", "a")])) == 1


def test_groups_are_in_each_other_ten_deep_at_most(rules: Rules) -> None:
    chain = [rules.a_group(f"g{number:02}") for number in range(1, 12)]
    for above, below in [*pairwise(chain[:5]), *pairwise(chain[5:])]:
        rules.groups.add_members(above, [group(below)])

    with pytest.raises(LimitReached) as refusal:
        rules.groups.add_members(chain[4], [group(chain[5])])
    assert (refusal.value.metadata["total"], refusal.value.metadata["most"]) == ("11", "10")
    rules.groups.add_members(chain[4], [group(chain[6])])


def test_a_group_has_a_limited_number_of_members(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_of_groups, "MOST_MEMBERS", 3)
    rules.a_group("team", *(rules.a_principal() for _ in range(2)))
    bob, eve = rules.a_principal(), rules.a_principal()

    with pytest.raises(LimitReached):
        rules.groups.add_members("team", [Member(bob), Member(eve)])
    rules.groups.add_members("team", [Member(bob)])
    with pytest.raises(LimitReached):
        rules.groups.add_members("team", [Member(bob), Member(eve)])
    rules.groups.add_members("team", [Member(bob)])


def test_a_group_that_is_deleted_leaves_nothing(rules: Rules) -> None:
    bob = rules.a_principal()
    rules.a_group("inner")
    rules.a_group("team", bob, groups=("inner",))
    rules.a_group("outer", groups=("team",))
    rules.a_group(bob)
    kept = rules.bound("reader", bob, RISK)
    rules.bound("reader", "team", RISK, is_group=True)

    rules.groups.delete("team")

    with pytest.raises(GroupNotFound):
        rules.groups.get("team")
    assert members(rules, "outer") == []
    with calling(bob, "RoleService.ListRoleBindings"), rules.db.read() as tx:
        left = tx.execute(sa.select(tables.role_bindings.c.binding_id).where(tables.role_bindings.c.workspace != ""))
        assert list(left.scalars()) == [kept]
    assert rules.changes() == [Changed(group="team")]
    assert rules.records() == [
        ("group.deleted", "team", {"description": "", "removed": {"members": 2, "role_bindings": 1}}, {})
    ]
    with pytest.raises(GroupNotFound):
        rules.groups.delete("team")


def test_a15_nobody_lets_others_join_what_has_more_than_they_may_do(rules: Rules) -> None:
    rules.a_role(Permission.GROUPS_WRITE, Permission.RUNS_READ, name="clerk")
    rules.a_role(Permission.RUNS_READ, name="viewer")
    eve, bob = rules.a_principal("clerk"), rules.a_principal()
    for name in ("team", "inner", "free"):
        rules.a_group(name)
    rules.a_group("outer", groups=("team",))
    rules.bound("writer", "outer", RISK, is_group=True)
    rules.bound("viewer", "free", is_group=True)

    with changing(eve):
        for name in ("outer", "team"):
            for member in (Member(bob), Member(eve), group("inner")):
                with pytest.raises(GrantTooWide) as refusal:
                    rules.groups.add_members(name, [member])
        assert "runs.write" in refusal.value.metadata["permissions"]
        assert refusal.value.metadata["workspace"] == "risk"
        rules.groups.add_members("free", [Member(bob)])
        rules.groups.remove_members("free", [Member(bob)])


def test_a15_nobody_takes_out_of_a_group_or_deletes_what_has_more_than_they_may_do(rules: Rules) -> None:
    rules.a_role(Permission.GROUPS_WRITE, name="clerk")
    eve, bob = rules.a_principal("clerk"), rules.a_principal()
    rules.a_group("team", bob)
    rules.a_group("outer", groups=("team",))
    rules.a_group("free", bob)
    rules.bound("writer", "outer", RISK, is_group=True)

    with changing(eve):
        for name, member in (("team", Member(bob)), ("outer", group("team"))):
            with pytest.raises(GrantTooWide) as refusal:
                rules.groups.remove_members(name, [member])
            with pytest.raises(GrantTooWide):
                rules.groups.delete(name)
        assert refusal.value.metadata["workspace"] == "risk"
        rules.groups.remove_members("free", [Member(bob)])
        rules.groups.delete("free")


def test_the_last_administrator_stays(rules: Rules) -> None:
    bob = rules.a_principal()
    rules.a_group("team", bob)
    rules.a_group("chiefs", groups=("team",))
    rules.bound("admin", "chiefs", is_group=True)
    t = tables.role_bindings
    with rules.db.write() as tx:
        tx.execute(sa.delete(t).where(t.c.is_group == sa.false()))

    with changing(bob):
        for name in ("team", "chiefs"):
            with pytest.raises(LastAdministrator):
                rules.groups.delete(name)
        with pytest.raises(LastAdministrator):
            rules.groups.remove_members("team", [Member(bob)])
        with pytest.raises(LastAdministrator):
            rules.groups.remove_members("chiefs", [group("team")])
        assert members(rules, "team") == [Member(bob)]


def test_of_two_last_administrators_who_leave_at_once_one_stays(rules: Rules) -> None:
    people = [rules.a_principal(), rules.a_principal()]
    rules.a_group("chiefs", *people)
    rules.bound("admin", "chiefs", is_group=True)
    t = tables.role_bindings
    with rules.db.write() as tx:
        tx.execute(sa.delete(t).where(t.c.is_group == sa.false()))

    def leave(principal_id: str) -> bool:
        with changing(principal_id):
            try:
                rules.groups.remove_members("chiefs", [Member(principal_id)])
            except LastAdministrator:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(leave, people)) == 1


def test_who_administers_or_binds_sees_all_groups_and_others_their_own(rules: Rules) -> None:
    bob = rules.a_principal()
    rules.a_group("team", bob)
    rules.a_group("outer", groups=("team",))
    rules.a_group("idp:lab")
    rules.a_group("other")
    rules.a_role(Permission.PRINCIPALS_READ, name="watcher")
    everything = ["idp:lab", "other", "outer", "team"]

    for place, role in ((RISK, "admin"), (Place("risk", experiment_id="7"), "admin"), (INSTALLATION, "watcher")):
        with reading(rules.a_principal(role, place)):
            assert names(rules) == everything
    with reading(bob, "idp:lab", "nowhere"):
        assert names(rules) == ["idp:lab", "outer", "team"]
        assert rules.groups.get("outer").name == "outer"
        assert members(rules, "team") == [Member(bob)]
        for name in ("other", "nowhere"):
            with pytest.raises(GroupNotFound):
                rules.groups.get(name)
            with pytest.raises(GroupNotFound):
                members(rules, name)
    with reading(bob):
        assert names(rules) == ["outer", "team"]
    with reading(rules.a_principal("writer")):
        assert names(rules) == []


def test_a_list_goes_on_after_a_page(rules: Rules) -> None:
    for name in ("b", "a", "c"):
        rules.a_group(name)

    first = rules.groups.page(after=None, limit=2)
    rest = rules.groups.page(after=first[-1].key, limit=2)

    assert [each.item.name for each in (*first, *rest)] == ["a", "b", "c"]


def test_the_groups_of_a_member_are_those_that_the_caller_sees(rules: Rules, ann: str) -> None:
    bob, eve = rules.a_principal(), rules.a_principal()
    rules.a_group("team", bob, eve)
    rules.a_group("other", eve)
    rules.a_group("outer", groups=("team",))
    rules.a_group("hidden", groups=("team", "other"))

    def names(member: Member) -> list[str]:
        return [each.item.name for each in rules.groups.page(member, after=None, limit=9)]

    with reading(ann):
        assert names(Member(eve)) == ["other", "team"]
        assert names(group("team")) == ["hidden", "outer"]
        with pytest.raises(PrincipalNotFound):
            names(Member("f" * 32))
        with pytest.raises(GroupNotFound):
            names(group("nowhere"))
    with reading(bob):
        assert names(Member(bob)) == ["team"]
        for hidden in (Member(eve), Member("f" * 32)):
            with pytest.raises(PrincipalNotFound):
                names(hidden)
        for unseen in ("other", "nowhere"):
            with pytest.raises(GroupNotFound):
                names(group(unseen))
    with reading(bob, "other", "nowhere"):  # by the credential: it sees the group, and is no member of it by a row
        assert names(Member(bob)) == ["team"]
        assert names(group("other")) == ["hidden"]
        with pytest.raises(GroupNotFound):
            names(group("nowhere"))


def test_who_may_not_write_principals_changes_no_group(rules: Rules) -> None:
    rules.a_group("team")

    with changing(rules.a_principal("admin", RISK)):
        with pytest.raises(PermissionMissing):
            rules.groups.create("", "", ONCE)
        with pytest.raises(PermissionMissing):
            rules.groups.update("team", "", lambda: pytest.fail("was judged"))
        with pytest.raises(PermissionMissing):
            rules.groups.delete("nobody")
        with pytest.raises(PermissionMissing):
            rules.groups.add_members("nobody", [])
        with pytest.raises(PermissionMissing):
            rules.groups.remove_members("nobody", [])


def test_a_thousand_join_and_leave_in_one_call(rules: Rules) -> None:
    with rules.db.write() as tx:
        people = [written.a_principal(tx, new_id()) for _ in range(1000)]
    rules.a_group("team")

    rules.groups.add_members("team", [Member(each) for each in people])
    assert len(rules.changes()) == 1000
    rules.groups.remove_members("team", [Member(each) for each in people])

    assert members(rules, "team") == []
