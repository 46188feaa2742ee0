"""Whose a credential is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from joserfc.jwk import RSAKey

from modelry_server.access.domain import journal, principals
from modelry_server.access.domain.identities import Identities
from modelry_server.access.domain.oidc.issuers import Issuer
from modelry_server.access.domain.oidc.verifying import Oidc
from modelry_server.access.domain.principals import Draft
from modelry_server.access.domain.token_texts import TextKind, new_text
from modelry_server.access.domain.tokens import Draft as TokenDraft
from modelry_server.access.entities import PrincipalKind
from modelry_server.access.errors import GrantTooWide
from modelry_server.access.store import principals as store
from modelry_server.access.store import roles
from modelry_server.kernel import caller
from modelry_server.kernel.access import Place
from modelry_server.kernel.caller import Caller, Credential
from modelry_server.kernel.errors import CredentialInvalid
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import Permission
from tests.parts import hostile_issuer
from tests.parts.clock import HeldClock
from tests.parts.hostile_issuer import AUDIENCE, HostileIssuer, signed
from tests.server.access import written
from tests.server.access.conftest import ONCE, TRACE, Installation

KEY = RSAKey.generate_key(2048, {"kid": "known"})
NOW_S = int(time.time())


@pytest.fixture(scope="module")
def issuer() -> Iterator[HostileIssuer]:
    with hostile_issuer.running(KEY) as running:
        yield running


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(NOW_S * 1000)


@dataclass
class Company:
    """An issuer, and access that trusts it."""

    issuer: HostileIssuer
    db: Database
    clock: HeldClock
    creates: bool = True

    def __post_init__(self) -> None:
        trusted = Issuer("company", self.issuer.url, (AUDIENCE,), self.issuer.jwks_url)
        oidc = Oidc([trusted], self.clock, age=lambda: self.clock.now() / 1000)
        self.identities = Identities(self.db, self.clock, oidc=oidc, creates=lambda url: self.creates)

    def token(self, **changes: object) -> str:
        """A token; a claim that is not given is good."""
        claims = {"iss": self.issuer.url, "aud": AUDIENCE, "sub": "u-1", "iat": NOW_S, "exp": NOW_S + 600, **changes}
        return signed({"alg": "RS256", "kid": "known"}, claims, KEY, "RS256")


@pytest.fixture
def company(issuer: HostileIssuer, db: Database, clock: HeldClock) -> Company:
    return Company(issuer, db, clock)


def test_a_person_becomes_a_principal_at_first_sight(company: Company, installation: Installation) -> None:
    text = company.token(preferred_username="ada", name="Ada L.", groups=["staff"])
    with installation.db.write() as tx:
        written.bind(tx, "reader", "staff", Place("default"), is_group=True)

    first, again = company.identities.identity(text), company.identities.identity(text)

    assert first == again
    made = installation.stored(first.identity.principal_id)
    assert (made.name, made.display_name, made.kind) == ("ada", "Ada L.", PrincipalKind.USER)
    assert (made.issuer, made.external_id) == (company.issuer.url, "u-1")
    assert first.identity.credential is Credential.OIDC_TOKEN
    assert first.identity.expire_time == NOW_S + 600
    assert first.identity.groups == {"staff"}
    assert "runs.read" in first.grants.workspaces["default"]
    assert [each.members()["actor"] for each in installation.records()] == ["modelry"]


def test_a15_the_groups_that_an_issuer_says_are_remembered(
    company: Company, installation: Installation, clock: HeldClock
) -> None:
    with installation.db.write() as tx:
        written.a_role(tx, "hr", "principals.read", "principals.write")
        written.bind(tx, "admin", "outer", is_group=True)
        written.a_group(tx, "platform")
        written.a_group(tx, "outer", groups=["platform"])
    alice = company.identities.identity(company.token(groups=["platform", "staff"])).identity.principal_id
    first = installation.stored(alice)
    _, text = installation.token(installation.principal("hr", "hr"))
    _, root = installation.token(installation.principal("root", "admin"))

    def disables(by: str, is_disabled: bool) -> None:
        with installation.by(by, Permission.PRINCIPALS_WRITE):
            installation.principals.update(alice, "", lambda: {"disabled": is_disabled})

    with pytest.raises(GrantTooWide):
        disables(text, True)
    disables(root, True)
    with pytest.raises(CredentialInvalid):  # who is refused says nothing that counts
        company.identities.identity(company.token(groups=[]))
    with pytest.raises(GrantTooWide):
        disables(text, False)
    disables(root, False)
    etag = installation.stored(alice).etag
    records = len(installation.records())
    clock.advance(2 * 3_600_000)
    later = NOW_S + 2 * 3600
    empty: dict[str, object] = {}
    for claims in (empty, {"groups": ["staff"]}):
        with pytest.raises(GrantTooWide):
            disables(text, True)
        company.identities.identity(company.token(iat=later, exp=later + 600, **claims))
    last = installation.stored(alice)
    disables(text, True)

    assert (set(first.groups), set(last.groups)) == ({"platform", "staff"}, {"staff"})
    assert last.etag == etag
    assert len(installation.records()) == records + 1
    assert installation.stored(alice).is_disabled


def test_a15_a_token_that_says_less_takes_no_group_away_that_another_one_still_says(
    company: Company, installation: Installation, clock: HeldClock
) -> None:
    whole = company.token(groups=["platform"])
    alice = company.identities.identity(whole).identity.principal_id

    poorer: list[dict[str, object]] = [{"iat": NOW_S - 60}, {}, {"groups": []}, {"groups": ["staff"]}]
    for claims in poorer:
        company.identities.identity(company.token(**claims))
        assert "platform" in installation.stored(alice).groups
    clock.advance(3_599_000)  # the tokens have ended, and no later one has come
    assert set(installation.stored(alice).groups) == {"platform", "staff"}


def test_a15_tokens_that_come_at_once_take_no_group_away_from_each_other(
    company: Company, installation: Installation
) -> None:
    alice = company.identities.identity(company.token(groups=[])).identity.principal_id
    tokens = [company.token(groups=[f"team-{number}"]) for number in range(16)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(company.identities.identity, tokens))

    assert set(installation.stored(alice).groups) == {f"team-{number}" for number in range(16)}


def test_an_issuer_that_says_the_same_groups_again_has_nothing_written(company: Company) -> None:
    text = company.token(groups=["b", "a"])
    company.identities.identity(text)
    statements: list[str] = []

    def note(conn: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        company.identities.identity(text)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)

    assert statements
    assert not any(each.startswith(("UPDATE", "INSERT")) for each in statements)


def test_a_taken_name_gets_a_number(company: Company, installation: Installation) -> None:
    installation.principal("ada")

    names = [
        company.identities.identity(company.token(sub=f"u-{n}", preferred_username="ada")).identity.name
        for n in (1, 2, 1)
    ]

    assert names == ["ada (2)", "ada (3)", "ada (2)"]


def test_the_longest_name_still_gets_a_number(company: Company) -> None:
    tokens = [company.token(sub=f"u-{n}", preferred_username="x" * 250) for n in (1, 2)]

    names = [company.identities.identity(each).identity.name for each in tokens]

    assert names == ["x" * 250, "x" * 246 + " (2)"]


def test_many_calls_of_somebody_new_at_once_make_one_principal(company: Company, installation: Installation) -> None:
    text = company.token(preferred_username="ada")
    with pytest.raises(CredentialInvalid):  # this reads the keys of the issuer
        company.identities.identity(company.token(exp=NOW_S - 60))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: company.identities.identity(text), range(8)))

    assert len({each.identity.principal_id for each in found}) == 1
    assert len(installation.records()) == 1


def test_who_must_be_made_before_is_refused_until_then(
    issuer: HostileIssuer, db: Database, clock: HeldClock, installation: Installation
) -> None:
    strict = Company(issuer, db, clock, creates=False)
    with pytest.raises(CredentialInvalid):
        strict.identities.identity(strict.token())

    with caller.using(Caller("setup", TRACE)), db.write() as tx:
        journal.begin(tx)
        made = principals.add(tx, Draft(PrincipalKind.USER, "ada", "", issuer.url, "u-1"), clock.now())

    assert strict.identities.identity(strict.token()).identity.principal_id == made.principal_id


def test_tokens_of_an_issuer_that_were_issued_before_all_were_revoked_are_refused(
    company: Company, installation: Installation
) -> None:
    old = company.token(preferred_username="ada")
    identity = company.identities.identity(old).identity
    with caller.using(Caller("ada", TRACE, identity=identity)):
        assert installation.tokens.revoke_all("") == 0

    with pytest.raises(CredentialInvalid):
        company.identities.identity(old)
    later = company.identities.identity(company.token(iat=NOW_S + 1)).identity
    assert later.principal_id == identity.principal_id


def test_what_a_token_of_an_issuer_has_begun_ends_when_all_are_revoked(
    company: Company, installation: Installation, clock: HeldClock
) -> None:
    text = company.token(preferred_username="ada")
    with pytest.raises(CredentialInvalid):  # nobody is made by what is not verified
        company.identities.of_open_call("", text)
    known = company.identities.identity(text)
    clock.advance(3_600_000)

    with pytest.raises(CredentialInvalid):
        company.identities.identity(text)
    assert company.identities.of_open_call("", text) == known
    with caller.using(Caller("ada", TRACE, identity=known.identity)):
        installation.tokens.revoke_all("")
    with pytest.raises(CredentialInvalid):
        company.identities.of_open_call("", text)


@pytest.mark.parametrize("rotations", [0, 1, 2])
def test_what_an_api_token_has_begun_ends_when_it_is_revoked(
    installation: Installation, clock: HeldClock, rotations: int
) -> None:
    ada = installation.principal("ada", "admin")
    token, text = installation.token(ada, TokenDraft(expire_time=clock.now() + 1000))
    _, other = installation.token(ada)
    identities = installation.identities
    for _ in range(rotations):
        with installation.by(other):
            installation.tokens.rotate(token.token_id, clock.now() + 600_000)
    clock.advance(600_000)

    with pytest.raises(CredentialInvalid):
        identities.identity(text)
    assert identities.of_open_call(token.token_id, "").identity.principal_id == ada.principal_id
    with installation.by(other):
        installation.tokens.revoke(token.token_id)
    with pytest.raises(CredentialInvalid):
        identities.of_open_call(token.token_id, "")


def test_a_disabled_person_is_refused_whatever_the_issuer_says(company: Company, installation: Installation) -> None:
    text = company.token()
    identity = company.identities.identity(text).identity
    with installation.db.write() as tx:
        written.disable(tx, identity.principal_id)

    with pytest.raises(CredentialInvalid):
        company.identities.identity(text)


def test_a_token_that_the_issuer_did_not_sign_is_refused_like_all_others(company: Company) -> None:
    text = company.token()
    head, body, _ = text.split(".")

    answers = set()
    for wrong in (f"{head}.{body}.AAAA", f"{head}.{body}.", "a.b.c", f"{text}.x", "..", company.token(exp=NOW_S - 60)):
        with pytest.raises(CredentialInvalid) as refusal:
            company.identities.identity(wrong)
        answers.add(refusal.value.message)
    assert len(answers) == 1


def test_without_issuers_no_token_of_one_is_accepted(company: Company, installation: Installation) -> None:
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(company.token())


def certified(installation: Installation, name: str, external_id: str) -> str:
    with caller.using(Caller("setup", TRACE)):
        draft = Draft(PrincipalKind.SERVICE_ACCOUNT, name, "", "certificate", external_id)
        return installation.anybody.principals.create(draft, ONCE).principal_id


def test_a_certificate_is_that_of_the_first_of_its_names(installation: Installation, clock: HeldClock) -> None:
    first = certified(installation, "robot", "spiffe://example/robot")
    certified(installation, "host", "host.example")
    end = clock.now() / 1000 + 60

    names = ("spiffe://example/other", "spiffe://example/robot", "host.example", "host")
    known = installation.identities.certificate(names, "f1", end)

    assert known.identity.principal_id == first
    assert (known.identity.credential, known.identity.credential_id) == (Credential.CLIENT_CERTIFICATE, "f1")
    assert known.identity.expire_time == end


def test_a_certificate_of_nobody_of_who_is_disabled_or_that_has_ended_is_refused(
    installation: Installation, clock: HeldClock
) -> None:
    robot = certified(installation, "robot", "robot.example")
    now = clock.now() / 1000
    installation.principal("eve.example")

    wrong = [(("eve.example", ""), now + 60), ((), now + 60), (("robot.example",), now)]
    for names, end in wrong:
        with pytest.raises(CredentialInvalid):
            installation.identities.certificate(names, "f1", end)
    with installation.db.write() as tx:
        written.disable(tx, robot)
    with pytest.raises(CredentialInvalid):
        installation.identities.certificate(("robot.example",), "f1", now + 60)

    with installation.db.read() as tx:
        assert store.by_name(tx, "robot.example") is None


def test_the_debug_log_says_why_a_token_is_refused_and_of_which_one_but_not_its_text(
    installation: Installation, clock: HeldClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "modelry.access")
    ann, bob = (installation.principal(name, "reader") for name in ("ann", "bob"))
    revoked, disabled, ended = (installation.token(who) for who in (ann, bob, ann))
    unknown = new_text(TextKind.API_TOKEN)
    with installation.db.write() as tx:
        written.disable(tx, bob.principal_id)
    with caller.using(Caller("ann", TRACE, identity=installation.identities.identity(ended[1]).identity)):
        installation.tokens.revoke(revoked[0].token_id)

    texts = [revoked[1], disabled[1], unknown, "secret-of-another-kind"]
    for text in texts:
        with pytest.raises(CredentialInvalid):
            installation.identities.identity(text)
    clock.advance(ended[0].expire_time - clock.now())
    with pytest.raises(CredentialInvalid):
        installation.identities.identity(ended[1])

    said = [each.modelry_fields for each in caplog.records if each.message == "credential.refused"]  # type: ignore[attr-defined]
    assert said == [
        {"why": "it was revoked", "token_id": revoked[0].token_id, "principal_id": ann.principal_id},
        {"why": "its principal is disabled", "token_id": disabled[0].token_id, "principal_id": bob.principal_id},
        {"why": "there is no such token", "hint": unknown[-4:]},
        {"why": "it has the form of no API token, and no issuer is configured"},
        {"why": "it has ended", "token_id": ended[0].token_id, "principal_id": ann.principal_id},
    ]
    assert not any(text in str(said) for text in (*texts, ended[1]))


def test_the_grants_of_who_is_unknown_are_refused(installation: Installation) -> None:
    with pytest.raises(CredentialInvalid):
        installation.identities.grants(new_id(), frozenset({"staff"}))


def test_a_cap_whose_role_is_gone_allows_nothing(installation: Installation) -> None:
    ada = installation.principal("ada", "admin")
    with installation.db.write() as tx:
        written.a_role(tx, "logger", "runs.write")
    _, text = installation.token(ada, TokenDraft(role_cap="logger"))

    with installation.db.write() as tx:
        roles.delete(tx, "logger")

    assert installation.identities.identity(text).identity.permission_cap == frozenset()
