"""Who may have texts of the tokens of others, and who may end them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from modelry_server.access.domain.principals import Draft as PrincipalDraft
from modelry_server.access.domain.tokens import GRACE_MS, INVITATION_MS, Draft
from modelry_server.access.entities import PrincipalKind
from modelry_server.access.errors import GrantTooWide
from modelry_server.access.store import tables
from modelry_server.kernel import caller
from modelry_server.kernel.errors import CredentialInvalid, FieldInvalid, PermissionMissing
from tests.server.access import written
from tests.server.access.conftest import LIFETIMES, ONCE, TRACE, Installation

DAY = 86_400_000


def test_a15_who_makes_tokens_of_another_may_do_all_that_it_and_what_it_owns_may(installation: Installation) -> None:
    with installation.db.write() as tx:
        written.a_role(tx, "registrar", "tokens.create")
    _, text = installation.token(installation.principal("eve", "registrar"))
    grace = installation.principal("grace")
    middle = installation.principal("middle", owner_id=grace.principal_id)
    deployer = installation.principal("deployer", owner_id=middle.principal_id)
    with installation.db.write() as tx:
        written.a_group(tx, "inner", people=[deployer.principal_id])
        written.a_group(tx, "outer", groups=["inner"])
        written.bind(tx, "admin", "outer", is_group=True)
    old, _ = installation.token(middle)

    with installation.by(text):
        for each in (grace, middle, deployer):
            with pytest.raises(GrantTooWide):
                installation.tokens.create(each.principal_id, Draft(), ONCE)
        with pytest.raises(GrantTooWide):
            installation.tokens.rotate(old.token_id, None)


def test_owners_in_a_circle_are_looked_at_once(installation: Installation) -> None:
    one, two = installation.principal("one", robot=True), installation.principal("two", "admin", robot=True)
    t = tables.principals
    with installation.db.write() as tx:
        for each, owner in ((one, two), (two, one)):
            change = sa.update(t).where(t.c.principal_id == each.principal_id)
            tx.execute(change.values(owner_id=owner.principal_id))
        written.a_role(tx, "registrar", "tokens.create")
    _, text = installation.token(installation.principal("eve", "registrar"))
    _, admin = installation.token(installation.principal("ada", "admin"))

    with installation.by(text), pytest.raises(GrantTooWide):
        installation.tokens.create(one.principal_id, Draft(), ONCE)
    with installation.by(admin):
        assert installation.tokens.create(one.principal_id, Draft(), ONCE)


@pytest.mark.parametrize("issuer", ["https://idp.example", "certificate"])
def test_a15_nobody_makes_tokens_of_who_signs_in_by_an_issuer(installation: Installation, issuer: str) -> None:
    draft = PrincipalDraft(PrincipalKind.SERVICE_ACCOUNT, "alice", issuer=issuer, external_id="alice")
    alice = installation.anybody.principals.create(draft, ONCE)
    token, _ = installation.token(alice)
    _, text = installation.token(installation.principal("ada", "admin"))

    with installation.by(text):
        with pytest.raises(FieldInvalid, match="without help"):
            installation.tokens.create(alice.principal_id, Draft(), ONCE)
        with pytest.raises(FieldInvalid, match="without help"):
            installation.tokens.rotate(token.token_id, None)
        assert installation.tokens.revoke(token.token_id)


def test_who_makes_tokens_of_others_may_not_revoke_them_by_that(installation: Installation) -> None:
    ada, eve = installation.principal("ada", "admin"), installation.principal("eve")
    with installation.db.write() as tx:
        written.bind(tx, written.a_role(tx, "registrar", "tokens.create"), eve.principal_id)
    token, _ = installation.token(ada)
    _, text = installation.token(eve)

    with installation.by(text):
        with pytest.raises(PermissionMissing, match=r"tokens\.revoke"):
            installation.tokens.revoke(token.token_id)
        with pytest.raises(PermissionMissing, match=r"tokens\.revoke"):
            installation.tokens.revoke_all(ada.principal_id)


def test_a15_a_capped_token_revokes_itself_and_none_that_may_do_more(installation: Installation) -> None:
    ada = installation.principal("ada", "admin")
    whole, other = installation.token(ada)
    for draft in (Draft(role_cap="reader"), Draft(role_cap="admin"), Draft(workspaces=["default"])):
        _, capped = installation.token(ada, draft)
        with installation.by(capped):
            with pytest.raises(GrantTooWide, match="RevokeToken"):
                installation.tokens.revoke_all("")
            if draft.role_cap != "admin":
                with pytest.raises(GrantTooWide):
                    installation.tokens.revoke(whole.token_id)
            assert installation.tokens.revoke("").revoke_time

    assert installation.identities.identity(other)


def test_a15_the_first_token_of_a_person_is_an_invitation_which_the_person_rotates(installation: Installation) -> None:
    now = installation.clock.now()
    eve, bob = installation.principal("eve"), installation.principal("bob")
    _, text = installation.token(installation.principal("ada", "admin"))

    with installation.by(text):
        with pytest.raises(FieldInvalid, match=r"within 7 days from now .* invitation"):
            installation.tokens.create(eve.principal_id, Draft(expire_time=now + INVITATION_MS + 1), ONCE)
        usual, first = installation.tokens.create(eve.principal_id, Draft(), ONCE)
        short, _ = installation.tokens.create(bob.principal_id, Draft(expire_time=now + DAY), ONCE)
    with installation.by(first):
        with pytest.raises(FieldInvalid, match="made for"):
            installation.tokens.rotate("", now + LIFETIMES.usual_ms + 1)
        rotated, own = installation.tokens.rotate("", None)

    assert (usual.expire_time, short.expire_time) == (now + INVITATION_MS, now + DAY)
    assert (usual.is_invitation, short.is_invitation) == (True, True)
    assert (rotated.token_id, rotated.is_invitation) == (usual.token_id, False)
    assert rotated.expire_time == now + LIFETIMES.usual_ms
    assert installation.identities.identity(own).identity.permission_cap is None
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(first)
    assert [each.after for each in installation.records()][-1] == (
        f'{{"expire_time":{rotated.expire_time},"hint":"{own[-4:]}","invitation":false}}'
    )


def test_a15_an_invitation_makes_no_token_and_is_exchanged_once(installation: Installation) -> None:
    eve = installation.principal("eve", "admin")
    _, text = installation.token(installation.principal("ada", "admin"))
    with installation.by(text):
        invitation, first = installation.tokens.create(eve.principal_id, Draft(), ONCE)
    known = installation.by(first)

    with known:
        with pytest.raises(GrantTooWide):
            installation.tokens.create("", Draft(), ONCE)
        assert not installation.principals.myself("").grants
    with installation.by(text), pytest.raises(FieldInvalid, match="only its person exchanges"):
        installation.tokens.rotate(invitation.token_id, None)
    with known:
        installation.tokens.rotate("", None)
        with pytest.raises(GrantTooWide, match="was rotated"):  # a process still knew the text as it was
            installation.tokens.rotate("", None)


def test_another_invitation_replaces_one_that_was_not_exchanged(installation: Installation) -> None:
    fay = installation.principal("fay")
    _, text = installation.token(installation.principal("ada", "admin"))

    with installation.by(text):
        lost, lost_text = installation.tokens.create(fay.principal_id, Draft(), ONCE)
        second, second_text = installation.tokens.create(fay.principal_id, Draft(), ONCE)
        assert installation.tokens.get(lost.token_id).revoke_time
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(lost_text)
    with installation.by(second_text):
        assert installation.tokens.rotate("", None)[0].token_id == second.token_id
    with installation.by(text):
        with pytest.raises(FieldInvalid, match="if it is lost, revoke all tokens of this person, and create another"):
            installation.tokens.create(fay.principal_id, Draft(), ONCE)
        assert installation.tokens.revoke_all(fay.principal_id) == 1
        assert installation.tokens.create(fay.principal_id, Draft(), ONCE)[0].is_invitation


def test_a15_a_token_gives_itself_no_more_than_the_time_that_it_was_made_for(installation: Installation) -> None:
    clock, ada = installation.clock, installation.principal("ada")
    made = clock.now()
    token, text = installation.token(ada, Draft(expire_time=made + DAY))
    longer, _ = installation.token(ada, Draft(expire_time=made + 300 * DAY))
    clock.advance(1000)

    with installation.by(text):
        other, of_other = installation.tokens.rotate(longer.token_id, None)
        with pytest.raises(FieldInvalid, match="made for"):
            installation.tokens.rotate("", clock.now() + DAY + 1)
        rotated, fresh = installation.tokens.rotate("", clock.now() + DAY)
    with installation.by(of_other), pytest.raises(FieldInvalid, match="made for"):
        installation.tokens.rotate("", clock.now() + DAY)
    with installation.by(fresh), pytest.raises(GrantTooWide):
        installation.tokens.create("", Draft(expire_time=clock.now() + DAY + 1), ONCE)
    login = caller.Identity(ada.principal_id, "ada", caller.Credential.OIDC_TOKEN, "login")
    with caller.using(caller.Caller("ada", TRACE, identity=login)):
        by_login, _ = installation.tokens.rotate(token.token_id, clock.now() + 365 * DAY)

    assert (rotated.expire_time, other.expire_time) == (made + DAY + 1000, made + DAY)
    assert by_login.expire_time == clock.now() + 365 * DAY


def test_a15_the_text_before_a_rotation_makes_and_rotates_no_tokens(installation: Installation) -> None:
    ada = installation.principal("ada")
    robot = installation.principal("robot", owner_id=ada.principal_id)
    _, old = installation.token(ada)
    mine, _ = installation.token(ada)
    at_once = installation.by(old)  # as it was known before the rotation

    with installation.by(old):
        _, new = installation.tokens.rotate("", None)
    for block in (installation.by(old), at_once):
        with block:
            for token_id in ("", mine.token_id):
                with pytest.raises(GrantTooWide, match="use the new one"):
                    installation.tokens.rotate(token_id, None)
            for principal_id in ("", robot.principal_id):
                with pytest.raises(GrantTooWide, match="use the new one"):
                    installation.tokens.create(principal_id, Draft(), ONCE)
    with installation.by(new):
        soon = installation.clock.now() + GRACE_MS // 2
        assert installation.tokens.rotate("", soon)
    with installation.by(new), pytest.raises(GrantTooWide):
        installation.tokens.rotate("", None)
