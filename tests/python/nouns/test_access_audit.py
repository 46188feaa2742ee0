from __future__ import annotations

import pytest

from modelry import Client
from modelry.api.access import v1 as access
from modelry.errors import FieldInvalid
from tests.python.registry_script import scripted


def test_each_change_in_access_has_a_record(client: Client, unique: str) -> None:
    client.groups.create(unique)
    client.groups.update(unique, description="ours")

    found = client.audit.list_access("group", unique, page_size=1)

    assert [each.action for each in found] == ["group.updated", "group.created"]
    assert (found[0].chain, found[0].resource_id, found[0].after) == ("access", unique, {"description": "ours"})
    assert client.audit.list_access(max_results=1)[0].sequence >= found[0].sequence
    with pytest.raises(FieldInvalid, match="resource_type"):
        list(client.audit.list_access("moon"))


def test_the_chain_of_access_is_verified_here(client: Client, unique: str) -> None:
    client.groups.create(unique)

    found = client.audit.verify_access()

    assert (found.problem, found.chain) == ("", "access")
    assert found.record_count >= 1


def test_an_empty_chain_of_access_is_a_problem() -> None:
    with scripted({access.rpcs.LIST_AUDIT_RECORDS: [access.ListAuditRecordsResponse()]}) as (client, _):
        found = client.audit.verify_access()

    assert found.problem.startswith("the installation has no audit records")
