"""The verification of audit chains, recomputed from what a server sends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest

from modelry._sdk.nouns.verification import verification_of
from modelry.api.common import v1 as common
from modelry.api.registry import v1 as registry
from modelry.errors import DataLoss
from tests.python.registry_script import scripted

CHAIN = "models/m1"
SALT = "5a" * 32
TEXTS = ("before", "after", "reason", "peer")


def digest_of(record: common.AuditRecord) -> str:
    head = f"modelry-audit-v1\n{record.chain}\n{record.sequence}\n{record.previous_digest}\n"
    return hashlib.sha256(head.encode() + record.body.encode()).hexdigest()


def salted(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def a_chain(length: int) -> list[common.AuditRecord]:
    """A chain from its first record to the newest."""
    records: list[common.AuditRecord] = []
    for sequence in range(1, length + 1):
        members = {
            "action": "version.promoted",
            "actor": "ada",
            "after_digest": salted(SALT, '{"stage":"Staging"}'),
            "before_digest": salted(SALT, '{"stage":"None"}'),
            "create_time": "2026-11-26T10:00:00.007Z",
            "credential_kind": "NONE",
            "peer_digest": salted(SALT, "ipv4:10.0.0.1"),
            "reason_digest": salted(SALT, "better"),
            "resource_id": "m1",
            "resource_name": "bikes",
            "resource_type": "version",
            "version_number": 3,
            "workspace": "default",
        }
        record = common.AuditRecord(
            chain=CHAIN,
            sequence=sequence,
            workspace="default",
            resource_type="version",
            resource_id="m1",
            resource_name="bikes",
            version_number=3,
            action="version.promoted",
            actor="ada",
            credential_kind=common.CREDENTIAL_KIND_NONE,
            before='{"stage":"None"}',
            before_salt=SALT,
            after='{"stage":"Staging"}',
            after_salt=SALT,
            reason="better",
            reason_salt=SALT,
            peer="ipv4:10.0.0.1",
            peer_salt=SALT,
            body=json.dumps(members, sort_keys=True, separators=(",", ":")),
            digest_version=1,
            previous_digest=records[-1].digest if records else "",
        )
        record.create_time.FromMilliseconds(1_795_687_200_007)
        record.digest = digest_of(record)
        records.append(record)
    return records


def test_the_example_of_the_contract_has_its_digest() -> None:
    record = common.AuditRecord(
        chain=CHAIN,
        sequence=1,
        action="model.created",
        body='{"action":"model.created"}',
        digest_version=1,
        digest="6af2c6c65c92b198dcbfec8643d2b69f634a2a59c3d6ddb33dd191a5911c946c",
    )

    assert verification_of([record]).intact


def test_a_whole_chain_is_intact() -> None:
    records = a_chain(5)

    found = verification_of(reversed(records))

    assert (found.intact, found.chain, found.record_count) == (True, CHAIN, 5)
    assert (found.last_digest, found.broken_sequence) == (records[-1].digest, 0)


def test_no_records_at_all_are_a_problem() -> None:
    found = verification_of([])

    assert (found.intact, found.record_count, found.broken_sequence) == (False, 0, 1)
    assert found.problem == "the model has no audit records, but each model has at least one: they were removed"


def test_each_text_may_have_been_erased_with_its_salt() -> None:
    records = a_chain(4)
    for record, name in zip(records, TEXTS, strict=True):
        setattr(record, name, "")
        setattr(record, f"{name}_salt", "")

    found = verification_of(reversed(records))

    assert (found.intact, found.erased_count) == (True, 4)


def test_an_erased_text_is_named_in_its_record() -> None:
    (record,) = a_chain(1)
    record.reason = record.reason_salt = ""
    record.peer = record.peer_salt = ""

    answer = registry.ListAuditRecordsResponse(records=[record])
    with scripted({registry.rpcs.LIST_AUDIT_RECORDS: [answer]}) as (client, _):
        assert client.audit.list("bikes")[0].erased == ("reason", "peer")


def test_a_part_of_a_text_that_was_moved_into_the_salt_is_named() -> None:
    records = a_chain(2)
    text = "better\nthan version 2"
    records[1].body = records[1].body.replace(salted(SALT, "better"), salted(SALT, text))
    records[1].digest = digest_of(records[1])
    records[1].reason_salt, records[1].reason = f"{SALT}\nbetter", "than version 2"

    problem = verification_of(reversed(records)).problem

    assert problem == "record 2 has a reason_salt that is not 64 lower-case hexadecimal characters"


def hostile_time(record: common.AuditRecord) -> None:
    record.create_time.seconds = 2**62


def hostile_nanos(record: common.AuditRecord) -> None:
    record.create_time.nanos += 1


def no_time(record: common.AuditRecord) -> None:
    record.ClearField("create_time")


def no_credential(record: common.AuditRecord) -> None:
    record.credential_kind = common.CREDENTIAL_KIND_UNSPECIFIED


def unknown_credential(record: common.AuditRecord) -> None:
    record.credential_kind = 99  # type: ignore[assignment]


def another_credential(record: common.AuditRecord) -> None:
    record.credential_id = "0" * 32


def deep_body(record: common.AuditRecord) -> None:
    record.body = "[" * 100_000


def body_with_a_member_twice(record: common.AuditRecord) -> None:
    record.body = record.body.replace("{", '{"actor":"eve",', 1)


def body_that_is_a_list(record: common.AuditRecord) -> None:
    record.body = "[]"


def body_with_a_member_of_another_type(record: common.AuditRecord) -> None:
    record.body = record.body.replace('"version_number":3', '"version_number":3.0')


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (hostile_time, "shows another create_time than the digest covers"),
        (hostile_nanos, "shows another create_time than the digest covers"),
        (no_time, "shows another create_time than the digest covers"),
        (no_credential, "shows another credential_kind than the digest covers"),
        (unknown_credential, "shows another credential_kind than the digest covers"),
        (another_credential, "shows another credential_id than the digest covers"),
        (deep_body, "has a body that is not JSON"),
        (body_with_a_member_twice, "has a body with the member 'actor' twice"),
        (body_that_is_a_list, "has a body that is not a JSON object"),
        (body_with_a_member_of_another_type, "shows another version_number than the digest covers"),
    ],
)
def test_a_hostile_record_is_named_and_raises_nothing(
    damage: Callable[[common.AuditRecord], None], problem: str
) -> None:
    records = a_chain(2)
    damage(records[1])
    records[1].digest = digest_of(records[1])

    found = verification_of(reversed(records))

    assert (found.broken_sequence, found.problem) == (2, f"record 2 {problem}")


@pytest.mark.parametrize("field", [*TEXTS, *(f"{name}_salt" for name in TEXTS)])
@pytest.mark.parametrize("value", ["", "6b" * 32])
def test_a_text_that_is_not_the_one_that_was_digested_is_named(field: str, value: str) -> None:
    records = a_chain(3)
    setattr(records[1], field, value)

    found = verification_of(reversed(records))

    name = field.removesuffix("_salt")
    assert (found.broken_sequence, found.problem) == (2, f"record 2 shows another {name} than the digest covers")


def test_a_text_of_which_there_is_no_digest_is_named() -> None:
    (record,) = a_chain(1)
    members = json.loads(record.body)
    del members["before_digest"]
    record.body = json.dumps(members, sort_keys=True, separators=(",", ":"))
    record.digest = digest_of(record)

    assert verification_of([record]).problem == "record 1 shows another before than the digest covers"


def test_members_that_this_client_does_not_know_are_covered_too() -> None:
    (record,) = a_chain(1)
    record.body = record.body.replace("{", '{"approvals":2,', 1)
    record.digest = digest_of(record)

    assert verification_of([record]).intact


def edit_body(records: list[common.AuditRecord]) -> None:
    records[2].body = records[2].body.replace("bikes", "trikes")


def edit_field(records: list[common.AuditRecord]) -> None:
    records[2].actor = "eve"


def edit_reason(records: list[common.AuditRecord]) -> None:
    records[2].reason = "worse"


def edit_and_digest_anew(records: list[common.AuditRecord]) -> None:
    records[2].body = records[2].body.replace("bikes", "trikes")
    records[2].resource_name = "trikes"
    records[2].digest = digest_of(records[2])


def remove(records: list[common.AuditRecord]) -> None:
    del records[2]


def remove_the_first(records: list[common.AuditRecord]) -> None:
    del records[0]


def swap(records: list[common.AuditRecord]) -> None:
    records[2], records[3] = records[3], records[2]


def move_to_another_chain(records: list[common.AuditRecord]) -> None:
    records[2].chain = "models/m2"
    records[2].digest = digest_of(records[2])


def take_an_unknown_version(records: list[common.AuditRecord]) -> None:
    records[2].digest_version = 2


@pytest.mark.parametrize(
    ("damage", "sequence", "problem"),
    [
        (edit_body, 3, "does not have the digest of its content"),
        (edit_field, 3, "shows another actor than the digest covers"),
        (edit_reason, 3, "shows another reason than the digest covers"),
        (edit_and_digest_anew, 4, "record 4 follows another digest than that of record 3"),
        (remove, 3, "record 3 is missing: record 4 follows record 2"),
        (remove_the_first, 1, "record 1 is missing: the chain begins with record 2"),
        (swap, 3, "record 3 is missing: record 4 follows record 2"),
        (move_to_another_chain, 3, "belongs to the chain 'models/m2'"),
        (take_an_unknown_version, 3, "digest version 2, which this client does not know"),
    ],
)
def test_the_first_record_that_does_not_fit_is_named(
    damage: Callable[[list[common.AuditRecord]], None], sequence: int, problem: str
) -> None:
    records = a_chain(6)
    damage(records)

    found = verification_of(reversed(records))

    assert not found.intact
    assert problem in found.problem
    assert found.broken_sequence == sequence


def test_a_client_verifies_what_it_is_sent_page_by_page() -> None:
    records = [*reversed(a_chain(3))]
    pages = [
        registry.ListAuditRecordsResponse(records=records[:2], next_page_token="t"),
        registry.ListAuditRecordsResponse(records=records[2:]),
    ]

    with scripted({registry.rpcs.LIST_AUDIT_RECORDS: [*pages, *pages]}) as (client, server):
        found = client.audit.verify("bikes")
        read = client.audit.list("bikes", page_size=2)[0]

    assert (found.intact, found.record_count) == (True, 3)
    assert {(request.workspace, request.model_name) for request in server.requests} == {("default", "bikes")}
    assert (read.actor, read.credential_kind, read.after, read.version_number) == (
        "ada",
        "NONE",
        {"stage": "Staging"},
        3,
    )
    assert (read.before_text, read.before_salt) == ('{"stage":"None"}', SALT)
    assert (read.after_text, read.after_salt) == ('{"stage":"Staging"}', SALT)
    assert read.digest == records[0].digest


@pytest.mark.parametrize("before", ["x", "[1]", '{"a":1', "[" * 100_000, "1" * 5_000, "null"])
@pytest.mark.parametrize("name", ["before", "after"])
def test_a_state_that_is_no_json_object_is_told_with_its_record(name: str, before: str) -> None:
    record = common.AuditRecord(chain=CHAIN, sequence=7)
    setattr(record, name, before)
    answer = registry.ListAuditRecordsResponse(records=[record])

    with (
        scripted({registry.rpcs.LIST_AUDIT_RECORDS: [answer]}) as (client, _),
        pytest.raises(DataLoss, match=f"record 7 of '{CHAIN}', whose {name} is no JSON") as told,
    ):
        list(client.audit.list("bikes"))

    assert told.value.reason == "ANSWER_MALFORMED"
