"""What holds for moves between stages."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, LimitReached, RequestIdReused
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.registry.domain import promotions
from modelry_server.registry.domain import stages as policies
from modelry_server.registry.domain.promotions import Move
from modelry_server.registry.entities import Promotion, PromotionState, Version
from modelry_server.registry.errors import ModelNotFound, PromotionNotFound, VersionNotFound
from modelry_server.registry.store import versions as version_rows
from tests.server.registry.conftest import ADA, ONCE, Registry

REQUEST = Request("ada", "modelry.api.registry.v1.PromoteVersionRequest", "request-1", "digest-1")


def stages(registry: Registry, model_name: str = "fraud") -> list[str]:
    """The stages of the versions of a model, by number."""
    owner = registry.get(model_name)
    with registry.db.read() as tx:
        found = version_rows.in_stages(tx, owner.model_id, policies.DEFAULT.stages)
    return [version.stage for version in found]


def history(registry: Registry, version_number: int = 0) -> list[Promotion]:
    found = registry.promotions.page("default", "fraud", version_number, after=None, limit=1000)
    return [each.item for each in found]


@pytest.fixture
def versions(registry: Registry) -> list[Version]:
    """Three versions of the model `fraud`, none of them in a stage."""
    registry.a_model("fraud")
    return [registry.a_version("fraud") for _ in range(3)]


@pytest.mark.usefixtures("versions")
def test_a_version_goes_through_all_stages(registry: Registry) -> None:
    for stage in ("Staging", "Production", "Archived", "None"):
        promoted = registry.promote(2, stage)
        assert (promoted.version.stage, promoted.archived_version_numbers) == (stage, ())

    assert stages(registry) == ["None", "None", "None"]
    assert [move.to_stage for move in history(registry)] == ["None", "Archived", "Production", "Staging"]


def test_a_promotion_says_who_moved_what_from_where_to_where_and_why(
    registry: Registry, versions: list[Version]
) -> None:
    with caller.using(ADA):
        promotion = registry.promote(2, "Staging", reason="try it").promotion

    assert promotion is not None
    assert promotion == Promotion(
        promotion_id=promotion.promotion_id,
        workspace="default",
        model_id=versions[1].model_id,
        model_name="fraud",
        version_number=2,
        from_stage="None",
        to_stage="Staging",
        state=PromotionState.COMPLETED,
        archived_version_numbers=(),
        creator="ada",
        reason="try it",
        create_time=registry.clock.now(),
        audit_sequence=2,
    )
    assert registry.promotions.get(promotion.promotion_id) == promotion
    assert history(registry) == [promotion]


@pytest.mark.usefixtures("versions")
def test_a_promotion_that_does_not_exist_is_named(registry: Registry) -> None:
    with pytest.raises(PromotionNotFound) as refusal:
        registry.promotions.get("0" * 32)
    assert refusal.value.metadata == {"promotion_id": "0" * 32}
    for bad in ("", "x"):
        with pytest.raises(FieldInvalid, match="promotion_id"):
            registry.promotions.get(bad)


@pytest.mark.usefixtures("versions")
def test_two_versions_may_share_a_stage_if_nobody_says_otherwise(registry: Registry) -> None:
    registry.promote(1, "Production")
    registry.promote(2, "Production")

    assert stages(registry) == ["Production", "Production", "None"]


@pytest.mark.usefixtures("versions")
def test_the_former_holders_are_archived_by_the_same_move(registry: Registry) -> None:
    registry.promote(1, "Production")
    registry.promote(2, "Production")

    promoted = registry.promote(3, "Production", archive_existing=True, reason="better")

    assert (promoted.version.stage, promoted.archived_version_numbers) == ("Production", (1, 2))
    assert promoted.version == registry.versions.get(workspace="default", model_name="fraud", version_number=3)
    assert stages(registry) == ["Archived", "Archived", "Production"]
    moves = history(registry)[:3]
    assert [(move.version_number, move.to_stage, move.archived_version_numbers) for move in moves] == [
        (2, "Archived", ()),
        (1, "Archived", ()),
        (3, "Production", (1, 2)),
    ]
    assert {move.reason for move in moves} == {"better"}
    assert len({move.promotion_id for move in moves}) == 3


@pytest.mark.usefixtures("versions")
def test_a_version_that_stands_there_already_still_clears_its_stage(registry: Registry) -> None:
    registry.promote(1, "Staging")
    registry.promote(2, "Staging")

    promoted = registry.promote(2, "Staging", archive_existing=True)

    assert promoted.promotion is None
    assert (promoted.version.stage, promoted.archived_version_numbers) == ("Staging", (1,))
    assert [move.version_number for move in history(registry)][:1] == [1]


@pytest.mark.usefixtures("versions")
def test_a_move_to_where_a_version_stands_changes_nothing(registry: Registry) -> None:
    before = registry.promote(1, "Staging").version

    after = registry.promote(1, "Staging", archive_existing=True)

    assert (after.promotion, after.version, after.archived_version_numbers) == (None, before, ())
    assert len(history(registry)) == 1


@pytest.mark.parametrize("stage", ["None", "Archived"])
@pytest.mark.usefixtures("versions")
def test_only_staging_and_production_can_be_cleared(registry: Registry, stage: str) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.promote(1, stage, archive_existing=True)

    assert list(refusal.value.violations) == ["archive_existing"]


@pytest.mark.usefixtures("versions")
def test_a_version_that_was_moved_since_it_was_read_is_not_moved_again(registry: Registry) -> None:
    version = registry.promote(1, "Staging").version
    registry.promote(1, "Production", etag=version.etag)

    with pytest.raises(EtagMismatch):
        registry.promote(1, "Archived", etag=version.etag)

    assert stages(registry)[0] == "Production"


@pytest.mark.usefixtures("versions")
def test_what_is_not_there_or_too_long_is_refused(registry: Registry) -> None:
    with pytest.raises(ModelNotFound):
        registry.promotions.promote("default", "none", Move(1, "Staging"), request=ONCE)
    with pytest.raises(VersionNotFound, match="the model 'fraud' has no version 4"):
        registry.promote(4, "Staging")
    with pytest.raises(FieldInvalid, match="reason"):
        registry.promote(1, "Staging", reason="x" * 5001)
    with pytest.raises(FieldInvalid, match="version_number"):
        registry.promotions.page("default", "fraud", -1, after=None, limit=1)
    with pytest.raises(ModelNotFound):
        registry.promotions.page("default", "none", 0, after=None, limit=1)


def test_of_many_who_move_at_once_one_holds_the_stage(registry: Registry) -> None:
    registry.a_model("fraud")
    for _ in range(2):
        registry.a_version("fraud")

    def promote(attempt: int) -> None:
        number = attempt % 2 + 1
        registry.promote(number, "Production", archive_existing=True)
        assert stages(registry).count("Production") == 1

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(promote, range(64)))

    assert sorted(stages(registry)) == ["Archived", "Production"]
    moves = list(reversed(history(registry)))
    held: set[int] = set()
    for move in moves:
        held = held - {move.version_number} if move.to_stage == "Archived" else held | {move.version_number}
    assert len(held) == 1


@pytest.mark.usefixtures("versions")
def test_moves_are_read_by_pages_and_by_version(registry: Registry) -> None:
    for number in (1, 2, 1, 3):
        stage = "Staging" if number != 1 or not history(registry, 1) else "Production"
        registry.promote(number, stage)
    whole = history(registry)

    first = registry.promotions.page("default", "fraud", 0, after=None, limit=3)
    rest = registry.promotions.page("default", "fraud", 0, after=first[-1].key, limit=3)

    assert [each.item for each in first + rest] == whole
    assert [move.version_number for move in whole] == [3, 1, 2, 1]
    assert [move.to_stage for move in history(registry, 1)] == ["Production", "Staging"]


@pytest.mark.parametrize("stage", ["", "staging", "PRODUCTION", "Live", "x" * 1000])
@pytest.mark.usefixtures("versions")
def test_a_stage_that_the_policy_does_not_have_is_refused_with_those_that_it_has(
    registry: Registry, stage: str
) -> None:
    with pytest.raises(FieldInvalid, match="use one of 'None', 'Staging', 'Production', 'Archived'") as refusal:
        registry.promote(1, stage)

    assert list(refusal.value.violations) == ["stage"]


def test_the_same_request_again_answers_with_the_same_promotion_and_the_versions_as_they_are(
    registry: Registry, versions: list[Version]
) -> None:
    registry.promote(1, "Production")
    first = registry.promote(2, "Production", archive_existing=True, request=REQUEST)
    registry.versions.update(versions[1].version_id, lambda: {"description": "Later."})

    again = registry.promote(2, "Production", archive_existing=True, request=REQUEST)

    assert again.promotion == first.promotion
    assert (again.version.stage, again.version.description) == ("Production", "Later.")
    assert again.archived_version_numbers == first.archived_version_numbers == (1,)
    assert len(history(registry)) == 3


@pytest.mark.usefixtures("versions")
def test_the_same_request_again_does_not_undo_what_was_done_since(registry: Registry) -> None:
    registry.promote(1, "Production", request=REQUEST)
    registry.promote(1, "Archived")

    again = registry.promote(1, "Production", request=REQUEST)

    assert again.promotion is not None
    assert (again.promotion.to_stage, again.version.stage) == ("Production", "Archived")
    assert stages(registry)[0] == "Archived"


@pytest.mark.usefixtures("versions")
def test_a_retry_of_what_only_archived_others_tells_which(registry: Registry) -> None:
    registry.promote(1, "Staging")
    registry.promote(2, "Staging")
    registry.promote(2, "Staging", archive_existing=True, request=REQUEST)

    again = registry.promote(2, "Staging", archive_existing=True, request=REQUEST)

    assert (again.promotion, again.archived_version_numbers) == (None, (1,))
    registry.versions.delete("default", "fraud", 1)
    without = registry.promote(2, "Staging", archive_existing=True, request=REQUEST)
    assert without.archived_version_numbers == (1,)


@pytest.mark.usefixtures("versions")
def test_a_promotion_archives_at_most_a_thousand_versions(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotions, "MOST_ARCHIVED", 1)
    for number in (1, 2):
        registry.promote(number, "Production")

    with pytest.raises(LimitReached, match="2 versions in Production to archive in all, at most 1"):
        registry.promote(3, "Production", archive_existing=True)

    assert stages(registry) == ["Production", "Production", "None"]


@pytest.mark.usefixtures("versions")
def test_a_retry_of_what_changed_nothing_changes_nothing(registry: Registry) -> None:
    registry.promote(1, "None", request=REQUEST)
    registry.promote(1, "Staging")

    again = registry.promote(1, "None", request=REQUEST)

    assert (again.promotion, again.version.stage) == (None, "Staging")


@pytest.mark.usefixtures("versions")
def test_a_request_id_with_another_move_is_refused(registry: Registry) -> None:
    registry.promote(1, "Staging", request=REQUEST)

    with pytest.raises(RequestIdReused):
        registry.promote(1, "Production", request=replace(REQUEST, digest="digest-2"))


@pytest.mark.usefixtures("versions")
def test_the_same_request_many_times_at_once_moves_once(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: registry.promote(1, "Staging", request=REQUEST), range(8)))

    assert len({answer.promotion.promotion_id for answer in answers if answer.promotion}) == 1
    assert len(history(registry)) == 1


@pytest.mark.usefixtures("versions")
def test_each_promotion_has_the_sequence_of_its_own_audit_record(registry: Registry) -> None:
    registry.promote(1, "Production")
    registry.promote(2, "Production")
    registry.promote(3, "Production", archive_existing=True)

    said = {
        record.sequence: (record.members()["version_number"], record.after)
        for record in registry.records()
        if record.members()["action"] == "version.promoted"
    }
    for move in history(registry):
        number, after = said[move.audit_sequence]
        assert number == move.version_number
        assert move.promotion_id in after
