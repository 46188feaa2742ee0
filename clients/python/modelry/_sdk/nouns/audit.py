"""The record of every change in the registry, and its verification."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import name_of, version_number
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.common import v1 as common
from modelry.api.registry import v1 as registry

_DIGEST_VERSION = 1
_REPEATED = (
    "workspace",
    "resource_type",
    "resource_id",
    "resource_name",
    "version_number",
    "action",
    "actor",
    "trace_id",
)
"""The fields of a record that repeat a member of its body as it is."""
_ERASABLE = ("before", "after", "reason", "peer")
"""The fields of a record of which the body has only a salted digest."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change: who did what, when, why and from where, and the state before and after.

    `before_text` and `after_text` are the JSON texts of `before` and `after`. The body has a salted digest of each of
    them, of `reason` and of `peer`; a text that was erased is empty, and so is its salt.
    `sequence` counts from 1 without gaps within `chain`. `version_number` is 0 if the model itself was changed.
    `credential_kind` says how the actor proved who it is, such as NONE or API_TOKEN. `digest` covers `body` and the
    digest before it; `Audit.verify` recomputes it.
    """

    chain: str
    sequence: int
    workspace: str
    resource_type: str
    resource_id: str
    resource_name: str
    version_number: int
    action: str
    actor: str
    credential_kind: str
    create_time: datetime | None
    before: Mapping[str, Any]
    before_text: str
    before_salt: str
    after: Mapping[str, Any]
    after_text: str
    after_salt: str
    reason: str
    reason_salt: str
    peer: str
    peer_salt: str
    trace_id: str
    body: str
    digest_version: int
    previous_digest: str
    digest: str


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What a verification of a chain found.

    `broken_sequence` is the first record that does not fit, and `problem` says why; they are 0 and empty if the chain
    is intact. `last_digest` covers the whole chain: note it down elsewhere, and compare it later, to notice that the
    newest records were removed or that the whole chain was written anew.
    """

    chain: str
    record_count: int
    last_digest: str
    broken_sequence: int
    problem: str

    @property
    def intact(self) -> bool:
        """Whether every record fits."""
        return not self.problem


