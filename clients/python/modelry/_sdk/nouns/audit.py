"""The record of every change in the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelry._sdk.nouns.enums import version_number
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry

_SERVICE = "modelry.api.registry.v1.AuditService"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change: who did what, when, why and from where, and what it was before and after.

    `sequence` counts from 1 without gaps within the model; `number` is the version's, 0 where the model itself changed.
    `digest` covers the record and the digest of the one before.
    """

    sequence: int
    model_id: str
    model: str
    number: int
    action: str
    user: str
    create_time: datetime | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str
    peer: str
    previous_digest: str
    digest: str


class Audit:
    """Reads audit records."""

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

        With `model_id` in place of the name also those of a model that was deleted. Raises ModelNotFound when the list
        is read.
        """

        def fetch(size: int, token: str) -> tuple[tuple[AuditRecord, ...], str]:
            request = registry.ListAuditRecordsRequest(
                workspace=self._workspace,
                model=name,
                model_id=model_id,
                number=number,
                page_size=size,
                page_token=token,
            )
            page = self._connection.call(f"{_SERVICE}/ListAuditRecords", request, registry.ListAuditRecordsResponse)
            return tuple(_record_of(message) for message in page.records), page.next_page_token

        number = 0 if version is None else version_number(version)
        return LazyList(paged(fetch, max_results=max_results, page_size=page_size))


def _record_of(message: registry.AuditRecord) -> AuditRecord:
    return AuditRecord(
        sequence=message.sequence,
        model_id=message.model_id,
        model=message.model,
        number=message.number,
        action=message.action,
        user=message.user,
        create_time=time_of(message, "create_time"),
        before=json.loads(message.before or "{}"),
        after=json.loads(message.after or "{}"),
        reason=message.reason,
        peer=message.peer,
        previous_digest=message.previous_digest,
        digest=message.digest,
    )
