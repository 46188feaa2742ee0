"""What holds for the record of all changes."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from modelry_server.kernel import caller
from modelry_server.kernel.audit import ERASABLE, Fault, first_fault
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.registry.errors import ModelExists, ModelIdNotFound, ModelNotFound
from modelry_server.registry.store.tables import audit_records
from tests.server.registry.conftest import ADA, Registry

SALTS = [f"{name}_salt" for name in ERASABLE]


def actions(registry: Registry, model_name: str = "fraud") -> list[object]:
    return [record.members()["action"] for record in registry.records(model_name)]


def fault(registry: Registry, model_name: str = "fraud") -> Fault | None:
    """The first fault of the chain of a model."""
    return first_fault(f"models/{registry.get(model_name).model_id}", registry.records(model_name))


def test_each_change_is_one_record_with_who_when_what_why_and_from_where(registry: Registry) -> None:
    with caller.using(ADA):
        model_id = registry.a_model("fraud", tags={"team": "risk"}).model_id
        registry.update("fraud", reason="words", description="Finds fraud.")
        registry.models.set_tags("default", "fraud", {"team": "loss", "tier": "1"})
        registry.models.delete_tags("default", "fraud", ["tier"])
        version_id = registry.a_version("fraud").version_id
        registry.aliases.point("default", "fraud", "champion", 1)
        promotion = registry.promote(1, "Staging", reason="try it").promotion
        registry.aliases.delete("default", "fraud", "champion")

    found = registry.records()
    said = [record.members() for record in found]
    assert promotion is not None
    assert [
        (each["action"], each.get("version_number", 0), record.before, record.after)
        for each, record in zip(said, found, strict=True)
    ] == [
        ("model.created", 0, "", '{"description":"","name":"fraud","tags":{"team":"risk"}}'),
        ("model.updated", 0, '{"description":""}', '{"description":"Finds fraud."}'),
        ("model.tags_set", 0, '{"team":"risk"}', '{"team":"loss","tier":"1"}'),
        ("model.tags_deleted", 0, '{"tier":"1"}', ""),
        ("alias.set", 1, "", '{"alias":"champion","version_number":1}'),
        (
            "version.promoted",
            1,
            '{"stage":"None"}',
            json.dumps({"promotion_id": promotion.promotion_id, "stage": "Staging"}, separators=(",", ":")),
        ),
        ("alias.deleted", 1, '{"alias":"champion","version_number":1}', ""),
    ]
    assert {(each["actor"], each["credential_kind"], each["trace_id"], each["workspace"]) for each in said} == {
        ("ada", "NONE", "0af7651916cd43dd8448eb211c80319c", "default")
    }
    assert {each["create_time"] for each in said} == {"2023-11-14T22:13:20.000Z"}
    assert [(each["resource_type"], each["resource_id"]) for each in said] == [("model", model_id)] * 4 + [
        ("version", version_id)
    ] * 3
    assert [record.reason for record in found] == ["", "words", "", "", "", "try it", ""]
    assert {record.peer for record in found} == {"ipv4:127.0.0.1:4711"}
    assert fault(registry) is None


def test_what_people_write_can_be_erased_and_the_chain_still_verifies(registry: Registry) -> None:
    with caller.using(ADA):
        registry.a_model("fraud", description="Of Ada Lovelace.", tags={"of": "Ada Lovelace"})
        registry.update("fraud", reason="Ada Lovelace said so", description="Ada Lovelace again.")
        version = registry.a_version("fraud")
        registry.versions.update(version.version_id, lambda: {"description": "Ada Lovelace's own"})
        registry.versions.set_tags("default", "fraud", 1, {"Ada Lovelace": "1"})
        registry.versions.delete_tags("default", "fraud", 1, ["Ada Lovelace"])
        registry.aliases.point("default", "fraud", "Ada-Lovelace", 1)
        registry.aliases.delete("default", "fraud", "Ada-Lovelace")
        registry.promote(1, "Archived", reason="Ada Lovelace")
        registry.versions.delete("default", "fraud", 1, reason="Ada Lovelace")
    whole = registry.records()
    assert len(whole) == 9
    assert all("Ada" in record.before + record.after + record.reason for record in whole)

    with registry.db.write() as tx:
        tx.execute(sa.update(audit_records).values({name: "" for name in (*ERASABLE, *SALTS)}))

    erased = registry.records()
    assert [record.body for record in erased] == [record.body for record in whole]
    assert all("Lovelace" not in str(record) and "127.0.0.1" not in str(record) for record in erased)
    assert fault(registry) is None


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"body": '{"action":"model.updated","actor":"eve"}'}, "the digest does not match"),
        ({"reason": "another"}, "the reason does not match its digest"),
        ({"peer": "ipv4:10.0.0.1:1"}, "the peer does not match its digest"),
        ({"before": "{}"}, "the before does not match its digest"),
        ({"after": ""}, "the after does not match its digest"),
        ({"after_salt": "0" * 64}, "the after does not match its digest"),
        ({"previous_digest": "0" * 64}, "the digest of the record before it does not match"),
        ({"digest_version": 2}, "the digest version 2 is unknown to this program"),
    ],
)
def test_an_edited_record_shows(registry: Registry, values: dict[str, object], problem: str) -> None:
    with caller.using(ADA):
        registry.a_model("fraud")
        for number in range(3):
            registry.update("fraud", reason="why", description=str(number))

    with registry.db.write() as tx:
        tx.execute(sa.update(audit_records).where(audit_records.c.sequence == 3).values(**values))

    assert fault(registry) == Fault(3, problem)


def removed(tx: sa.Connection) -> None:
    tx.execute(sa.delete(audit_records).where(audit_records.c.sequence == 2))


def swapped(tx: sa.Connection) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        tx.execute(sa.update(audit_records).where(audit_records.c.sequence == old).values(sequence=new))


def moved_up(tx: sa.Connection) -> None:
    removed(tx)
    tx.execute(sa.update(audit_records).where(audit_records.c.sequence == 3).values(sequence=2))


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (removed, Fault(2, "the record is missing; the next one is 3")),
        (swapped, Fault(2, "the digest of the record before it does not match")),
        (moved_up, Fault(2, "the digest of the record before it does not match")),
    ],
)
def test_a_removed_and_a_swapped_record_show(
    registry: Registry, attack: Callable[[sa.Connection], None], expected: Fault
) -> None:
    registry.a_model("fraud")
    for number in range(3):
        registry.update("fraud", description=str(number))

    with registry.db.write() as tx:
        attack(tx)

    assert fault(registry) == expected


def test_a_record_of_another_model_shows(registry: Registry) -> None:
    for name in ("fraud", "churn"):
        registry.a_model(name)
        registry.update(name, description="x")
    fraud, churn = registry.get("fraud").model_id, registry.get("churn").model_id
    columns = ("body", "previous_digest", "digest")
    t = audit_records

    with registry.db.write() as tx:
        for sequence in (1, 2):
            of = sa.select(*(t.c[name] for name in columns)).where(t.c.model_id == churn, t.c.sequence == sequence)
            values = tx.execute(of).one()._asdict()
            tx.execute(sa.update(t).where(t.c.model_id == fraud, t.c.sequence == sequence).values(**values))

    assert fault(registry) == Fault(1, "the digest does not match")


def test_many_who_change_a_model_at_once_leave_one_chain(registry: Registry) -> None:
    registry.a_model("fraud")

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: registry.models.set_tags("default", "fraud", {"n": str(n)}), range(64)))

    assert [record.sequence for record in registry.records()] == list(range(1, 66))
    assert fault(registry) is None


def test_a_change_that_fails_leaves_no_record_and_no_event(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_model("churn")

    with pytest.raises(ModelExists):
        registry.update("fraud", name="churn")

    assert actions(registry) == ["model.created"]
    assert len(registry.followed()) == 2


def test_the_records_of_a_renamed_model_are_one_chain_with_the_names_of_their_time(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.update("fraud", name="scam")
    registry.models.set_tags("default", "scam", {"k": "v"})

    named = [record.members()["resource_name"] for record in registry.records("scam")]
    assert named == ["fraud", "fraud", "scam"]
    assert fault(registry, "scam") is None


def test_records_are_read_by_pages_and_by_version(registry: Registry) -> None:
    registry.a_model("fraud")
    for number in (1, 2):
        registry.a_version("fraud")
        registry.aliases.point("default", "fraud", "champion", number)
    model_id = registry.get("fraud").model_id

    model = {"model_name": "", "model_id": model_id}
    first = list(registry.audit.page("default", **model, version_number=0, after=None, limit=2))
    rest = list(registry.audit.page("default", **model, version_number=0, after=first[-1].key, limit=2))

    assert [found.item.sequence for found in first + rest] == [3, 2, 1]
    assert [record.sequence for record in registry.records(version_number=2)] == [3]


@pytest.mark.parametrize(
    ("workspace", "model_name", "model_id", "number", "path"),
    [
        ("default", "", "", 0, "model_name"),
        ("default", "fraud", "0" * 32, 0, "model_id"),
        ("default", "", "x", 0, "model_id"),
        ("default", "fraud", "", -1, "version_number"),
        ("", "fraud", "", 0, "workspace"),
    ],
)
def test_a_question_that_names_no_model_or_two_is_refused(
    registry: Registry, workspace: str, model_name: str, model_id: str, number: int, path: str
) -> None:
    registry.a_model("fraud")

    with pytest.raises(FieldInvalid) as refusal:
        registry.audit.page(
            workspace, model_name=model_name, model_id=model_id, version_number=number, after=None, limit=1
        )

    assert list(refusal.value.violations) == [path]


def test_a_model_that_never_existed_has_no_records(registry: Registry) -> None:
    with pytest.raises(ModelNotFound):
        registry.records("none")
    with pytest.raises(ModelIdNotFound):
        registry.records(model_id="0" * 32)


def test_the_records_of_a_model_are_not_for_other_workspaces(registry: Registry) -> None:
    model = registry.a_model("fraud")

    with pytest.raises(ModelIdNotFound):
        registry.audit.page("other", model_name="", model_id=model.model_id, version_number=0, after=None, limit=1)
