"""Who is known, what is remembered of them and for how long, and what they may do where."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from modelry_server.kernel import authority as kernel
from modelry_server.kernel.access import ALL, INSTALLATION, Kind, Place, Within
from modelry_server.kernel.authority import FRESH_S, Authority, Changed, Grants, Known
from modelry_server.kernel.caller import NOBODY, Caller, Identity
from modelry_server.kernel.errors import CredentialInvalid, ServiceUnavailable
from tests.parts.eventually import eventually
from tests.server.kernel.book import Book, authority_of

READ, WRITE = "runs.read", "runs.write"
RED = Place("red")


class Clock:
    """A clock that stands until it is moved, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def book() -> Book:
    """What access knows: Ann's token."""
    made = Book()
    made.write("of-ann", "ann", permissions=[READ], workspace="red")
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(book: Book, clock: Clock) -> Authority:
    """An authority that has just heard of access."""
    made = Authority(book, clock=clock)
    made.heard([Changed()])
    return made


def calling(identity: Identity | None, **fields: object) -> Caller:
    return Caller("somebody", "0" * 32, identity=identity, **fields)  # type: ignore[arg-type]


def with_grants(grants: Grants, **caps: frozenset[str]) -> tuple[Authority, Caller]:
    """A judge, and a caller who has these grants."""
    book = Book()
    identity = replace(book.write("token", "ann"), **caps)  # type: ignore[arg-type]
    book.known["token"] = Known(identity, grants)
    return authority_of(book), calling(identity)


def may(authority: Authority, permission: str, place: Place) -> bool:
    """Whether Ann may, by what the authority knows of her token now."""
    return authority.may(calling(authority.identify("of-ann").identity), permission, place)


def test_access_is_asked_once_for_a_token_and_its_grants(authority: Authority, book: Book) -> None:
    answers = [may(authority, READ, RED) for _ in range(5)]

    assert (answers, book.asked) == ([True] * 5, ["of-ann"])


def test_what_is_kept_is_believed_for_five_seconds_after_the_last_word(
    authority: Authority, book: Book, clock: Clock
) -> None:
    may(authority, READ, RED)
    book.is_away = True

    clock.now += FRESH_S
    assert may(authority, READ, RED)
    clock.now += 0.001
    with pytest.raises(ServiceUnavailable):
        authority.identify("of-ann")
    with pytest.raises(ServiceUnavailable):
        authority.may(calling(book.known["of-ann"].identity), READ, RED)
    authority.heard()
    assert may(authority, READ, RED)


def test_before_the_first_word_and_after_a_gap_each_call_asks(book: Book, clock: Clock) -> None:
    authority = Authority(book, clock=clock)
    for _ in range(2):
        authority.identify("of-ann")
    assert book.asked == ["of-ann"] * 2

    authority.heard()
    clock.now += FRESH_S + 1

    assert not authority.is_fresh()
    authority.identify("of-ann")
    assert book.asked == ["of-ann"] * 3
    authority.heard([Changed()])  # as the first message after the gap: what was changed in it is not known
    authority.identify("of-ann")
    assert book.asked == ["of-ann"] * 4


def test_how_long_what_is_kept_was_believed_counts_from_the_end_of_the_last_silence(book: Book, clock: Clock) -> None:
    authority = Authority(book, clock=clock)
    before_the_first_word = authority.known_for_s()
    authority.heard()
    clock.now += FRESH_S
    authority.heard([Changed()])
    clock.now += 1
    without_a_break = authority.known_for_s()
    clock.now += FRESH_S
    in_the_silence = authority.known_for_s()
    authority.heard()
    clock.now += 2

    assert (before_the_first_word, without_a_break, in_the_silence) == (0, FRESH_S + 1, 0)
    assert authority.known_for_s() == 2


