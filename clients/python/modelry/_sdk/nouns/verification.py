"""The verification of a chain of audit records, by the rule of `audit_record.proto`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelry._sdk.nouns.enums import name_of
from modelry._sdk.values.foreign import Unreadable, json_of
from modelry.api.common import v1 as common

_DIGEST_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SALT = re.compile(r"[0-9a-f]{64}")
_REPEATED = (
    "workspace",
    "resource_type",
    "resource_id",
    "resource_name",
    "version_number",
    "action",
    "actor",
    "credential_id",
    "trace_id",
)
"""The fields of a record that repeat a member of its body as it is."""
_ERASABLE = ("before", "after", "reason", "peer")
"""The fields of a record of which the body has only a salted digest."""


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What a verification of a chain found.

    `broken_sequence` is the first record that does not fit, and `problem` says why; they are 0 and empty if the chain
    is intact. `last_digest` covers the whole chain: note it down elsewhere, and compare it later, to notice that the
    newest records were removed or that the whole chain was written anew. `erased_count` is the number of texts that
    were erased: the chain stays intact without them.
    """

    chain: str
    record_count: int
    last_digest: str
    broken_sequence: int
    problem: str
    erased_count: int

    @property
    def intact(self) -> bool:
        """Whether every record fits."""
        return not self.problem


def verification_of(records: Iterable[common.AuditRecord], owner: str = "model") -> AuditVerification:
    """Verifies a whole chain, given from the newest record to the first, by the rule of `audit_record.proto`.

    No records are a problem: each `owner` of a chain has written the first. Raises nothing, whatever the records hold.
    """
    chain, last_digest, count, erased = "", "", 0, 0
    broken, problem = 0, ""
    newer: common.AuditRecord | None = None
    for record in records:
        count += 1
        body = _body_of(record)
        if newer is None:
            chain, last_digest = record.chain, record.digest
        elif record.sequence >= newer.sequence:
            broken, problem = record.sequence, f"record {record.sequence} comes after record {newer.sequence}"
        elif newer.sequence != record.sequence + 1:
            broken = record.sequence + 1
            problem = f"record {broken} is missing: record {newer.sequence} follows record {record.sequence}"
        elif newer.previous_digest != record.digest:
            broken = newer.sequence
            problem = f"record {broken} follows another digest than that of record {record.sequence}"
        wrong = f"belongs to the chain {record.chain!r}" if record.chain != chain else _problem_of(record, body)
        if wrong:
            broken, problem = record.sequence, f"record {record.sequence} {wrong}"
        erased += len(_missing(record, body))
        newer = record
    if newer is None:
        broken, problem = 1, f"the {owner} has no audit records, but each {owner} has at least one: they were removed"
    elif newer.sequence != 1:
        broken, problem = 1, f"record 1 is missing: the chain begins with record {newer.sequence}"
    elif newer.previous_digest:
        broken, problem = 1, "record 1 follows another record"
    return AuditVerification(chain, count, last_digest, broken, problem, erased)


def erased_texts(record: common.AuditRecord) -> tuple[str, ...]:
    """The names of the texts of a record that were erased."""
    return _missing(record, _body_of(record))


def _problem_of(record: common.AuditRecord, body: Mapping[str, Any] | str) -> str:
    """What is wrong with a record by itself; empty if nothing is."""
    if record.digest_version != _DIGEST_VERSION:
        return f"has digest version {record.digest_version}, which this client does not know; use a newer client"
    covered = f"modelry-audit-v1\n{record.chain}\n{record.sequence}\n{record.previous_digest}\n{record.body}".encode()
    if hashlib.sha256(covered).hexdigest() != record.digest:
        return "does not have the digest of its content"
    if isinstance(body, str):
        return body
    expected = _expected(record)
    for name, value in expected.items():
        given = body.get(name, type(value)())
        if type(given) is not type(value) or given != value:
            return f"shows another {name} than the digest covers"
    for name in _ERASABLE:
        salt = getattr(record, f"{name}_salt")
        if salt and not _SALT.fullmatch(salt):  # else a part of the text could be moved into the salt
            return f"has a {name}_salt that is not 64 lower-case hexadecimal characters"
        if not _is_covered(record, name, body):
            return f"shows another {name} than the digest covers"
    return ""


def _body_of(record: common.AuditRecord) -> Mapping[str, Any] | str:
    """The members of the body of a record, or what is wrong with it."""
    try:
        body = json_of(record.body, members=_members)
    except _NamedTwice as twice:
        return f"has a body with the member {twice.args[0]!r} twice"
    except Unreadable:
        return "has a body that is not JSON"
    return body if isinstance(body, dict) else "has a body that is not a JSON object"


class _NamedTwice(Unreadable):
    """A JSON object has a member twice, so that readers may disagree on its value."""


def _members(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise _NamedTwice(name)
        members[name] = value
    return members


def _expected(record: common.AuditRecord) -> dict[str, Any]:
    """The members of the body that the fields of a record repeat. What is not set is empty."""
    expected: dict[str, Any] = {name: getattr(record, name) for name in _REPEATED}
    kind = record.credential_kind
    expected["credential_kind"] = name_of(common.CredentialKind, kind) if kind else ""
    expected["create_time"] = _time_text(record)
    return expected


def _time_text(record: common.AuditRecord) -> str:
    """The time of a record as its body has it; no such text for a time that a body can't have."""
    if not record.HasField("create_time"):
        return ""
    stamp = record.create_time
    milliseconds, rest = divmod(stamp.nanos, 1_000_000)
    try:
        time = _EPOCH + timedelta(seconds=stamp.seconds, milliseconds=milliseconds)
    except OverflowError:
        return f"{stamp.seconds} s"
    return f"{time.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z" if not rest else f"{stamp.nanos} ns"


def _is_covered(record: common.AuditRecord, name: str, body: Mapping[str, Any]) -> bool:
    """Whether a text is the one that was digested. One that was erased together with its salt counts as covered."""
    text, salt = getattr(record, name), getattr(record, f"{name}_salt")
    if not text and not salt:
        return True
    return body.get(f"{name}_digest") == hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def _missing(record: common.AuditRecord, body: Mapping[str, Any] | str) -> tuple[str, ...]:
    """The texts of which there is only the digest."""
    if isinstance(body, str):
        return ()
    return tuple(
        name
        for name in _ERASABLE
        if body.get(f"{name}_digest") and not getattr(record, name) and not getattr(record, f"{name}_salt")
    )
