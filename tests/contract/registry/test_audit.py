from __future__ import annotations

import hashlib
import json

import pytest

from modelry.api.common import v1 as common
from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import WORKSPACE, Platform, of_run, unique
from tests.parts.refusal import refused


def records(platform: Platform, **fields: object) -> list[common.AuditRecord]:
    """The records of a model, the oldest first, read by pages."""
    request = api.ListAuditRecordsRequest(workspace=WORKSPACE, page_size=2, **fields)  # type: ignore[arg-type]
    found: list[common.AuditRecord] = []
    while True:
        page = platform.audit.ListAuditRecords(request)
        found += page.records
        if not page.next_page_token:
            return found[::-1]
        request.page_token = page.next_page_token


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def broken_at(chain: str, listed: list[common.AuditRecord]) -> int:
    """The place of the first record that a client finds broken by the contract's rule alone; 0 if there is none."""
    previous = ""
    for number, record in enumerate(listed, start=1):
        text = f"modelry-audit-v1\n{chain}\n{number}\n{previous}\n{record.body}"
        if record.digest_version != 1 or record.digest != sha256(text):
            return number
        previous = record.digest
    return 0


def assert_repeats_its_body(record: common.AuditRecord) -> None:
    """The fields of a record repeat what was hashed, and the texts are what the body commits to."""
    body = json.loads(record.body)
    texts = ("before", "after", "reason", "peer")
    digests = {f"{name}_digest" for name in texts}
    repeated = {
        *(
            "action",
            "actor",
            "credential_id",
            "resource_id",
            "resource_name",
            "resource_type",
            "trace_id",
            "version_number",
        ),
        "workspace",
    }
    assert set(body) <= repeated | digests | {"create_time", "credential_kind"}
    for name in repeated:
        assert getattr(record, name) == body.get(name, type(getattr(record, name))())
    assert record.create_time.ToJsonString() in (body["create_time"], body["create_time"].replace(".000Z", "Z"))
    assert common.CredentialKind.Name(record.credential_kind) == f"CREDENTIAL_KIND_{body['credential_kind']}"
    for name in texts:
        text, salt = getattr(record, name), getattr(record, f"{name}_salt")
        assert (body.get(f"{name}_digest", ""), len(salt)) == ((sha256(f"{salt}\n{text}"), 64) if text else ("", 0))


def test_every_change_is_on_record_with_who_what_why_and_from_where(platform: Platform) -> None:
    model = platform.a_model(description="größer")
    version = platform.a_version(model.name, reason="first one", tags={"k": "v"})
    platform.promote(version, "Staging", reason="try it")
    trace = "0af7651916cd43dd8448eb211c80319c"
    platform.aliases.SetAlias(
        api.SetAliasRequest(workspace=WORKSPACE, model_name=model.name, alias="champion", version_number=1),
        metadata=(("modelry-subject", "ada"), ("traceparent", f"00-{trace}-b7ad6b7169203331-01")),
    )

    found = records(platform, model_name=model.name)

    assert [(each.action, each.version_number, each.actor, each.reason) for each in found] == [
        ("model.created", 0, "anonymous", ""),
        ("version.created", 1, "anonymous", "first one"),
        ("version.promoted", 1, "anonymous", "try it"),
        ("alias.set", 1, "ada", ""),
    ]
    assert [(each.resource_type, each.resource_id) for each in found] == [
        ("model", model.model_id),
        *[("version", version.version_id)] * 3,
    ]
    assert json.loads(found[1].after) == {
        "version_id": version.version_id,
        "source": f"runs:/{version.run_id}/model",
        "run_id": version.run_id,
        "manifest_sha256": version.manifest_sha256,
        "file_count": 2,
        "size_bytes": 1012,
        "description": "",
        "tags": {"k": "v"},
    }
    assert {each.credential_kind for each in found} == {common.CREDENTIAL_KIND_NONE}
    assert found[-1].trace_id == trace
    assert all(each.peer and len(each.trace_id) == 32 for each in found)
    for each in found:
        assert_repeats_its_body(each)


