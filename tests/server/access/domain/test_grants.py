"""What a principal may do is what its bindings and those of its groups say, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelry_server.access.domain.rights.grants import effective
from modelry_server.access.store import tables
from modelry_server.kernel.access import INSTALLATION, Place
from modelry_server.kernel.authority import Grants
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import INSTALLATION_ONLY, ROLES, Permission
from tests.server.access import written

ANN = "a" * 32
RISK, LAB = Place("risk"), Place("lab")
WRITER, READER, ADMIN = ROLES["writer"], ROLES["reader"], ROLES["admin"]


def grants(db: Database, *, given: frozenset[str] = frozenset()) -> Grants:
    """What Ann may do."""
    with db.read() as tx:
        return effective(tx, ANN, given)


def test_who_has_no_role_may_do_nothing(db: Database) -> None:
    assert grants(db) == Grants()


def test_roles_hold_where_they_are_bound_and_add_up(db: Database) -> None:
    with db.write() as tx:
        written.bind(tx, "reader", ANN)
        written.bind(tx, "writer", ANN, RISK)
        written.bind(tx, "approver", ANN, RISK)
        written.bind(tx, "admin", ANN, Place("risk", experiment_id="7"))
        written.bind(tx, "approver", ANN, Place("lab", model_id="b" * 32))
        written.bind(tx, "admin", "c" * 32)

    found = grants(db)

    assert found.everywhere == READER
    assert found.workspaces == {"risk": WRITER | ROLES["approver"]}
    assert found.experiments == {("risk", "7"): ADMIN - INSTALLATION_ONLY}
    assert found.models == {("lab", "b" * 32): ROLES["approver"]}


def test_what_is_bound_in_vain_is_not_said(db: Database) -> None:
    with db.write() as tx:
        written.bind(tx, "admin", ANN, RISK)
        for number in range(100):
            written.bind(tx, "writer", ANN, Place("risk", experiment_id=str(number)))
            written.bind(tx, "reader", ANN, Place("risk", model_id=f"{number:032}"))

    assert grants(db) == Grants(workspaces={"risk": ADMIN - INSTALLATION_ONLY})


def test_permissions_of_the_installation_count_only_there(db: Database) -> None:
    with db.write() as tx:
        written.a_role(tx, "clerk", Permission.PRINCIPALS_READ)
        written.bind(tx, "admin", ANN, RISK)
        written.bind(tx, "clerk", ANN, LAB)
        written.bind(tx, "clerk", ANN)

    found = grants(db)

    assert found.everywhere == {Permission.PRINCIPALS_READ}
    assert found.workspaces == {"risk": ADMIN - INSTALLATION_ONLY}


def test_groups_count_through_other_groups_and_by_the_credential(db: Database) -> None:
    with db.write() as tx:
        written.a_group(tx, "team", people=[ANN])
        written.a_group(tx, "unit", groups=["team"])
        written.a_group(tx, "idp:lab")
        written.a_group(tx, "labs", groups=["idp:lab"])
        written.bind(tx, "reader", "unit", is_group=True)
        written.bind(tx, "writer", "labs", LAB, is_group=True)

    alone, through = grants(db), grants(db, given=frozenset({"idp:lab", "nowhere"}))

    assert alone == Grants(READER, groups=frozenset({"team", "unit"}))
    assert through.workspaces == {"lab": WRITER}
    assert through.groups == {"team", "unit", "idp:lab", "labs", "nowhere"}


def test_a_group_with_the_name_of_a_principal_is_somebody_else(db: Database) -> None:
    with db.write() as tx:
        written.a_group(tx, ANN, people=["b" * 32])
        written.a_group(tx, "team", groups=[ANN])
        written.bind(tx, "admin", ANN, is_group=True)
        written.bind(tx, "admin", "team", is_group=True)

    assert grants(db) == Grants()


def test_groups_that_are_in_each_other_end(db: Database) -> None:
    with db.write() as tx:
        written.a_group(tx, "one", people=[ANN])
        written.a_group(tx, "two", groups=["one"])
        written.join(tx, "one", "two", is_group=True)

    assert grants(db).groups == {"one", "two"}


def test_bindings_for_one_id_in_two_workspaces_take_nothing_from_each_other(db: Database) -> None:
    with db.write() as tx:
        written.bind(tx, "writer", ANN, Place("risk", experiment_id="7"))
        written.bind(tx, "reader", ANN, Place("lab", experiment_id="7"))

    assert grants(db).experiments == {("risk", "7"): WRITER, ("lab", "7"): ROLES["reader"]}


PEOPLE = [f"{number:032x}" for number in range(4)]
GROUPS = ["g0", "g1", "g2", "g3", "g4", PEOPLE[0]]
CUSTOM = {"clerk": frozenset({"principals.read", "runs.read"}), "mover": frozenset({"versions.stage"})}
PLACES = [
    *(INSTALLATION, RISK, LAB, Place("risk", experiment_id="1"), Place("risk", experiment_id="2")),
    *(Place("lab", experiment_id="1"), Place("lab", model_id="m"), Place("risk", model_id="n")),
]
subjects = st.one_of(
    st.tuples(st.sampled_from(PEOPLE), st.just(False)), st.tuples(st.sampled_from(GROUPS), st.just(True))
)


@dataclass
class World:
    """Who is in which group, and who has which role where."""

    members: set[tuple[str, str, bool]] = field(default_factory=set)
    bindings: dict[tuple[str, str, bool, Place], None] = field(default_factory=dict)

    def groups_of(self, principal_id: str, given: frozenset[str]) -> frozenset[str]:
        """All groups that somebody is in."""
        found = set(given) | {
            group for group, member, is_group in self.members if (member, is_group) == (principal_id, False)
        }
        while more := {group for group, member, is_group in self.members if is_group and member in found} - found:
            found |= more
        return frozenset(found)

    def may(self, principal_id: str, given: frozenset[str], place: Place) -> set[str]:
        """What somebody may do by what is bound exactly at a place."""
        groups = self.groups_of(principal_id, given)
        found: set[str] = set()
        for role, subject, is_group, where in self.bindings:
            if where == place and (subject in groups if is_group else subject == principal_id):
                found |= CUSTOM.get(role, frozenset()) | ROLES.get(role, frozenset())
        return found if place == INSTALLATION else found - INSTALLATION_ONLY


worlds = st.builds(
    World,
    st.sets(st.tuples(st.sampled_from(GROUPS), subjects).map(lambda each: (each[0], *each[1])), max_size=12),
    st.lists(
        st.tuples(st.sampled_from([*ROLES, *CUSTOM]), subjects, st.sampled_from(PLACES)).map(
            lambda each: (each[0], *each[1], each[2])
        ),
        max_size=12,
    ).map(dict.fromkeys),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds, given_groups=st.frozensets(st.sampled_from([*GROUPS, "nowhere"]), max_size=2))
def test_grants_are_what_a_plain_reading_of_all_rows_says(
    db: Database, world: World, given_groups: frozenset[str]
) -> None:
    with db.write() as tx:
        for table in (tables.group_members, tables.role_bindings, tables.groups, tables.roles):
            tx.execute(sa.delete(table))
        for name in GROUPS:
            written.a_group(tx, name)
        for name, permissions in CUSTOM.items():
            written.a_role(tx, name, *permissions)
        for group, member, is_group in world.members:
            written.join(tx, group, member, is_group=is_group)
        for role, subject, is_group, place in world.bindings:
            written.bind(tx, role, subject, place, is_group=is_group)

    for person in PEOPLE:
        with db.read() as tx:
            found = effective(tx, person, given_groups)
        assert found.groups == world.groups_of(person, given_groups)
        for place in PLACES:
            around = {INSTALLATION, Place(place.workspace), place}
            expected = set[str]().union(*(world.may(person, given_groups, each) for each in around))
            assert set[str]().union(*found.at(place)) == expected
        covered = [those for those in found.workspaces.values() if those <= found.everywhere]
        for (workspace, _), those in [*found.experiments.items(), *found.models.items()]:
            if those <= found.everywhere | found.workspaces.get(workspace, frozenset()):
                covered.append(those)
        assert not covered
