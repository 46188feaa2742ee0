"""What holds for principals."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelry_server.access.domain.principals import DEEPEST, Draft, Granted, Self
from modelry_server.access.domain.tokens import Draft as TokenDraft
from modelry_server.access.entities import Principal, PrincipalKind
from modelry_server.access.errors import GrantTooWide, LastAdministrator, PrincipalExists, PrincipalNotFound
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Place
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import CredentialInvalid, EtagMismatch, FieldInvalid, LimitReached, PermissionMissing
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.permissions import INSTALLATION_ONLY, ROLES, Permission
from tests.server.access import written
from tests.server.access.conftest import ONCE, TRACE, Installation

REQUEST = Request("ada", "modelry.api.access.v1.CreatePrincipalRequest", "request-1", "digest-1")
USER, ROBOT = PrincipalKind.USER, PrincipalKind.SERVICE_ACCOUNT
WRITE = Permission.PRINCIPALS_WRITE


@pytest.fixture
def admin(installation: Installation) -> str:
    """The text of a token of an administrator."""
    return installation.token(installation.principal("admin", "admin"))[1]


def test_a_principal_that_was_made_is_found(installation: Installation, admin: str) -> None:
    with installation.by(admin, WRITE):
        made = installation.principals.create(Draft(USER, "ada", "Ada L.", "https://idp.example", "u-1"), ONCE)
        by_id, by_name = installation.principals.get(made.principal_id, ""), installation.principals.get("", "ada")

    assert by_id == by_name
    assert by_id.principal == made
    assert (made.name, made.issuer, made.external_id, made.is_disabled) == ("ada", "https://idp.example", "u-1", False)


def test_all_mistakes_are_told_at_once(installation: Installation, admin: str) -> None:
    draft = Draft(7, " ada", "x" * 251, "https://else.example", "", "no id")

    with installation.by(admin, WRITE):
        with pytest.raises(FieldInvalid) as refusal:
            installation.principals.create(draft, replace(REQUEST, request_id="x" * 65))
        with pytest.raises(FieldInvalid) as person:
            installation.principals.create(Draft(USER, "ada", owner_id=new_id()), ONCE)
        with pytest.raises(FieldInvalid) as alone:
            installation.principals.create(Draft(USER, "ada", external_id="u-1"), ONCE)

    assert list(refusal.value.violations) == [
        *("kind", "name", "display_name", "issuer", "external_id", "owner_id", "request_id")
    ]
    assert list(person.value.violations) == ["owner_id"]
    assert list(alone.value.violations) == ["external_id"]


def test_a_name_and_an_id_of_an_issuer_are_given_once(installation: Installation, admin: str) -> None:
    with installation.by(admin, WRITE):
        installation.principals.create(Draft(USER, "ada", "", "certificate", "ada.example"), ONCE)
        with pytest.raises(PrincipalExists) as name:
            installation.principals.create(Draft(USER, "ada"), ONCE)
        with pytest.raises(PrincipalExists) as external:
            installation.principals.create(Draft(USER, "eve", "", "certificate", "ada.example"), ONCE)
        with pytest.raises(PrincipalNotFound):
            installation.principals.create(Draft(ROBOT, "robot", owner_id=new_id()), ONCE)

    assert "name" in name.value.metadata
    assert external.value.metadata["name"] == "ada"


def test_the_same_request_many_times_at_once_makes_one_principal(installation: Installation, admin: str) -> None:
    def make(_: int) -> Principal:
        with installation.by(admin, WRITE):
            return installation.principals.create(Draft(USER, "ada"), REQUEST)

    with ThreadPoolExecutor(8) as pool:
        assert len({each.principal_id for each in pool.map(make, range(8))}) == 1


def test_who_may_not_write_principals_makes_and_changes_none(installation: Installation) -> None:
    ada = installation.principal("ada", "admin", Place("default"))
    _, text = installation.token(ada)

    with installation.by(text, WRITE):
        with pytest.raises(PermissionMissing):
            installation.principals.create(Draft(USER, " "), ONCE)
        with pytest.raises(PermissionMissing):
            installation.principals.update(ada.principal_id, "", lambda: {"display_name": "Me"})


def test_a_stranger_reads_who_an_id_is_and_no_more(installation: Installation) -> None:
    ada = installation.principal("ada")
    _, text = installation.token(installation.principal("eve", "reader", Place("default")))

    with installation.by(text):
        seen = installation.principals.get(ada.principal_id, "")
        for name in ("ada", "nobody"):
            with pytest.raises(PrincipalNotFound):
                installation.principals.get("", name)
        assert installation.principals.get("", "eve").is_whole
        with pytest.raises(PrincipalNotFound):
            installation.principals.get(new_id(), "")
        for wrong in (("", ""), (ada.principal_id, "ada"), ("no id", "")):
            with pytest.raises(FieldInvalid):
                installation.principals.get(*wrong)

    assert seen.principal == ada
    assert not seen.is_whole


@pytest.mark.parametrize("place", [INSTALLATION, Place("default"), Place("default", model_id="m-1")])
def test_who_may_add_members_somewhere_reads_all(installation: Installation, place: Place) -> None:
    installation.principal("ada")
    _, text = installation.token(installation.principal("eve", "admin", place))

    with installation.by(text):
        assert installation.principals.get("", "ada").is_whole
        assert [each.item.name for each in installation.principals.page(0, after=None, limit=9)] == ["ada", "eve"]


def test_a_list_has_oneself_and_what_one_owns(installation: Installation) -> None:
    eve = installation.principal("eve")
    installation.principal("ada")
    for name in ("robot-2", "robot-1", "robot-3"):
        installation.principal(name, owner_id=eve.principal_id)
    _, text = installation.token(eve)

    def names(kind: int = 0, limit: int = 9, after: str = "") -> list[str]:
        with installation.by(text):
            found = installation.principals.page(kind, after=(after,) if after else None, limit=limit)
        return [each.item.name for each in found]

    assert names() == ["eve", "robot-1", "robot-2", "robot-3"]
    assert names(ROBOT, limit=2) == ["robot-1", "robot-2"]
    assert names(ROBOT, after="robot-2") == ["robot-3"]
    with pytest.raises(FieldInvalid):
        names(3)


def test_a_list_is_of_those_whose_names_have_a_text(installation: Installation, admin: str) -> None:
    for name, shown in (("ada@lab", "Zoë Ó 50%_\\"), ("bob", "ADA"), ("carl", "")):
        installation.anybody.principals.create(Draft(USER, name, shown), ONCE)

    def names(text: str, kind: int = 0) -> list[str]:
        with installation.by(admin):
            found = installation.principals.page(kind, text, after=None, limit=9)
        return [each.item.name for each in found]

    assert names("aDa") == ["ada@lab", "bob"]
    assert names("ada", ROBOT) == []
    assert names("zoë ó") == []  # beyond A to Z the case counts, whatever the locale of the database
    assert names("zoë Ó") == names("50%_\\") == names("\\") == names("%") == names("_") == ["ada@lab"]
    assert names("a%b") == names("z_ë") == names("[z]") == names("*") == []
    with pytest.raises(FieldInvalid):
        names("x" * 251)


def test_an_update_changes_what_it_says_with_its_etag(installation: Installation, admin: str) -> None:
    ada = installation.principal("ada")
    robot = installation.principal("robot", robot=True)
    installation.clock.advance(1)

    with installation.by(admin, WRITE):
        changed = installation.principals.update(
            robot.principal_id, robot.etag, lambda: {"display_name": "R2", "owner_id": ada.principal_id}
        )
        with pytest.raises(EtagMismatch):
            installation.principals.update(robot.principal_id, robot.etag, lambda: {"display_name": "R3"})
        assert installation.principals.update(robot.principal_id, "", dict) == changed

    assert changed == installation.stored(robot.principal_id)
    assert (changed.display_name, changed.owner_id, changed.revision) == ("R2", ada.principal_id, 2)
    record = installation.records()[-1]
    assert json.loads(record.before) == {"display_name": "The robot", "owner_id": ""}
    assert json.loads(record.after) == {"display_name": "R2", "owner_id": ada.principal_id}


def test_an_owner_is_somebody_else_who_exists_and_of_a_service_account(installation: Installation, admin: str) -> None:
    ada, robot = installation.principal("ada"), installation.principal("robot", robot=True)
    update = installation.principals.update

    with installation.by(admin, WRITE):
        with pytest.raises(FieldInvalid):
            update(ada.principal_id, "", lambda: {"owner_id": robot.principal_id})
        with pytest.raises(FieldInvalid):
            update(robot.principal_id, "", lambda: {"owner_id": robot.principal_id})
        with pytest.raises(PrincipalNotFound):
            update(robot.principal_id, "", lambda: {"owner_id": new_id()})
        with pytest.raises(PrincipalNotFound):
            update(new_id(), "", dict)
        with pytest.raises(FieldInvalid):
            update("no id", "", dict)


def test_a15_who_writes_principals_gets_no_rights_by_a_service_account(installation: Installation) -> None:
    with installation.db.write() as tx:
        written.a_role(tx, "registrar", "principals.write", "tokens.create")
    eve = installation.principal("eve", "registrar")
    robot = installation.principal("robot", "admin", robot=True)
    weak = installation.principal("weak", robot=True)
    _, text = installation.token(eve)

    with installation.by(text, WRITE):
        with pytest.raises(GrantTooWide):
            installation.tokens.create(robot.principal_id, TokenDraft(), ONCE)
        with pytest.raises(GrantTooWide):
            installation.principals.update(robot.principal_id, "", lambda: {"owner_id": eve.principal_id})
        assert installation.tokens.create(weak.principal_id, TokenDraft(), ONCE)


def test_a15_who_writes_principals_owns_and_disables_none_that_reaches_more(installation: Installation) -> None:
    with installation.db.write() as tx:
        written.a_role(tx, "registrar", "principals.write")
    eve = installation.principal("eve", "registrar")
    ci = installation.principal("ci", robot=True)
    installation.principal("prod", "admin", owner_id=ci.principal_id)
    free = installation.principal("free", robot=True)
    boss = installation.principal("boss", "admin")
    _, text = installation.token(eve)
    update = installation.principals.update

    with installation.by(text, WRITE):
        with pytest.raises(GrantTooWide):
            update(ci.principal_id, "", lambda: {"owner_id": eve.principal_id})
        with pytest.raises(GrantTooWide):
            update(ci.principal_id, "", lambda: {"disabled": True})
        with pytest.raises(GrantTooWide):
            update(boss.principal_id, "", lambda: {"disabled": True})
        assert update(boss.principal_id, "", lambda: {"display_name": "Boss"})
        assert update(free.principal_id, "", lambda: {"disabled": True, "owner_id": eve.principal_id})
    with installation.db.write() as tx:
        written.disable(tx, ci.principal_id)
    with installation.by(text, WRITE), pytest.raises(GrantTooWide):
        update(ci.principal_id, "", lambda: {"disabled": False})


def test_a15_who_signs_in_by_an_issuer_has_no_owner(installation: Installation, admin: str) -> None:
    eve = installation.principal("eve")
    draft = Draft(ROBOT, "alice", issuer="https://idp.example", external_id="alice")

    with installation.by(admin, WRITE):
        with pytest.raises(FieldInvalid) as planted:
            installation.principals.create(replace(draft, owner_id=eve.principal_id), ONCE)
        alice = installation.principals.create(draft, ONCE)
        with pytest.raises(FieldInvalid) as taken:
            installation.principals.update(alice.principal_id, "", lambda: {"owner_id": eve.principal_id})

    assert list(planted.value.violations) == ["owner_id"]
    assert list(taken.value.violations) == ["principal.owner_id"]


def test_owners_are_in_no_circle_and_ten_in_a_row_at_most(installation: Installation, admin: str) -> None:
    row = [installation.principal("ada")]
    for number in range(DEEPEST - 1):
        row.append(installation.principal(f"robot-{number}", owner_id=row[-1].principal_id))
    pair = [installation.principal("alone", robot=True)]
    pair.append(installation.principal("its", owner_id=pair[0].principal_id))
    update = installation.principals.update

    with installation.by(admin, WRITE):
        with pytest.raises(FieldInvalid, match="is owned by"):
            update(row[1].principal_id, "", lambda: {"owner_id": row[-1].principal_id})
        with pytest.raises(LimitReached):
            installation.principals.create(Draft(ROBOT, "deeper", owner_id=row[-1].principal_id), ONCE)
        with pytest.raises(LimitReached):
            update(pair[0].principal_id, "", lambda: {"owner_id": row[-2].principal_id})
        assert update(pair[0].principal_id, "", lambda: {"owner_id": row[-3].principal_id})


def test_who_is_disabled_is_refused_until_enabled_again(installation: Installation, admin: str) -> None:
    ada = installation.principal("ada")
    _, text = installation.token(ada)

    with installation.by(admin, WRITE):
        installation.principals.update(ada.principal_id, "", lambda: {"disabled": True})
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(text)
    with pytest.raises(CredentialInvalid):
        installation.identities.grants(ada.principal_id, frozenset())
    with installation.by(admin, WRITE):
        installation.principals.update(ada.principal_id, "", lambda: {"disabled": False})

    assert installation.identities.identity(text).identity.name == "ada"


def test_the_last_administrator_is_not_disabled(installation: Installation, admin: str) -> None:
    with installation.by(admin, WRITE):
        me = installation.principals.get("", "admin").principal
        with pytest.raises(LastAdministrator):
            installation.principals.update(me.principal_id, "", lambda: {"disabled": True})

    assert installation.stored(me.principal_id) == me


def test_of_two_administrators_who_disable_each_other_at_once_one_is_left(installation: Installation) -> None:
    both = [installation.principal(name, "admin") for name in ("ada", "eve")]
    texts = [installation.token(each)[1] for each in both]
    at_once = threading.Barrier(2)

    def disable(number: int) -> bool:
        with installation.by(texts[number], WRITE):
            at_once.wait(10)
            try:
                installation.principals.update(both[1 - number].principal_id, "", lambda: {"disabled": True})
            except (LastAdministrator, CredentialInvalid):  # the other one was first
                return False
        return True

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(disable, range(2)))

    assert sorted(installation.stored(each.principal_id).is_disabled for each in both) == [False, True]


def test_who_calls_is_told_what_it_may_do_and_where(installation: Installation) -> None:
    ada = installation.principal("ada", "writer", Place("default"))
    with installation.db.write() as tx:
        written.a_group(tx, "staff", people=[ada.principal_id])
        written.bind(tx, "reader", "staff", Place("default"), is_group=True)
        written.bind(tx, "admin", "staff", Place("risk", model_id="m-1"), is_group=True)
    token, text = installation.token(ada)

    with installation.by(text):
        everywhere, here = installation.principals.myself(""), installation.principals.myself("risk")
        with pytest.raises(FieldInvalid):
            installation.principals.myself("Not a name")

    assert everywhere.principal == ada
    assert everywhere.token == token
    assert everywhere.groups == ["staff"]
    assert everywhere.grants == [
        Granted(Place("default"), ["reader", "writer"], sorted(ROLES["writer"])),
        Granted(Place("risk", model_id="m-1"), ["admin"], sorted(ROLES["admin"] - INSTALLATION_ONLY)),
    ]
    assert [each.place.workspace for each in here.grants] == ["risk"]


def test_the_caps_of_a_token_are_taken_off(installation: Installation) -> None:
    ada = installation.principal("ada", "admin")
    _, text = installation.token(ada, TokenDraft(role_cap="reader", workspaces=["risk", "lab"]))

    with installation.by(text):
        everywhere, here = installation.principals.myself(""), installation.principals.myself("lab")

    readable = sorted(ROLES["reader"])
    assert everywhere.grants == [
        Granted(Place("lab"), ["admin"], readable),
        Granted(Place("risk"), ["admin"], readable),
    ]
    assert here.grants == [Granted(Place("lab"), ["admin"], readable)]


def test_a_server_that_knows_nobody_says_so(installation: Installation) -> None:
    with caller.using(Caller("ada", TRACE)):
        assert installation.principals.myself("") == Self(None)
