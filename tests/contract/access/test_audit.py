"""What clients can observe of the record of all changes of access."""

from __future__ import annotations

import grpc
import pytest

from modelry.api.access import v1 as api
from modelry.api.common import v1 as common
from tests.parts.locked import Locked, code_of

LIST = "access.v1.AuditService/ListAuditRecords"


def test_each_change_has_its_record_with_who_made_it(site: Locked) -> None:
    eve = site.somebody("reader")
    request = api.ListAuditRecordsRequest(resource_type="principal", resource_id=eve.principal_id)

    (record,) = site.ask(LIST, request).records

    assert (record.chain, record.action, record.resource_name) == ("access", "principal.created", eve.name)
    assert record.actor == site.admin.principal_id
    assert record.credential_kind == common.CREDENTIAL_KIND_API_TOKEN


def test_the_pages_of_the_chain_have_no_gaps(site: Locked) -> None:
    site.somebody("reader")
    request = api.ListAuditRecordsRequest(page_size=3)
    sequences: list[int] = []

    while True:
        page = site.ask(LIST, request)
        sequences += [record.sequence for record in page.records]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break

    assert sequences == list(range(sequences[0], 0, -1))


def test_an_administrator_of_a_workspace_does_not_read_it(site: Locked) -> None:
    eve = site.somebody("admin", api.Place(workspace="default"))

    with pytest.raises(grpc.RpcError) as refusal:
        site.ask(LIST, api.ListAuditRecordsRequest(), eve.metadata)

    assert code_of(refusal.value) == "PERMISSION_DENIED"
