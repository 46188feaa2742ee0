"""Audit records as the contract has them, for the services that write some."""

from dataclasses import fields
from typing import Any

from modelry.api.common import v1 as common
from modelry_server.kernel.audit import Record

_STORED = tuple(field.name for field in fields(Record))  # the message has all of it under the same names
_KNOWN = frozenset(common.AuditRecord.DESCRIPTOR.fields_by_name)


def message(record: Record) -> common.AuditRecord:
    """The record as the contract has it. What repeats the body is read from it, so it is what was hashed."""
    members: dict[str, Any] = dict(record.members())
    create_time, kind = members.pop("create_time"), members.pop("credential_kind", "")
    repeated = {name: value for name, value in members.items() if name in _KNOWN}
    stored = {name: getattr(record, name) for name in _STORED}
    result = common.AuditRecord(**repeated | stored, credential_kind=_credential_kind(kind))
    result.create_time.FromJsonString(create_time)
    return result


def _credential_kind(name: str) -> common.CredentialKind.ValueType:
    try:
        return common.CredentialKind.Value(f"CREDENTIAL_KIND_{name}")
    except ValueError:  # of a later version
        return common.CREDENTIAL_KIND_UNSPECIFIED
