"""What a service says of its caller is believed if it is whole, for this service, of now, and signed with the key."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelry_server.kernel import telemetry
from modelry_server.kernel.caller import NOBODY, Caller, Credential, Identity
from modelry_server.kernel.transport.vouching import LASTS_S, Voucher
from tests.parts.vouched import content_of, rewritten

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


def otherwise(change: Callable[[dict[str, Any]], object]) -> str:
    """The statement of a service of another release."""
    return rewritten(Voucher(KEY).say(CALLER, to="tracking"), KEY, change)


@pytest.fixture
def log() -> io.StringIO:
    """What is logged."""
    found = io.StringIO()
    telemetry.start_logging("info", found)
    return found


def paths(content: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where each member of a statement is."""
    for name, value in content.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from paths(value, (*before, name))


def at(content: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The object that a path leads to."""
    for name in path:
        content = content[name]
    return content


SAID = content_of(Voucher(KEY).say(CALLER, to="tracking"))
LESS = [("subject",), ("peer",), ("who", "groups")]
"""What may be missing."""


@pytest.mark.parametrize("path", [(), ("who",)])
def test_a_member_of_a_later_release_that_does_not_limit_is_ignored(path: tuple[str, ...], log: io.StringIO) -> None:
    statement = otherwise(lambda content: at(content, path).update(later={"all": True}))

    told = Voucher(KEY).read(statement, to="tracking")

    assert told == Voucher(KEY).read(Voucher(KEY).say(CALLER, to="tracking"), to="tracking")
    assert log.getvalue() == ""


@pytest.mark.parametrize("path", [("only",), ("who", "caps")])
def test_a_limit_of_a_later_release_is_never_taken_for_none(path: tuple[str, ...], log: io.StringIO) -> None:
    statement = otherwise(lambda content: at(content, path).update(models=["7"]))

    assert Voucher(KEY).read(statement, to="tracking") is None

    [line] = map(json.loads, log.getvalue().splitlines())
    assert line["event"] == "vouching.another_release"
    assert "'models'" in line["problem"]
    assert "release" in line["right"]
    assert KEY not in log.getvalue()


@pytest.mark.parametrize("path", [each for each in paths(SAID) if each not in LESS], ids=".".join)
def test_without_a_member_that_limits_or_says_who_a_statement_is_refused(
    path: tuple[str, ...], log: io.StringIO
) -> None:
    statement = otherwise(lambda content: at(content, path[:-1]).pop(path[-1]))

    assert Voucher(KEY).read(statement, to="tracking") is None

    [line] = map(json.loads, log.getvalue().splitlines())
    assert (line["event"], line["to"]) == ("vouching.another_release", "tracking")
    assert path[-1] in line["problem"]


@pytest.mark.parametrize("path", LESS, ids=".".join)
def test_without_another_member_a_statement_says_less(path: tuple[str, ...]) -> None:
    whole = Voucher(KEY).read(Voucher(KEY).say(CALLER, to="tracking"), to="tracking")
    told = Voucher(KEY).read(otherwise(lambda content: at(content, path[:-1]).pop(path[-1])), to="tracking")

    assert whole is not None
    assert told is not None
    assert told.identity is not None
    less = {("subject",): told.subject, ("peer",): told.peer, ("who", "groups"): told.identity.groups}
    assert less[path] in ("", frozenset())
    assert told.identity.permission_cap == ANN.permission_cap
    assert told.credential == whole.credential


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(credential="a later kind"),
        lambda content: content.update(who=["0" * 32, "ann"]),
        lambda content: content.update(only=None),
        lambda content: content["only"].update(until="tomorrow"),
        lambda content: content["who"].update(caps=[None, None]),
        lambda content: content["who"]["caps"].update(permissions=7),
    ],
)
def test_what_another_release_writes_in_another_way_is_refused(
    change: Callable[[dict[str, Any]], object], log: io.StringIO
) -> None:
    assert Voucher(KEY).read(otherwise(change), to="tracking") is None
    assert "vouching.another_release" in log.getvalue()


@pytest.mark.parametrize("is_bootstrap", [True, False])
def test_a_token_that_can_do_one_thing_stays_one(is_bootstrap: bool) -> None:
    identity = Identity("bootstrap", "bootstrap", Credential.API_TOKEN, "1" * 64)
    identity = replace(identity, is_bootstrap=is_bootstrap, is_invitation=not is_bootstrap)
    caller = Caller("bootstrap", "ab" * 16, credential=Credential.API_TOKEN, identity=identity)

    told = Voucher(KEY).read(Voucher(KEY).say(caller, to="tracking"), to="tracking")

    assert told is not None
    assert told.identity == identity


def test_who_is_in_a_hundred_groups_with_long_names_fits_into_metadata() -> None:
    groups = frozenset(f"{number:03}" + "g" * 247 for number in range(100))
    identity = Identity("0" * 32, "a" * 250, Credential.OIDC_TOKEN, "1" * 64, groups, ANN.permission_cap)

    assert len(Voucher(KEY).say(Caller("a" * 250, "ab" * 16, identity=identity), to="tracking")) < 48 << 10
