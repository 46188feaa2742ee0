"""What holds for the record of all changes."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.registry.domain.audit import digest
from modelry_server.registry.entities import AuditRecord, Stage
from modelry_server.registry.errors import ModelExists, ModelNotFound
from tests.server.registry.conftest import Registry

ADA = caller.Caller("ada", "0" * 32, peer="ipv4:127.0.0.1:4711")


def records(registry: Registry, model: str = "fraud", number: int = 0) -> list[AuditRecord]:
    """The records of a model, the oldest first."""
    found = registry.audit.page("default", model=model, model_id="", number=number, before=None, limit=1000)
    return list(reversed(found))


def assert_chain(chain: list[AuditRecord]) -> None:
    """The records are numbered without gaps, and each holds the digest of the one before."""
    assert [record.sequence for record in chain] == list(range(1, len(chain) + 1))
    assert [record.previous_digest for record in chain] == ["", *(record.digest for record in chain[:-1])]
    assert [record.digest for record in chain] == [digest(record) for record in chain]


def test_each_change_is_one_record_with_who_when_what_why_and_from_where(registry: Registry) -> None:
    with caller.using(ADA):
        registry.a_model("fraud", tags={"team": "risk"})
        registry.models.describe("default", "fraud", {"description": "Finds fraud."}, reason="words")
        registry.models.set_tags("default", "fraud", {"team": "loss", "tier": "1"})
        registry.models.delete_tags("default", "fraud", ["tier"])
        registry.a_version("fraud")
        registry.aliases.point("default", "fraud", "champion", 1)
        registry.promotions.promote("default", "fraud", 1, Stage.STAGING, reason="try it")
        registry.aliases.delete("default", "fraud", "champion")

    found = records(registry)
    assert [(each.action, each.number, json.loads(each.before), json.loads(each.after)) for each in found] == [
        ("model.created", 0, {}, {"name": "fraud", "description": "", "tags": {"team": "risk"}}),
        ("model.updated", 0, {"description": ""}, {"description": "Finds fraud."}),
        ("model.tags_set", 0, {"team": "risk"}, {"team": "loss", "tier": "1"}),
        ("model.tags_deleted", 0, {"tier": "1"}, {}),
        ("alias.set", 1, {}, {"alias": "champion", "number": 1}),
        ("version.promoted", 1, {"stage": "None"}, {"stage": "Staging"}),
        ("alias.deleted", 1, {"alias": "champion", "number": 1}, {}),
    ]
    assert {(each.user, each.peer, each.create_time) for each in found} == {
        ("ada", "ipv4:127.0.0.1:4711", registry.clock.now())
    }
    assert [each.reason for each in found] == ["", "words", "", "", "", "try it", ""]
    assert_chain(found)


def test_the_digest_is_what_the_contract_says(registry: Registry) -> None:
    registry.a_model("fraud", description="größer")
    (record,) = records(registry)

    fields = asdict(record)
    del fields["digest"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert record.digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("field", ["action", "user", "create_time", "before", "after", "reason", "peer", "sequence"])
def test_a_record_that_was_changed_has_another_digest(field: str) -> None:
    record = AuditRecord(1, "0" * 32, "default", "fraud", 1, "alias.set", "ada", 1000, "{}", "{}", "why", "peer", "")

    other = AuditRecord(**(asdict(record) | {field: 99 if field in ("create_time", "sequence") else "other"}))

    assert digest(other) != digest(record)


def test_many_who_change_a_model_at_once_leave_one_chain(registry: Registry) -> None:
    registry.a_model("fraud")

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: registry.models.set_tags("default", "fraud", {"n": str(n)}), range(64)))

    assert len(records(registry)) == 65
    assert_chain(records(registry))


def test_a_change_that_fails_leaves_no_record_and_no_event(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_model("churn")

    with pytest.raises(ModelExists):
        registry.models.describe("default", "fraud", {"name": "churn"})

    assert [record.action for record in records(registry)] == ["model.created"]
    assert len(registry.events.page("default", "", after=0, limit=9)) == 2


def test_the_records_of_a_renamed_model_are_one_chain_with_the_names_of_their_time(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.models.describe("default", "fraud", {"name": "scam"})
    registry.models.set_tags("default", "scam", {"k": "v"})

    assert [record.model for record in records(registry, "scam")] == ["fraud", "fraud", "scam"]
    assert_chain(records(registry, "scam"))


def test_records_are_read_by_pages_and_by_version(registry: Registry) -> None:
    registry.a_model("fraud")
    for number in (1, 2):
        registry.a_version("fraud")
        registry.aliases.point("default", "fraud", "champion", number)
    model_id = registry.models.get("default", "fraud").model_id

    first = registry.audit.page("default", model="", model_id=model_id, number=0, before=None, limit=2)
    rest = registry.audit.page("default", model="", model_id=model_id, number=0, before=first[-1].sequence, limit=2)

    assert [record.sequence for record in first + rest] == [3, 2, 1]
    assert [record.sequence for record in records(registry, number=2)] == [3]


@pytest.mark.parametrize(
    ("model", "model_id", "number", "path"),
    [
        ("", "", 0, "model"),
        ("fraud", "0" * 32, 0, "model"),
        ("", "x", 0, "model_id"),
        ("fraud", "", -1, "number"),
    ],
)
def test_a_question_that_names_no_model_or_two_is_refused(
    registry: Registry, model: str, model_id: str, number: int, path: str
) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.audit.page("default", model=model, model_id=model_id, number=number, before=None, limit=1)

    assert list(refusal.value.violations) == [path]


@pytest.mark.parametrize(
    ("workspace", "model", "is_id"), [("default", "none", False), ("default", "0" * 32, True), ("\0", "0" * 32, True)]
)
def test_a_model_that_never_was_has_no_records(registry: Registry, workspace: str, model: str, is_id: bool) -> None:
    with pytest.raises(ModelNotFound):
        registry.audit.page(
            workspace, model="" if is_id else model, model_id=model if is_id else "", number=0, before=None, limit=1
        )


def test_the_records_of_a_model_are_not_for_other_workspaces(registry: Registry) -> None:
    model = registry.a_model("fraud")

    with pytest.raises(ModelNotFound):
        registry.audit.page("other", model="", model_id=model.model_id, number=0, before=None, limit=1)
