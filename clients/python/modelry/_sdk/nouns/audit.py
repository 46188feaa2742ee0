"""The records of every change in the registry and in access, and their verification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import name_of, version_number
from modelry._sdk.nouns.lazy_list import LARGEST_PAGE, LazyList, each_of, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.nouns.verification import AuditVerification, erased_texts, verification_of
from modelry._sdk.transport.answers import malformed
from modelry._sdk.transport.connection import Connection
from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry.api.access import v1 as access
from modelry.api.common import v1 as common
from modelry.api.registry import v1 as registry


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change: who did what, when, why and from where, and the state before and after.

    `before_text` and `after_text` are the JSON texts of `before` and `after`. The body has a salted digest of each of
    them, of `reason` and of `peer`; a text that was erased is empty, and so is its salt.
    `sequence` counts from 1 without gaps within `chain`. `version_number` is 0 if the model itself was changed.
    `resource_name` is empty for a principal, since its name may have to be erased: `after` of its creation has it.
    `erased` names the texts that were erased.
    `credential_kind` says how the actor proved who it is, such as NONE or API_TOKEN, and `credential_id` by which
    credential: the id of an API token, or a digest of another credential. `digest` covers `body` and the digest before
    it; `Audit.verify` recomputes it.
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
    credential_id: str
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
    erased: tuple[str, ...]


@arguments.texts_checked
class Audit:
    """Reads and verifies audit records."""

    def __init__(self, connection: Connection, workspace: str, access_connection: Connection) -> None:
        self._connection = connection
        self._workspace = workspace
        self._access_connection = access_connection

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

        With `model_id` instead of the name also those of a deleted model. Raises ModelNotFound when the list is read,
        and DataLoss if a state in a record is no JSON object: `verify` says which record was changed.
        """
        number = 0 if version is None else version_number(version)

        def fetch(size: int, token: str) -> tuple[Iterable[AuditRecord], str]:
            records, next_page_token = self._page(name, model_id, number, size, token)
            return map(_record_of, records), next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def verify(self, name: str = "", *, model_id: str = "") -> AuditVerification:
        """Recomputes the chain of a model here, from what the server sends. Raises ModelNotFound.

        It notices records that were edited, removed, inserted or moved, and that all were removed. It can't notice that
        the newest records were removed, or that the whole chain was written anew: see
        `AuditVerification.last_digest`.
        """

        def fetch(size: int, token: str) -> tuple[Iterable[common.AuditRecord], str]:
            return self._page(name, model_id, 0, size, token)

        return verification_of(each_of(fetch, None, LARGEST_PAGE))

    def list_access(
        self,
        resource_type: str = "",
        resource_id: str = "",
        *,
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[AuditRecord]:
        """Lists the records of all changes in access, the newest first.

        `resource_type` is `workspace`, `principal`, `group`, `token`, `role` or `role_binding`: only records of this
        kind of thing. `resource_id` is the id of one of them, or its name where names identify. Raises FieldInvalid
        when the list is read, PermissionMissing, and DataLoss as `list` does.
        """

        def fetch(size: int, token: str) -> tuple[Iterable[AuditRecord], str]:
            records, next_page_token = self._access_page(resource_type, resource_id, size, token)
            return map(_record_of, records), next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def verify_access(self) -> AuditVerification:
        """Recomputes the chain of access here, as `verify` does that of a model. Raises PermissionMissing."""

        def fetch(size: int, token: str) -> tuple[Iterable[common.AuditRecord], str]:
            return self._access_page("", "", size, token)

        return verification_of(each_of(fetch, None, LARGEST_PAGE), "installation")

    def _access_page(
        self, resource_type: str, resource_id: str, size: int, token: str
    ) -> tuple[Iterable[common.AuditRecord], str]:
        request = access.ListAuditRecordsRequest(
            resource_type=resource_type, resource_id=resource_id, page_size=size, page_token=token
        )
        page = self._access_connection.call(access.rpcs.LIST_AUDIT_RECORDS, request)
        return page.records, page.next_page_token

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
        credential_id=message.credential_id,
        create_time=time_of(message, "create_time"),
        before=_state_of(message, "before"),
        before_text=message.before,
        before_salt=message.before_salt,
        after=_state_of(message, "after"),
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
        erased=erased_texts(message),
    )


def _state_of(message: common.AuditRecord, name: str) -> Mapping[str, Any]:
    try:
        return json_object_of(getattr(message, name) or "{}")
    except Unreadable as problem:
        raise malformed(f"record {message.sequence} of {message.chain[:200]!r}, whose {name} {problem}") from None