def test_a_client_recomputes_the_chain_from_the_contract_alone(platform: Platform) -> None:
    model = platform.a_model(description='quotes " and \\ and \n and 🦉')
    for number in range(5):
        given = api.Model(model_id=model.model_id, description=str(number))
        platform.models.UpdateModel(api.UpdateModelRequest(model=given, reason=f"reason {number}"))

    found = records(platform, model_name=model.name)

    assert {each.chain for each in found} == {f"models/{model.model_id}"}
    assert [each.sequence for each in found] == list(range(1, 7))
    assert [each.previous_digest for each in found] == ["", *(each.digest for each in found[:-1])]
    assert broken_at(f"models/{model.model_id}", found) == 0
    edited = [*found]
    edited[2] = common.AuditRecord()
    edited[2].CopyFrom(found[2])
    edited[2].body = edited[2].body.replace("anonymous", "somebody")
    assert broken_at(f"models/{model.model_id}", edited) == 3
    assert broken_at(f"models/{model.model_id}", [*found[:1], *found[2:]]) == 2
    assert broken_at(f"models/{model.model_id}", [found[0], found[2], found[1], *found[3:]]) == 2
    assert broken_at(f"models/{new_id()}", found) == 1


def test_the_name_of_the_actor_may_have_any_letters(platform: Platform) -> None:
    who = (("modelry-subject", "%E7%8E%8B%E6%98%8E%20%25"),)
    name, run_id = unique("model"), platform.a_run()
    made = platform.models.CreateModel(api.CreateModelRequest(workspace=WORKSPACE, name=name), metadata=who).model
    request = api.CreateVersionRequest(workspace=WORKSPACE, model_name=name, source=of_run(run_id, "model"))
    version = platform.versions.CreateVersion(request, metadata=who).version

    found = records(platform, model_name=name)

    assert (made.creator, version.creator) == ("王明 %", "王明 %")
    assert [each.actor for each in found] == ["王明 %"] * 2
    assert broken_at(f"models/{made.model_id}", found) == 0


def test_a_promotion_that_archives_is_a_record_for_each_version_that_moved(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    moves = [platform.promote(platform.a_version(model, run_id), "Production", archive_existing=True) for _ in range(2)]

    found = [each for each in records(platform, model_name=model) if each.action == "version.promoted"]

    after = [json.loads(each.after) for each in found]
    assert [
        (each.version_number, json.loads(each.before), said["stage"]) for each, said in zip(found, after, strict=True)
    ] == [
        (1, {"stage": "None"}, "Production"),
        (2, {"stage": "None"}, "Production"),
        (1, {"stage": "Production"}, "Archived"),
    ]
    assert after[1]["archived_version_numbers"] == [1]
    assert after[1]["promotion_id"] == moves[1].promotion.promotion_id
    by_version = [each.action for each in records(platform, model_name=model, version_number=2)]
    assert by_version == ["version.created", "version.promoted"]


def test_the_records_of_a_deleted_model_stay(platform: Platform) -> None:
    made = platform.a_model()
    platform.a_version(made.name)
    request = api.DeleteModelRequest(workspace=WORKSPACE, model_name=made.name, reason="over")
    platform.models.DeleteModel(request)

    found = records(platform, model_id=made.model_id)

    assert [each.action for each in found] == ["model.created", "version.created", "model.deleted"]
    assert (found[-1].reason, json.loads(found[-1].before)["name"]) == ("over", made.name)
    assert broken_at(f"models/{made.model_id}", found) == 0
    by_name = api.ListAuditRecordsRequest(workspace=WORKSPACE, model_name=made.name)
    assert refused(platform.audit.ListAuditRecords, by_name).reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "FIELD_INVALID"),
        ({"workspace": "", "model_id": "0" * 32}, "FIELD_INVALID"),
        ({"model_name": "fraud", "model_id": "0" * 32}, "FIELD_INVALID"),
        ({"model_id": "x"}, "FIELD_INVALID"),
        ({"model_name": "fraud", "page_size": -1}, "FIELD_INVALID"),
        ({"model_name": "fraud", "page_token": "x"}, "PAGE_TOKEN_INVALID"),
        ({"model_name": unique("none")}, "MODEL_NOT_FOUND"),
        ({"model_id": new_id()}, "MODEL_NOT_FOUND"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    platform: Platform, fields: dict[str, object], reason: str
) -> None:
    request = api.ListAuditRecordsRequest(**({"workspace": WORKSPACE} | fields))  # type: ignore[arg-type]

    assert refused(platform.audit.ListAuditRecords, request).reason == reason


def test_a_negative_version_number_is_refused(platform: Platform) -> None:
    name = platform.a_model().name
    request = api.ListAuditRecordsRequest(workspace=WORKSPACE, model_name=name, version_number=-1)

    assert list(refused(platform.audit.ListAuditRecords, request).violations) == ["version_number"]
