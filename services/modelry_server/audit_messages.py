"""Audit records as the contract has them, for the services that write some."""

from collections.abc import Mapping
from typing import Any

from modelry.api.common import v1 as common
from modelry_server.kernel.audit import Record

# What the message repeats from the body, under the same names. Not all bodies have all of it.
_REPEATED = (
    *("workspace", "resource_type", "resource_id", "resource_name", "version_number"),
    *("action", "actor", "trace_id"),
)


def message(record: Record) -> common.AuditRecord:
    """The record as the contract has it. What repeats the body is read from it, so it is what was hashed."""
    members: Mapping[str, Any] = record.members()
    result = common.AuditRecord(
        chain=record.chain,
        sequence=record.sequence,
        **{name: members[name] for name in _REPEATED if name in members},
        credential_kind=_credential_kind(members.get("credential_kind", "")),
        before=record.before,
        before_salt=record.before_salt,
        after=record.after,
        after_salt=record.after_salt,
        reason=record.reason,
        reason_salt=record.reason_salt,
        peer=record.peer,
        peer_salt=record.peer_salt,
        body=record.body,
        digest_version=record.digest_version,
        previous_digest=record.previous_digest,
        digest=record.digest,
    )
    result.create_time.FromJsonString(members["create_time"])
    return result


def _credential_kind(name: str) -> common.CredentialKind.ValueType:
    try:
        return common.CredentialKind.Value(f"CREDENTIAL_KIND_{name}")
    except ValueError:  # of a later version
        return common.CREDENTIAL_KIND_UNSPECIFIED
