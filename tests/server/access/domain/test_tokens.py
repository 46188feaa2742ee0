"""What holds for API tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelry_server.access.domain.token_texts import digest_of
from modelry_server.access.domain.tokens import GRACE_MS, MOST, Draft
from modelry_server.access.entities import Token
from modelry_server.access.errors import (
    GrantTooWide,
    PrincipalDisabled,
    PrincipalNotFound,
    RoleNotFound,
    TokenNotFound,
)
from modelry_server.kernel import caller
from modelry_server.kernel.access import Place
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import (
    CredentialInvalid,
    FieldInvalid,
    LimitReached,
    PermissionMissing,
    RequestIdReused,
)
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import Request
from tests.server.access import written
from tests.server.access.conftest import ONCE, TRACE, Installation

DAY = 86_400_000
REQUEST = Request("ada", "modelry.api.access.v1.CreateTokenRequest", "request-1", "digest-1")


def accepts(installation: Installation, text: str) -> bool:
    try:
        installation.identities.identity(text)
    except CredentialInvalid:
        return False
    return True


def test_o03_a_token_says_who_calls_and_its_text_is_stored_nowhere(installation: Installation) -> None:
    ada = installation.principal("ada", "writer", Place("default"))
    token, text = installation.token(ada, Draft("for a laptop"))

    known = installation.identities.identity(text)

    assert (known.identity.principal_id, known.identity.name) == (ada.principal_id, "ada")
    assert (known.identity.credential_id, known.identity.permission_cap) == (token.token_id, None)
    assert "runs.write" in known.grants.workspaces["default"]
    assert (token.hint, token.expire_time) == (text[-4:], installation.clock.now() + 90 * DAY)
    assert known.identity.expire_time == token.expire_time / 1000
    told = repr([token, *installation.records()])
    assert text not in told
    assert digest_of(text) not in told


def test_a_token_ends(installation: Installation) -> None:
    _, text = installation.token(installation.principal("ada"))

    installation.clock.advance(90 * DAY - 1)
    assert accepts(installation, text)
    installation.clock.advance(1)

    assert not accepts(installation, text)


def test_a_disabled_owner_a_revoked_and_an_unknown_token_have_one_answer(installation: Installation) -> None:
    ada, eve = installation.principal("ada"), installation.principal("eve")
    token, revoked = installation.token(ada)
    _, of_disabled = installation.token(eve)
    with installation.by(revoked):
        installation.tokens.revoke("")
    with installation.db.write() as tx:
        written.disable(tx, eve.principal_id)
    unknown = "mdy_t_" + "0" * 36

    answers = set()
    for text in (revoked, of_disabled, unknown, "x.y.z", "", token.token_id):
        with pytest.raises(CredentialInvalid) as refusal:
            installation.identities.identity(text)
        answers.add((refusal.value.message, tuple(refusal.value.metadata.items())))
    assert len(answers) == 1


def test_all_mistakes_are_told_at_once(installation: Installation) -> None:
    ada = installation.principal("ada")
    now = installation.clock.now()

    with pytest.raises(FieldInvalid) as refusal:
        installation.token(ada, Draft("x" * 251, "y" * 64, ["Not a name"], now))

    assert list(refusal.value.violations) == ["description", "role_cap", "workspaces[0]", "expire_time"]
    for end in (now, now - 1, now + 365 * DAY + 1):
        with pytest.raises(FieldInvalid):
            installation.token(ada, Draft(expire_time=end))
    assert installation.token(ada, Draft(expire_time=now + 365 * DAY))[0].expire_time == now + 365 * DAY
    with pytest.raises(FieldInvalid):
        installation.token(ada, Draft(workspaces=[f"w-{n}" for n in range(101)]))
    with pytest.raises(RoleNotFound):
        installation.token(ada, Draft(role_cap="nothing"))


def test_a_cap_is_part_of_the_identity(installation: Installation) -> None:
    ada = installation.principal("ada", "admin")
    with installation.db.write() as tx:
        written.a_role(tx, "logger", "runs.write")

    _, of_builtin = installation.token(ada, Draft(role_cap="reader", workspaces=["risk", "default", "risk"]))
    _, of_custom = installation.token(ada, Draft(role_cap="logger"))

    builtin = installation.identities.identity(of_builtin).identity
    assert builtin.permission_cap == frozenset({"runs.read", "files.read", "models.read", "audit.read"})
    assert builtin.workspace_cap == frozenset({"risk", "default"})
    assert installation.identities.identity(of_custom).identity.permission_cap == frozenset({"runs.write"})


def test_a15_what_a_capped_token_makes_keeps_within_its_caps_and_its_life(installation: Installation) -> None:
    now = installation.clock.now()
    ada = installation.principal("ada", "admin")
    capped = Draft(role_cap="writer", workspaces=["default", "risk"], expire_time=now + DAY)
    _, text = installation.token(ada, capped)

    with installation.by(text):
        refused = {}
        for draft in (
            Draft(workspaces=["risk"]),
            Draft(role_cap="approver", workspaces=["risk"]),
            Draft(role_cap="reader"),
            Draft(role_cap="reader", workspaces=["risk", "other"]),
            Draft(role_cap="reader", workspaces=["risk"], expire_time=now + DAY + 1),
        ):
            with pytest.raises(GrantTooWide) as refusal:
                installation.tokens.create("", draft, ONCE)
            refused[draft.role_cap, tuple(draft.workspaces)] = refusal.value.metadata
        made, _ = installation.tokens.create("", Draft(role_cap="reader", workspaces=["risk"]), ONCE)

    assert refused["approver", ("risk",)]["permissions"] == "versions.archive, versions.promote"
    assert refused["reader", ("risk", "other")]["workspaces"] == "other"
    assert made.expire_time == now + DAY


def test_a_request_that_repeats_an_earlier_one_makes_no_second_token(installation: Installation) -> None:
    ada = installation.principal("ada")
    _, text = installation.token(ada)

    with installation.by(text):
        made, secret = installation.tokens.create("", Draft("once"), REQUEST)
        again, nothing = installation.tokens.create("", Draft("once"), REQUEST)
        with pytest.raises(RequestIdReused):
            installation.tokens.create("", Draft("twice"), replace(REQUEST, digest="digest-2"))

    assert made == again
    assert secret
    assert not nothing


def test_a_principal_has_at_most_so_many_tokens_in_force(installation: Installation) -> None:
    ada = installation.principal("ada")
    tokens = [installation.token(ada) for _ in range(MOST)]

    with pytest.raises(LimitReached) as refusal:
        installation.token(ada)
    assert refusal.value.metadata["most"] == str(MOST)
    with installation.by(tokens[0][1]):
        installation.tokens.revoke(tokens[1][0].token_id)
    assert installation.token(ada)


def test_of_many_who_make_the_last_token_at_once_one_makes_it(installation: Installation) -> None:
    ada = installation.principal("ada")
    for _ in range(MOST - 1):
        installation.token(ada)

    def make(_: int) -> bool:
        try:
            installation.token(ada)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(8))) == 1


def test_a_stranger_finds_no_token_and_no_principal_and_can_change_none(installation: Installation) -> None:
    ada, eve = installation.principal("ada"), installation.principal("eve", "writer", Place("default"))
    token, text = installation.token(ada)
    _, strange = installation.token(eve)
    tokens = installation.tokens
    on_tokens: list[Callable[[str], object]] = [tokens.get, lambda key: tokens.rotate(key, None), tokens.revoke]
    on_principals: list[Callable[[str], object]] = [
        lambda key: tokens.create(key, Draft(), ONCE),
        lambda key: tokens.page(key, with_ended=True, after=None, limit=9),
        tokens.revoke_all,
    ]

    with installation.by(strange):
        for on_token in on_tokens:
            for key in (token.token_id, new_id()):
                with pytest.raises(TokenNotFound):
                    on_token(key)
        for on_principal in on_principals:
            for key in (ada.principal_id, new_id()):
                with pytest.raises(PrincipalNotFound):
                    on_principal(key)

    assert accepts(installation, text)


def test_the_owner_of_a_service_account_makes_rotates_and_revokes_its_tokens(installation: Installation) -> None:
    ada = installation.principal("ada")
    robot = installation.principal("robot", owner_id=ada.principal_id)
    _, text = installation.token(ada)

    with installation.by(text):
        token, secret = installation.tokens.create(robot.principal_id, Draft("job"), ONCE)
        rotated, fresh = installation.tokens.rotate(token.token_id, None)
        revoked = installation.tokens.revoke(token.token_id)
        found = installation.tokens.page(robot.principal_id, with_ended=True, after=None, limit=9)

    assert rotated.principal_id == robot.principal_id
    assert {each.creator_id for each in (token, rotated, revoked)} == {ada.principal_id}
    assert [each.item for each in found] == [replace(revoked)]
    assert not accepts(installation, secret)
    assert not accepts(installation, fresh)


def test_nobody_gets_the_text_of_a_token_of_another_person(installation: Installation) -> None:
    ada, eve = installation.principal("ada", "admin"), installation.principal("eve")
    token, _ = installation.token(eve)
    _, text = installation.token(ada)

    with installation.by(text):
        with pytest.raises(FieldInvalid):
            installation.tokens.create(eve.principal_id, Draft(), ONCE)
        with pytest.raises(FieldInvalid):
            installation.tokens.rotate(token.token_id, None)
        assert installation.tokens.get(token.token_id) == token
        assert installation.tokens.revoke_all(eve.principal_id) == 1


def test_a_person_who_can_not_sign_in_gets_the_first_token_from_an_administrator(installation: Installation) -> None:
    ada, eve = installation.principal("ada", "admin"), installation.principal("eve")
    _, text = installation.token(ada)

    with installation.by(text):
        _, first = installation.tokens.create(eve.principal_id, Draft(), ONCE)
    with installation.by(first):
        _, own = installation.tokens.rotate("", None)
    with installation.by(text), pytest.raises(FieldInvalid, match="without help"):
        installation.tokens.create(eve.principal_id, Draft(), ONCE)

    assert accepts(installation, own)


def test_who_may_read_all_tokens_may_not_revoke_them_by_that(installation: Installation) -> None:
    ada, eve = installation.principal("ada"), installation.principal("eve")
    with installation.db.write() as tx:
        written.bind(tx, written.a_role(tx, "auditor", "tokens.read"), eve.principal_id)
    token, _ = installation.token(ada)
    _, text = installation.token(eve)

    with installation.by(text):
        assert installation.tokens.get(token.token_id) == token
        for change in (installation.tokens.revoke, lambda key: installation.tokens.rotate(key, None)):
            with pytest.raises(PermissionMissing):
                change(token.token_id)
        with pytest.raises(PermissionMissing):
            installation.tokens.revoke_all(ada.principal_id)


def test_there_are_no_tokens_for_who_is_disabled(installation: Installation) -> None:
    ada = installation.principal("ada")
    robot = installation.principal("robot", owner_id=ada.principal_id)
    _, text = installation.token(ada)
    with installation.db.write() as tx:
        written.disable(tx, robot.principal_id)

    with installation.by(text), pytest.raises(PrincipalDisabled):
        installation.tokens.create(robot.principal_id, Draft(), ONCE)


def test_the_text_before_a_rotation_is_accepted_for_ten_minutes(installation: Installation) -> None:
    clock = installation.clock
    token, old = installation.token(installation.principal("ada"), Draft(expire_time=clock.now() + DAY))

    with installation.by(old):
        rotated, new = installation.tokens.rotate("", None)

    assert (rotated.token_id, rotated.expire_time) == (token.token_id, clock.now() + DAY - 1)
    assert rotated.hint == new[-4:]
    assert installation.identities.identity(old).identity.expire_time == (clock.now() + GRACE_MS) / 1000
    clock.advance(GRACE_MS)
    assert not accepts(installation, old)
    assert accepts(installation, new)


def test_the_text_before_a_rotation_does_not_outlive_its_own_end(installation: Installation) -> None:
    clock = installation.clock
    _, old = installation.token(installation.principal("ada"), Draft(expire_time=clock.now() + 1000))

    with installation.by(old):
        installation.tokens.rotate("", None)
    clock.advance(1000)

    assert not accepts(installation, old)


def test_a_capped_token_rotates_itself_and_none_that_may_do_more(installation: Installation) -> None:
    ada = installation.principal("ada", "admin")
    whole, _ = installation.token(ada)
    _, capped = installation.token(ada, Draft(role_cap="reader"))

    with installation.by(capped):
        with pytest.raises(GrantTooWide):
            installation.tokens.rotate(whole.token_id, None)
        rotated, _ = installation.tokens.rotate("", None)

    assert rotated.role_cap == "reader"


def test_what_has_ended_is_not_rotated(installation: Installation) -> None:
    clock = installation.clock
    ada = installation.principal("ada")
    _, text = installation.token(ada)
    ended, _ = installation.token(ada, Draft(expire_time=clock.now() + 1))
    revoked, _ = installation.token(ada)
    clock.advance(1)

    with installation.by(text):
        installation.tokens.revoke(revoked.token_id)
        for token in (ended, revoked):
            with pytest.raises(TokenNotFound) as refusal:
                installation.tokens.rotate(token.token_id, None)
            assert "create another one" in refusal.value.message


def test_of_two_who_rotate_at_once_one_has_a_new_text(installation: Installation) -> None:
    _, old = installation.token(installation.principal("ada"))
    both = threading.Barrier(2)

    def rotate(_: int) -> str:
        with installation.by(old):
            both.wait(10)
            try:
                return installation.tokens.rotate("", None)[1]
            except GrantTooWide:
                return ""

    with ThreadPoolExecutor(2) as pool:
        refused, text = sorted(pool.map(rotate, range(2)))

    assert not refused
    assert [accepts(installation, each) for each in (text, old)] == [True, True]
    installation.clock.advance(GRACE_MS)
    assert [accepts(installation, each) for each in (text, old)] == [True, False]


def test_revoking_twice_is_written_down_once(installation: Installation) -> None:
    token, text = installation.token(installation.principal("ada"))

    with installation.by(text):
        first = installation.tokens.revoke("")
        installation.clock.advance(5)
        again = installation.tokens.revoke(token.token_id)

    assert first == again
    assert [each.members()["action"] for each in installation.records()].count("token.revoked") == 1


def test_a_token_that_is_revoked_while_it_is_used_is_refused_from_then_on(installation: Installation) -> None:
    token, text = installation.token(installation.principal("ada"))
    begun, over = threading.Event(), threading.Event()

    def use() -> list[tuple[bool, bool]]:
        """For each use: whether the token was revoked before it began, and whether it was accepted."""
        seen: list[tuple[bool, bool]] = []
        while not (seen and seen[-1][0]):
            is_over = over.is_set()
            seen.append((is_over, accepts(installation, text)))
            installation.tokens.note_uses([token.token_id])
            begun.set()
        return seen

    with ThreadPoolExecutor(4) as pool:
        users = [pool.submit(use) for _ in range(4)]
        assert begun.wait(10)
        with installation.by(text):
            installation.tokens.revoke("")
        over.set()
        seen = [each for user in users for each in user.result(30)]

    assert all(not was_accepted for is_over, was_accepted in seen if is_over)
    assert any(was_accepted for _, was_accepted in seen)


def test_revoking_all_refuses_also_what_an_issuer_has_made(installation: Installation) -> None:
    ada = installation.principal("ada", "admin")
    _, text = installation.token(ada)
    installation.token(ada)
    ended = installation.token(ada, Draft(expire_time=installation.clock.now() + 1))
    installation.clock.advance(1)

    with installation.by(text):
        assert installation.tokens.revoke_all("") == 2
        assert installation.tokens.revoke_all("") == 0
        listed = installation.tokens.page("", with_ended=True, after=None, limit=9)
    principal = installation.stored(ada.principal_id)

    assert principal.not_before == installation.clock.now() + 1
    assert all(each.item.revoke_time for each in listed)
    assert ended[0].token_id in [each.item.token_id for each in listed]
    assert not accepts(installation, text)


def test_tokens_are_listed_the_newest_first_page_by_page(installation: Installation) -> None:
    ada = installation.principal("ada")
    made: list[Token] = []
    for _ in range(5):
        made.append(installation.token(ada)[0])
    _, text = installation.token(ada, Draft(expire_time=installation.clock.now() + DAY))
    gone = made.pop(2)

    with installation.by(text):
        installation.tokens.revoke(gone.token_id)
        first = installation.tokens.page("", with_ended=False, after=None, limit=3)
        second = installation.tokens.page("", with_ended=False, after=first[-1].key, limit=3)

    ids = [each.item.token_id for each in (*first, *second)][1:]
    assert ids == [token.token_id for token in reversed(made)]


def test_a_use_is_noted_and_never_set_back(installation: Installation) -> None:
    clock = installation.clock
    token, text = installation.token(installation.principal("ada"))
    later = clock.now() + 60_000

    clock.advance(60_000)
    installation.tokens.note_uses([token.token_id, "a digest", new_id()])
    clock.advance(-30_000)
    installation.tokens.note_uses([token.token_id])
    installation.tokens.note_uses([])

    with installation.by(text):
        assert installation.tokens.get(token.token_id).last_use_time == later


def test_a_use_that_is_told_late_is_not_after_the_revocation(installation: Installation) -> None:
    clock = installation.clock
    ada = installation.principal("ada")
    token, text = installation.token(ada)
    _, other = installation.token(ada)
    with installation.by(text):
        installation.tokens.revoke(token.token_id)

    clock.advance(5_000)
    installation.tokens.note_uses([token.token_id])

    with installation.by(other):
        told = installation.tokens.get(token.token_id)
    assert told.last_use_time == told.revoke_time == clock.now() - 5_000


def test_many_who_note_the_same_uses_do_not_wait_for_each_other_in_a_circle(installation: Installation) -> None:
    ada = installation.principal("ada")
    ids = [installation.token(ada)[0].token_id for _ in range(20)]

    def note(number: int) -> None:
        installation.tokens.note_uses(ids if number % 2 else ids[::-1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(40)))


def test_without_authentication_a_request_says_whose_tokens(installation: Installation) -> None:
    with caller.using(Caller("ada", TRACE)):
        with pytest.raises(FieldInvalid) as nobody:
            installation.tokens.create("", Draft(), ONCE)
        with pytest.raises(FieldInvalid) as nothing:
            installation.tokens.revoke("")
        with pytest.raises(FieldInvalid):
            installation.tokens.get("no id")

    assert list(nobody.value.violations) == ["principal_id"]
    assert list(nothing.value.violations) == ["token_id"]
