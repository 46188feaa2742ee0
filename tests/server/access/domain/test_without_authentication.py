"""Without authentication everybody may do everything, and nobody needs to administer."""

from __future__ import annotations

from modelry_server.access.entities import Member
from modelry_server.kernel import caller
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.sql.database import Database
from tests.server.access.acting import ONCE, Rules

SOMEBODY = caller.using(Caller("somebody", "0" * 32))


def test_roles_are_bound_and_removed(db: Database) -> None:
    rules = Rules.without_authentication(db)
    bob = rules.a_principal()

    with SOMEBODY:
        made = rules.bind("reader", bob)
        seen = rules.listed()
        rules.bindings.delete(made.binding_id)

    assert seen == [made.binding_id]
    assert made.creator_id == ""


def test_roles_are_made_of_all_permissions(db: Database) -> None:
    rules = Rules.without_authentication(db)

    with SOMEBODY:
        assert rules.roles.create("clerk", "", ["roles.write"], ONCE) == rules.roles.get("clerk")


def test_groups_come_and_go_with_their_members(db: Database) -> None:
    rules = Rules.without_authentication(db)
    bob = rules.a_principal()

    with SOMEBODY:
        rules.groups.create("team", "", ONCE)
        rules.groups.add_members("team", [Member(bob)])
        rules.groups.remove_members("team", [Member(bob)])
        rules.groups.delete("team")

        assert rules.groups.page(after=None, limit=9) == []
