"""Audit records are what the contract says: recomputed here with nothing but `hashlib` and the contract's text."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from modelry_server.kernel.audit import ERASABLE, End, Fault, Record, body_of, digest_of, first_fault
from modelry_server.kernel.caller import Caller, Credential, Identity

ADA = Caller("ada", "0af7651916cd43dd8448eb211c80319c", peer="ipv4:127.0.0.1:4711", credential=Credential.SERVICE)
CHAIN = "things/1"
WHAT: dict[str, str | int] = {
    "action": "thing.changed",
    "resource_type": "thing",
    "resource_id": "1",
    "version_number": 0,
}
BEFORE, AFTER = '{"words":"old"}', '{"words":"new"}'
NOW = 1_764_151_200_007


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def chain(*reasons: str, by: Caller = ADA, before: str = BEFORE, after: str = AFTER) -> list[Record]:
    """A chain with a record for each reason."""
    records, end = [], End(CHAIN)
    for reason in reasons:
        record, end = end.append(WHAT, before=before, after=after, by=by, reason=reason, now=NOW)
        records.append(record)
    return records


def recomputed(record: Record, previous_digest: str) -> str:
    """The digest by the rule of the contract."""
    return sha256(f"modelry-audit-v1\n{CHAIN}\n{record.sequence}\n{previous_digest}\n{record.body}")


def test_the_example_of_the_contract_is_right() -> None:
    body = body_of({"action": "model.created"})

    assert body == '{"action":"model.created"}'
    assert digest_of("models/m1", 1, "", body) == "6af2c6c65c92b198dcbfec8643d2b69f634a2a59c3d6ddb33dd191a5911c946c"


def test_a_client_can_recompute_every_digest() -> None:
    previous = ""
    for number, record in enumerate(chain("größer", "", "why"), start=1):
        assert (record.sequence, record.previous_digest, record.digest_version) == (number, previous, 1)
        assert record.digest == recomputed(record, previous)
        previous = record.digest


def test_the_body_says_who_did_what_and_when_and_leaves_out_what_is_empty() -> None:
    (record,) = chain("why")

    assert json.loads(record.body) == {
        "action": "thing.changed",
        "actor": "ada",
        "after_digest": sha256(f"{record.after_salt}\n{AFTER}"),
        "before_digest": sha256(f"{record.before_salt}\n{BEFORE}"),
        "create_time": "2025-11-26T10:00:00.007Z",
        "credential_kind": "SERVICE",
        "peer_digest": sha256(f"{record.peer_salt}\nipv4:127.0.0.1:4711"),
        "reason_digest": sha256(f"{record.reason_salt}\nwhy"),
        "resource_id": "1",
        "resource_type": "thing",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert record.members() == json.loads(record.body)


def test_the_body_says_which_credential_acted() -> None:
    identity = Identity("p1", "ada", Credential.API_TOKEN, "t1")

    (record,) = chain("why", by=replace(ADA, credential=Credential.API_TOKEN, identity=identity))

    said = {name: record.members()[name] for name in ("actor", "credential_kind", "credential_id")}
    assert said == {"actor": "p1", "credential_kind": "API_TOKEN", "credential_id": "t1"}


def test_records_from_before_the_credential_was_written_down_are_no_fault() -> None:
    known = replace(ADA, identity=Identity("p1", "ada", Credential.API_TOKEN, "t1"))
    (before,) = chain("a")

    after, _ = End(CHAIN, before.sequence, before.digest).append(WHAT, by=known, reason="b", now=NOW)

    assert ("credential_id" in before.members(), "credential_id" in after.members()) == (False, True)
    assert first_fault(CHAIN, [before, after]) is None


def test_each_text_is_committed_to_with_a_salt_of_its_own_each_time() -> None:
    one, two = chain("why", "why")

    salts = [getattr(record, f"{name}_salt") for record in (one, two) for name in ERASABLE]
    assert len(set(salts)) == 8
    assert {len(salt) for salt in salts} == {64}
    for text in ("why", "words", "old", "new", ADA.peer):
        assert text not in one.body


def test_nothing_is_committed_to_where_there_is_no_text() -> None:
    (record,) = chain("", by=replace(ADA, peer=""), before="", after="")

    assert {getattr(record, f"{name}_salt") for name in ERASABLE} == {""}
    assert not {f"{name}_digest" for name in ERASABLE} & set(record.members())


@pytest.mark.parametrize(
    ("members", "body"),
    [
        ({"b": 1, "a": "x"}, '{"a":"x","b":1}'),
        ({"A": "1", "a": "2", "B": "3"}, '{"A":"1","B":"3","a":"2"}'),
        ({"a": "größer 🦉"}, '{"a":"größer 🦉"}'),
        ({"a": '"\\/'}, '{"a":"\\"\\\\/"}'),
        ({"a": "\b\t\n\f\r\x00\x1f\x7f\u2028"}, '{"a":"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\u2028"}'),
        ({"a": 2**53 - 1}, '{"a":9007199254740991}'),
        ({"a": "", "b": 0}, "{}"),
    ],
)
def test_the_body_is_written_as_rfc_8785_says(members: dict[str, str | int], body: str) -> None:
    assert body_of(members) == body


@pytest.mark.parametrize("members", [{"a": 2**53}, {"a": 1.5}, {"a": True}, {"a": None}, {"a": {"b": "c"}}, {"ä": "x"}])
def test_what_languages_write_differently_can_not_stand_in_a_body(members: dict[str, str | int]) -> None:
    with pytest.raises(ValueError, match="can't stand in the body"):
        body_of(members)


def test_a_record_with_a_member_that_this_version_does_not_know_is_verified_all_the_same() -> None:
    first, second = chain("", "")
    body = body_of({**first.members(), "of_a_later_version": "✓"})
    first = replace(first, body=body, digest=digest_of(CHAIN, 1, "", body))
    second = replace(second, previous_digest=first.digest, digest=digest_of(CHAIN, 2, first.digest, second.body))

    assert first_fault(CHAIN, [first, second]) is None
    assert recomputed(first, "") == first.digest


def test_a_chain_without_records_or_with_whole_ones_has_no_fault() -> None:
    assert first_fault(CHAIN, []) is None
    assert first_fault(CHAIN, chain("a", "", "b")) is None


@pytest.mark.parametrize("name", ERASABLE)
def test_an_erased_text_is_no_fault(name: str) -> None:
    erased = [replace(record, **{name: "", f"{name}_salt": ""}) for record in chain("a", "b")]  # type: ignore[arg-type]

    assert first_fault(CHAIN, erased) is None


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ({"body": "{}"}, "the digest does not match"),
        ({"digest": "0" * 64}, "the digest does not match"),
        ({"previous_digest": ""}, "the digest of the record before it does not match"),
        ({"reason": "other"}, "the reason does not match its digest"),
        ({"reason": ""}, "the reason does not match its digest"),
        ({"peer_salt": "0" * 63}, "the salt of the peer is not 64 lower-case hexadecimal characters"),
        ({"reason_salt": "A" * 64}, "the salt of the reason is not 64 lower-case hexadecimal characters"),
        ({"peer_salt": "0" * 64}, "the peer does not match its digest"),
        ({"before": '{"words":"older"}'}, "the before does not match its digest"),
        ({"after": '{"words": "new"}'}, "the after does not match its digest"),
        ({"after": ""}, "the after does not match its digest"),
        ({"digest_version": 2}, "the digest version 2 is unknown to this program"),
    ],
)
def test_an_edited_record_is_the_first_fault(edit: dict[str, object], problem: str) -> None:
    one, two, three = chain("a", "b", "c")

    assert first_fault(CHAIN, [one, replace(two, **edit), three]) == Fault(2, problem)  # type: ignore[arg-type]


def test_a_removed_a_swapped_and_a_foreign_record_are_faults() -> None:
    one, two, three = chain("a", "b", "c")
    gap = "the record is missing; the next one is 3"
    broken = "the digest of the record before it does not match"

    assert first_fault(CHAIN, [one, three]) == Fault(2, gap)
    assert first_fault(CHAIN, [two, three]) == Fault(1, "the record is missing; the next one is 2")
    swapped = [one, replace(three, sequence=2), replace(two, sequence=3)]
    assert first_fault(CHAIN, swapped) == Fault(2, broken)
    assert first_fault("things/2", [one, two]) == Fault(1, "the digest does not match")


def test_a_reason_where_none_was_given_is_a_fault() -> None:
    (record,) = chain("")

    assert first_fault(CHAIN, [replace(record, reason="added", reason_salt="0" * 64)]) == Fault(
        1, "the reason does not match its digest"
    )