CHANGES = {
    "her principal": Changed(principal_id="ann-id"),
    "her token": Changed(credential_id="id of of-ann"),
    "anything": Changed(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_token_that_was_revoked_is_refused_from_the_next_word_on(authority: Authority, book: Book, name: str) -> None:
    authority.identify("of-ann")
    del book.known["of-ann"]

    authority.identify("of-ann")
    authority.heard([CHANGES[name]])

    with pytest.raises(CredentialInvalid):
        authority.identify("of-ann")


@pytest.mark.parametrize("changed", [Changed(principal_id="ann-id"), Changed(group="staff"), Changed()])
def test_a_role_that_was_taken_is_gone_from_the_next_word_on(
    authority: Authority, book: Book, changed: Changed
) -> None:
    known = book.known["of-ann"]
    book.known["of-ann"] = replace(known, grants=replace(known.grants, groups=frozenset({"staff"})))
    assert may(authority, READ, RED)
    book.known["of-ann"] = replace(known, grants=Grants())

    assert may(authority, READ, RED)
    authority.heard([changed])

    assert not may(authority, READ, RED)


def test_a_change_of_others_is_no_reason_to_ask_again(authority: Authority, book: Book) -> None:
    may(authority, READ, RED)

    authority.heard([Changed(principal_id="bob-id"), Changed(group="staff"), Changed(credential_id="id of another")])
    may(authority, READ, RED)

    assert book.asked == ["of-ann"]


def test_many_changes_at_once_are_forgotten_in_one_go() -> None:
    book = Book()
    for number in range(2000):
        book.write(f"token-{number}", f"p{number}")
    authority = authority_of(book)
    for number in range(2000):
        authority.identify(f"token-{number}")
    book.asked.clear()

    authority.heard([Changed(principal_id=f"p{number}-id") for number in range(0, 2000, 2)])

    for number in range(2000):
        authority.identify(f"token-{number}")
    assert book.asked == [f"token-{number}" for number in range(0, 2000, 2)]


class Late(Book):
    """Answers after it has let something happen: the answer is older than what was heard meanwhile."""

    meanwhile: Callable[[], None] | None = None

    def identity(self, bearer: str) -> Known:
        try:
            answer = super().identity(bearer)
        finally:
            self._let_happen()
        return answer

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        answer = super().grants(principal_id, groups)
        self._let_happen()
        return answer

    def _let_happen(self) -> None:
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()


def test_an_answer_from_before_a_change_is_not_kept() -> None:
    book = Late()
    identity = book.write("token", "ann")
    authority = authority_of(book)

    def revoke() -> None:
        book.known["token"] = replace(book.known["token"], grants=Grants())
        authority.heard([Changed(principal_id="ann-id")])

    book.meanwhile = revoke
    authority.identify("token")

    assert not authority.may(calling(identity), READ, RED)


def test_grants_from_before_a_change_are_not_kept() -> None:
    book = Late()
    identity = book.write("token", "ann")
    authority = authority_of(book)

    def revoke() -> None:
        book.known["token"] = replace(book.known["token"], grants=Grants())
        authority.heard([Changed(group="staff")])

    book.meanwhile = revoke
    authority.grants_of(identity)

    assert not authority.may(calling(identity), READ, RED)


def test_a_refusal_from_before_a_change_is_not_kept() -> None:
    book = Late()
    authority = authority_of(book)

    def make() -> None:
        book.write("token", "ann")
        authority.heard([Changed(principal_id="ann-id")])

    book.meanwhile = make
    with pytest.raises(CredentialInvalid):
        authority.identify("token")

    assert authority.identify("token").identity.name == "ann"


def test_a_refusal_is_remembered_for_a_second(authority: Authority, book: Book, clock: Clock) -> None:
    for _ in range(3):
        with pytest.raises(CredentialInvalid):
            authority.identify("unknown")
    assert book.asked == ["unknown"]
    assert authority.has_judged("unknown")

    clock.now += 1.0

    assert not authority.has_judged("unknown")
    with pytest.raises(CredentialInvalid):
        authority.identify("unknown")
    assert book.asked == ["unknown"] * 2


def test_a_token_made_elsewhere_is_known_from_the_word_on(authority: Authority, book: Book) -> None:
    with pytest.raises(CredentialInvalid):
        authority.identify("of-bob")
    book.write("of-bob", "bob")

    authority.heard([Changed(principal_id="bob-id")])

    assert authority.identify("of-bob").identity.name == "bob"


def test_a_token_that_is_kept_ends_when_it_expires(authority: Authority, book: Book) -> None:
    ends = time.time() + 0.5
    book.write("short", "bob", expire_time=ends)
    authority.identify("short")
    eventually(lambda: time.time() > ends)
    asked = len(book.asked)

    with pytest.raises(CredentialInvalid):
        authority.identify("short")
    assert len(book.asked) == asked


def test_what_a_token_has_begun_outlives_it_and_ends_when_it_is_revoked(authority: Authority, book: Book) -> None:
    known = book.write("short", "bob", expire_time=time.time() - 1)

    assert [authority.identify_again(known, "short").identity for _ in range(2)] == [known, known]
    assert book.asked == [known.credential_id]
    with pytest.raises(CredentialInvalid):
        authority.identify("short")
    del book.known["short"]
    authority.heard([Changed(credential_id=known.credential_id)])
    with pytest.raises(CredentialInvalid):
        authority.identify_again(known, "short")


def test_a_disabled_principal_is_no_principal(authority: Authority, book: Book) -> None:
    identity = authority.identify("of-ann").identity
    del book.known["of-ann"]
    authority.heard([Changed(principal_id="ann-id")])

    with pytest.raises(CredentialInvalid):
        authority.may(calling(identity), READ, RED)


def test_no_token_and_no_certificate_is_taken_for_the_other(authority: Authority, book: Book) -> None:
    book.write("certificate ff", "bob")
    book.write("host", "carl")

    assert authority.identify("certificate ff").identity.name == "bob"
    assert authority.identify_certificate(("host",), "ff", 2e9).identity.name == "carl"


def test_memory_is_bounded_by_what_came_last(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MOST_KEPT", 10)
    monkeypatch.setattr(kernel, "_MOST_UNKNOWN", 10)
    authority = authority_of(book)
    for number in range(100):
        book.write(f"token-{number}", f"p{number}")
        authority.identify(f"token-{number}")
        with pytest.raises(CredentialInvalid):
            authority.identify(f"unknown-{number}")

    assert [len(kept._values) for kept in (authority._credentials, authority._grants, authority._unknown)] == [10] * 3
    asked = len(book.asked)
    authority.identify("token-99")
    assert len(book.asked) == asked


def test_which_tokens_were_used_is_told_once(authority: Authority, book: Book) -> None:
    book.write("of-bob", "bob")
    for bearer in ("of-ann", "of-bob", "of-ann"):
        authority.identify(bearer)

    assert authority.uses() == {"id of of-ann", "id of of-bob"}
    assert authority.uses() == set()
    authority.identify("of-ann")
    assert authority.uses() == {"id of of-ann"}


PARTS = Grants(
    workspaces={"blue": frozenset({READ})},
    experiments={("red", "7"): frozenset({READ, WRITE}), ("red", "8"): frozenset({WRITE})},
    models={("red", "m"): frozenset({READ})},
)


@pytest.mark.parametrize(
    ("place", "permissions"),
    [
        (Place("blue"), {READ}),
        (Place("blue", "9"), {READ}),
        (Place("blue", model_id="x"), {READ}),
        (Place("red"), set()),
        (Place("red", "7"), {READ, WRITE}),
        (Place("red", "8"), {WRITE}),
        (Place("red", "9"), set()),
        (Place("red", model_id="m"), {READ}),
        (Place("red", model_id="7"), set()),
        (Place("red", "m"), set()),
        (Place("blue", "7"), {READ}),
        (Place("green", "7"), set()),
        (INSTALLATION, set()),
    ],
)
def test_a_role_holds_where_it_is_bound_and_below(place: Place, permissions: set[str]) -> None:
    authority, ann = with_grants(PARTS)

    assert {each for each in (READ, WRITE) if authority.may(ann, each, place)} == permissions
    is_seen = bool(permissions) or place == Place("red")
    assert authority.sees(ann, place) == is_seen


def test_a_part_of_a_workspace_is_what_lists_show() -> None:
    authority, ann = with_grants(PARTS)

    assert authority.within(ann, READ, "blue") == ALL
    assert authority.within(ann, READ, "red") == Within(False, frozenset({"7"}), frozenset({"m"}))
    assert authority.within(ann, WRITE, "red") == Within(False, frozenset({"7", "8"}), frozenset())
    assert authority.within(ann, READ, "green") == Within(False)
    assert authority.workspaces(ann) == frozenset({"red", "blue"})
    assert [authority.anywhere(ann, each) for each in (READ, WRITE, "models.read")] == [True, True, False]


def test_a_role_for_the_installation_holds_everywhere() -> None:
    authority, ann = with_grants(Grants(everywhere=frozenset({READ})))

    for place in (INSTALLATION, RED, Place("red", "7"), Place("red", model_id="m")):
        assert (authority.may(ann, READ, place), authority.may(ann, WRITE, place)) == (True, False)
        assert authority.sees(ann, place)
    assert authority.within(ann, READ, "red") == ALL
    assert authority.workspaces(ann) is None


def test_a_cap_takes_and_never_gives() -> None:
    everything = Grants(everywhere=frozenset({READ, WRITE}))
    authority, ann = with_grants(
        everything, permission_cap=frozenset({READ, "models.read"}), workspace_cap=frozenset({"red"})
    )

    assert authority.may(ann, READ, Place("red", "7"))
    assert not authority.may(ann, WRITE, RED)
    assert not authority.may(ann, "models.read", RED)
    for place in (Place("blue"), Place("blue", "7"), INSTALLATION):
        assert not authority.may(ann, READ, place)
        assert not authority.sees(ann, place)
    assert authority.within(ann, READ, "blue") == authority.within(ann, WRITE, "red") == Within(False)
    assert authority.workspaces(ann) == frozenset({"red"})
    assert [authority.anywhere(ann, each) for each in (READ, WRITE)] == [True, False]


def test_a_cap_holds_for_parts_too() -> None:
    authority, ann = with_grants(PARTS, permission_cap=frozenset({WRITE}), workspace_cap=frozenset({"red"}))

    assert authority.within(ann, WRITE, "red") == Within(False, frozenset({"7", "8"}))
    assert authority.within(ann, READ, "red") == Within(False)
    assert authority.workspaces(ann) == frozenset({"red"})
    assert not authority.anywhere(ann, READ)


def test_who_has_proved_nothing_may_nothing(authority: Authority) -> None:
    for stranger in (calling(None), calling(None, is_service=True)):
        assert not authority.may(stranger, READ, RED)
        assert not authority.sees(stranger, RED)
        assert authority.within(stranger, READ, "red") == Within(False)
        assert authority.workspaces(stranger) == frozenset()
        assert not authority.anywhere(stranger, READ)


def test_the_server_itself_may_everything(authority: Authority) -> None:
    assert authority.may(NOBODY, READ, RED)
    assert authority.sees(NOBODY, Place("red", "7"))
    assert authority.within(NOBODY, READ, "red") == ALL
    assert authority.workspaces(NOBODY) is None
    assert authority.anywhere(NOBODY, WRITE)


def test_what_only_services_may_do_is_for_no_role() -> None:
    authority, root = with_grants(Grants(everywhere=frozenset({READ, "service"})))

    assert not authority.may(root, Kind.SERVICE, RED)
    assert authority.may(replace(root, is_service=True), Kind.SERVICE, RED)
