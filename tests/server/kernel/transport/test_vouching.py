"""What a service says of its caller is believed if it is whole, for this service, of now, and signed with the key."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelry_server.kernel.caller import NOBODY, Caller, Credential, Identity
from modelry_server.kernel.transport.vouching import LASTS_S, Voucher

KEY = "the-key-of-the-services-of-this-test"
ANN = Identity(
    "0" * 32,
    "ann 王",
    Credential.API_TOKEN,
    "1" * 32,
    groups=frozenset({"team a", "team b"}),
    permission_cap=frozenset({"runs.read"}),
    workspace_cap=frozenset({"default"}),
    expire_time=2e9,
)
CALLER = Caller("ann 王", "ab" * 16, "ipv4:10.0.0.1:99", credential=Credential.API_TOKEN, identity=ANN)


def test_a_statement_says_who_calls_as_it_was_known() -> None:
    told = Voucher(KEY).read(Voucher(KEY).say(CALLER, to="tracking"), to="tracking")

    assert told is not None
    assert (told.subject, told.credential, told.peer, told.identity) == (
        "ann 王",
        Credential.API_TOKEN,
        "ipv4:10.0.0.1:99",
        ANN,
    )


def test_a_service_can_speak_for_itself() -> None:
    told = Voucher(KEY).read(Voucher(KEY).say(NOBODY, to="access"), to="access")

    assert told is not None
    assert (told.credential, told.identity) == (Credential.SERVICE, None)


def test_no_statement_holds_the_key() -> None:
    statement = Voucher(KEY).say(CALLER, to="tracking")

    assert KEY not in statement
    assert KEY.encode() not in base64.urlsafe_b64decode(statement.partition(".")[0])


def test_a_statement_for_one_service_is_worth_nothing_at_another() -> None:
    assert Voucher(KEY).read(Voucher(KEY).say(CALLER, to="tracking"), to="registry") is None


@pytest.mark.parametrize(
    ("later_s", "is_good"), [(0, True), (LASTS_S, True), (-LASTS_S, True), (181, False), (-181, False)]
)
def test_a_statement_is_good_for_about_a_minute(later_s: float, is_good: bool) -> None:
    statement = Voucher(KEY, now=lambda: 1e9).say(CALLER, to="tracking")

    assert (Voucher(KEY, now=lambda: 1e9 + later_s).read(statement, to="tracking") is not None) == is_good


@given(st.data())
def test_a06_whatever_is_changed_in_a_statement_it_is_not_believed(data: st.DataObject) -> None:
    statement = Voucher(KEY).say(CALLER, to="tracking")
    at = data.draw(st.integers(0, len(statement) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda each: each != statement[at]))

    assert Voucher(KEY).read(statement[:at] + other + statement[at + 1 :], to="tracking") is None


@pytest.mark.parametrize("knows_callers", [True, False])
def test_a_service_with_another_setting_of_authentication_is_not_believed(knows_callers: bool) -> None:
    statement = Voucher(KEY, knows_callers=knows_callers).say(CALLER, to="tracking")

    assert Voucher(KEY, knows_callers=knows_callers).read(statement, to="tracking") is not None
    assert Voucher(KEY, knows_callers=not knows_callers).read(statement, to="tracking") is None


@pytest.mark.parametrize("statement", ["", ".", "e30.", "e30", "e30." + "0" * 64, "x" * 10_000])
def test_what_is_no_statement_is_not_believed(statement: str) -> None:
    assert Voucher(KEY).read(statement, to="tracking") is None


def test_a06_a_statement_of_another_key_is_not_believed() -> None:
    payload = base64.urlsafe_b64encode(json.dumps({"to": "tracking"}).encode()).decode()
    forged = Voucher("x" * 40).say(CALLER, to="tracking")

    assert Voucher(KEY).read(forged, to="tracking") is None
    assert Voucher(KEY).read(f"{payload}.{forged.partition('.')[2]}", to="tracking") is None
