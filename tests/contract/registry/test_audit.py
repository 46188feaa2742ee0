from __future__ import annotations

import hashlib
import json

import pytest

from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import Platform, unique
from tests.parts.refusal import refused


def records(platform: Platform, **fields: object) -> list[api.AuditRecord]:
    """The records of a model, the oldest first, read by pages."""
    request = api.ListAuditRecordsRequest(page_size=2, **fields)  # type: ignore[arg-type]
    found: list[api.AuditRecord] = []
    while True:
        page = platform.audit.ListAuditRecords(request)
        found += page.records
        if not page.next_page_token:
            return found[::-1]
        request.page_token = page.next_page_token


def digest(record: api.AuditRecord) -> str:
    """The digest as anybody can compute it from the contract."""
    names = (
        "sequence",
        "model_id",
        "workspace",
        "model",
        "number",
        "action",
        "user",
        "before",
        "after",
        "reason",
        "peer",
    )
    fields = {name: getattr(record, name) for name in (*names, "previous_digest")}
    fields["create_time"] = record.create_time.ToMilliseconds()
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_change_is_on_record_with_who_what_why_and_from_where(platform: Platform) -> None:
    model = platform.a_model(description="größer").name
    version = platform.a_version(model, reason="first one", tags={"k": "v"})
    platform.promote(version, api.STAGE_STAGING, reason="try it")
    platform.aliases.SetAlias(
        api.SetAliasRequest(model=model, alias="champion", number=1), metadata=(("modelry-subject", "ada"),)
    )

    found = records(platform, model=model)

    assert [(each.action, each.number, each.user, each.reason) for each in found] == [
        ("model.created", 0, "anonymous", ""),
        ("version.created", 1, "anonymous", "first one"),
        ("version.promoted", 1, "anonymous", "try it"),
        ("alias.set", 1, "ada", ""),
    ]
    assert json.loads(found[1].after) == {
        "version_id": version.version_id,
        "source": version.source,
        "run_id": version.run_id,
        "manifest_sha256": version.manifest_sha256,
        "file_count": 2,
        "size_bytes": 1012,
        "description": "",
        "tags": {"k": "v"},
    }
    assert all(each.peer for each in found)
    assert [each.previous_digest for each in found] == ["", *(each.digest for each in found[:-1])]
    assert [each.digest for each in found] == [digest(each) for each in found]


def test_a_promotion_that_archives_is_a_record_for_each_version_that_moved(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    for _ in range(2):
        version = platform.a_version(model, run_id)
        platform.promote(version, api.STAGE_PRODUCTION, archive_existing=True)

    found = [each for each in records(platform, model=model) if each.action == "version.promoted"]

    assert [(each.number, json.loads(each.before), json.loads(each.after)) for each in found] == [
        (1, {"stage": "None"}, {"stage": "Production"}),
        (2, {"stage": "None"}, {"stage": "Production", "archived_numbers": [1]}),
        (1, {"stage": "Production"}, {"stage": "Archived"}),
    ]
    assert [each.action for each in records(platform, model=model, number=2)] == ["version.created", "version.promoted"]


def test_the_records_of_a_deleted_model_stay(platform: Platform) -> None:
    made = platform.a_model()
    platform.a_version(made.name)
    platform.models.DeleteModel(api.DeleteModelRequest(name=made.name, reason="over"))

    found = records(platform, model_id=made.model_id)

    assert [each.action for each in found] == ["model.created", "version.created", "model.deleted"]
    assert (found[-1].reason, json.loads(found[-1].before)["name"]) == ("over", made.name)
    by_name = api.ListAuditRecordsRequest(model=made.name)
    assert refused(platform.audit.ListAuditRecords, by_name).reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "FIELD_INVALID"),
        ({"model": "fraud", "model_id": "0" * 32}, "FIELD_INVALID"),
        ({"model_id": "x"}, "FIELD_INVALID"),
        ({"model": "fraud", "number": -1}, "FIELD_INVALID"),
        ({"model": "fraud", "page_size": -1}, "FIELD_INVALID"),
        ({"model": "fraud", "page_token": "x"}, "PAGE_TOKEN_INVALID"),
        ({"model": unique("none")}, "MODEL_NOT_FOUND"),
        ({"model_id": new_id()}, "MODEL_NOT_FOUND"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    platform: Platform, fields: dict[str, object], reason: str
) -> None:
    request = api.ListAuditRecordsRequest(**fields)  # type: ignore[arg-type]

    assert refused(platform.audit.ListAuditRecords, request).reason == reason