@arguments.texts_checked
class Audit:
    """Reads and verifies audit records."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def list(
        self,
        name: str = "",
        version: int | str | None = None,
        *,
        model_id: str = "",
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[AuditRecord]:
        """Lists the records of a model, or of one of its versions, the newest first.

        With `model_id` instead of the name also those of a deleted model. Raises ModelNotFound when the list is read.
        """
        number = 0 if version is None else version_number(version)

        def fetch(size: int, token: str) -> tuple[Iterable[AuditRecord], str]:
            records, next_page_token = self._page(name, model_id, number, size, token)
            return map(_record_of, records), next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def verify(self, name: str = "", *, model_id: str = "") -> AuditVerification:
        """Recomputes the chain of a model here, from what the server sends. Raises ModelNotFound.

        It notices records that were edited, removed, inserted or moved. It can't notice that the newest records were
        removed, or that the whole chain was written anew: see `AuditVerification.last_digest`.
        """

        def fetch(size: int, token: str) -> tuple[Iterable[common.AuditRecord], str]:
            return self._page(name, model_id, 0, size, token)

        return verification_of(listed_by(fetch, max_results=None, page_size=1000))

    def _page(
        self, name: str, model_id: str, number: int, size: int, token: str
    ) -> tuple[Iterable[common.AuditRecord], str]:
        request = registry.ListAuditRecordsRequest(
            workspace=self._workspace,
            model_name=name,
            model_id=model_id,
            version_number=number,
            page_size=size,
            page_token=token,
        )
        page = self._connection.call(registry.rpcs.LIST_AUDIT_RECORDS, request)
        return page.records, page.next_page_token


def verification_of(records: Iterable[common.AuditRecord]) -> AuditVerification:
    """Verifies a whole chain, given from the newest record to the first, by the rule of `audit_record.proto`."""
    chain, last_digest, count = "", "", 0
    broken, problem = 0, ""
    newer: common.AuditRecord | None = None
    for record in records:
        count += 1
        if newer is None:
            chain, last_digest = record.chain, record.digest
        elif record.sequence >= newer.sequence:
            broken, problem = record.sequence, f"record {record.sequence} comes after record {newer.sequence}"
        elif newer.sequence != record.sequence + 1:
            missing = newer.sequence - 1
            broken, problem = missing, f"record {missing} is missing; record {record.sequence} comes instead"
        elif newer.previous_digest != record.digest:
            broken = newer.sequence
            problem = f"record {broken} follows another digest than that of record {record.sequence}"
        wrong = f"belongs to the chain {record.chain!r}" if record.chain != chain else _problem_of(record)
        if wrong:
            broken, problem = record.sequence, f"record {record.sequence} {wrong}"
        newer = record
    if newer is not None and newer.sequence != 1:
        broken, problem = 1, f"record 1 is missing; the chain begins with record {newer.sequence}"
    elif newer is not None and newer.previous_digest:
        broken, problem = 1, "record 1 follows another record"
    return AuditVerification(chain, count, last_digest, broken, problem)


def _problem_of(record: common.AuditRecord) -> str:
    """What is wrong with a record by itself; empty if nothing is."""
    if record.digest_version != _DIGEST_VERSION:
        return f"has digest version {record.digest_version}, which this client does not know; use a newer client"
    covered = f"modelry-audit-v1\n{record.chain}\n{record.sequence}\n{record.previous_digest}\n{record.body}".encode()
    if hashlib.sha256(covered).hexdigest() != record.digest:
        return "does not have the digest of its content"
    try:
        body = json.loads(record.body)
    except ValueError:
        return "has a body that is not JSON"
    if not isinstance(body, dict):
        return "has a body that is not a JSON object"
    wrong = [name for name, value in _expected(record).items() if body.get(name, type(value)()) != value]
    wrong += [name for name in _ERASABLE if not _is_covered(record, name, body)]
    return f"shows another {wrong[0]} than the digest covers" if wrong else ""


def _expected(record: common.AuditRecord) -> dict[str, Any]:
    """The members of the body that the fields of a record repeat."""
    expected: dict[str, Any] = {name: getattr(record, name) for name in _REPEATED}
    kind = name_of(common.CredentialKind, record.credential_kind)
    if not kind.startswith("UNKNOWN"):
        expected["credential_kind"] = kind
    time = time_of(record, "create_time")
    if time is not None:
        expected["create_time"] = f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"
    return expected


def _is_covered(record: common.AuditRecord, name: str, body: Mapping[str, Any]) -> bool:
    """Whether a text is the one that was digested. One that was erased together with its salt counts as covered."""
    text, salt = getattr(record, name), getattr(record, f"{name}_salt")
    if not text and not salt:
        return True
    return body.get(f"{name}_digest") == hashlib.sha256(f"{salt}\n{text}".encode()).hexdigest()


def _record_of(message: common.AuditRecord) -> AuditRecord:
    return AuditRecord(
        chain=message.chain,
        sequence=message.sequence,
        workspace=message.workspace,
        resource_type=message.resource_type,
        resource_id=message.resource_id,
        resource_name=message.resource_name,
        version_number=message.version_number,
        action=message.action,
        actor=message.actor,
        credential_kind=name_of(common.CredentialKind, message.credential_kind),
        create_time=time_of(message, "create_time"),
        before=json.loads(message.before or "{}"),
        before_text=message.before,
        before_salt=message.before_salt,
        after=json.loads(message.after or "{}"),
        after_text=message.after,
        after_salt=message.after_salt,
        reason=message.reason,
        reason_salt=message.reason_salt,
        peer=message.peer,
        peer_salt=message.peer_salt,
        trace_id=message.trace_id,
        body=message.body,
        digest_version=message.digest_version,
        previous_digest=message.previous_digest,
        digest=message.digest,
    )
