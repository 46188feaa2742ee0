"""What holds for the record of all changes of access."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modelry_server.access.domain.audit import TYPES
from modelry_server.access.domain.principals import Draft
from modelry_server.access.entities import PrincipalKind
from modelry_server.kernel.access import Place
from modelry_server.kernel.audit import first_fault
from modelry_server.kernel.errors import FieldInvalid, PermissionMissing
from modelry_server.permissions import Permission
from tests.server.access.conftest import ONCE, Installation


@pytest.fixture
def auditor(installation: Installation) -> str:
    return installation.token(installation.principal("auditor", "admin"))[1]


def test_the_changes_of_all_nouns_are_one_chain(installation: Installation, auditor: str) -> None:
    ada = installation.principal("ada")
    _, text = installation.token(ada)
    with installation.by(text):
        installation.tokens.rotate("", None)
    with installation.by(auditor, Permission.WORKSPACES_CREATE):
        installation.workspaces.create("risk", "", ONCE)
    with installation.by(text):
        installation.tokens.revoke_all("")

    records = installation.records()

    assert first_fault("access", records) is None
    assert {record.members()["resource_type"] for record in records} <= set(TYPES)
    of_risk = next(record for record in records if record.members()["action"] == "workspace.created")
    assert of_risk.members()["actor"] == installation.identities.identity(auditor).identity.principal_id
    assert of_risk.members()["credential_kind"] == "API_TOKEN"


def test_a_page_has_the_newest_first_and_what_was_asked_for(installation: Installation, auditor: str) -> None:
    ada = installation.principal("ada")
    for _ in range(3):
        installation.token(ada)

    with installation.by(auditor, Permission.ACCESS_AUDIT):
        every = list(installation.audit.page("", "", after=None, limit=100))
        first = list(installation.audit.page("token", "", after=None, limit=2))
        second = list(installation.audit.page("token", "", after=first[-1].key, limit=9))
        of_ada = list(installation.audit.page("principal", ada.principal_id, after=None, limit=9))

    assert [each.item for each in every] == installation.records()[::-1]
    kinds = [each.item.members()["resource_type"] for each in (*first, *second)]
    assert kinds == ["token"] * 4
    assert [each.item.members()["resource_id"] for each in of_ada] == [ada.principal_id]


def test_names_of_people_stand_only_in_what_can_be_erased(installation: Installation) -> None:
    draft = Draft(PrincipalKind.USER, "ada@firm.example", "Ada L.", "https://idp.example", "sub-of-ada")
    ada = installation.anybody.principals.create(draft, ONCE)
    boss = installation.token(installation.principal("boss@firm.example", "admin"))[1]
    with installation.by(boss, Permission.PRINCIPALS_WRITE):
        installation.principals.update(ada.principal_id, "", lambda: {"display_name": "Ada", "disabled": True})
    with installation.by(boss, Permission.TOKENS_REVOKE):
        installation.tokens.revoke_all(ada.principal_id)

    records = installation.records()

    of_ada = [each for each in records if each.members()["resource_id"] == ada.principal_id]
    assert [each.members()["action"] for each in of_ada] == [
        "principal.created",
        "principal.updated",
        "principal.tokens_revoked",
    ]
    assert json.loads(of_ada[0].after) == {
        "kind": "user",
        "name": "ada@firm.example",
        "display_name": "Ada L.",
        "issuer": "https://idp.example",
        "external_id": "sub-of-ada",
    }
    bodies = "".join(each.body for each in records)
    assert not [each for each in ("@", "Ada", "boss", "sub-of-ada", "idp") if each in bodies]
    erased = [replace(each, before="", before_salt="", after="", after_salt="") for each in records]
    assert first_fault("access", erased) is None


def test_what_is_no_kind_of_thing_is_refused(installation: Installation, auditor: str) -> None:
    with installation.by(auditor, Permission.ACCESS_AUDIT):
        for resource_type, resource_id in (("run", ""), ("", "ada"), ("principal", "x" * 251)):
            with pytest.raises(FieldInvalid):
                installation.audit.page(resource_type, resource_id, after=None, limit=9)


def test_only_who_may_audit_the_installation_reads_it(installation: Installation) -> None:
    _, text = installation.token(installation.principal("eve", "admin", Place("default")))

    with installation.by(text, Permission.ACCESS_AUDIT), pytest.raises(PermissionMissing):
        installation.audit.page("run", "", after=None, limit=9)
