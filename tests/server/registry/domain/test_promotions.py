"""What holds for moves between stages."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.kernel.errors import EtagMismatch, FieldInvalid
from modelry_server.registry.entities import Promotion, Stage, Version
from modelry_server.registry.errors import ModelNotFound, VersionNotFound
from modelry_server.registry.store import versions as version_rows
from tests.server.registry.conftest import Registry


def stages(registry: Registry, model: str = "fraud") -> list[Stage]:
    """Where the versions of a model stand, by number."""
    owner = registry.models.get("default", model)
    with registry.db.read() as tx:
        found = version_rows.in_stages(tx, owner.model_id, tuple(Stage))
    return [version.stage for version in found]


def history(registry: Registry, number: int = 0) -> list[Promotion]:
    return registry.promotions.page("default", "fraud", number, before=None, limit=1000)


@pytest.fixture
def versions(registry: Registry) -> list[Version]:
    """Three versions of the model `fraud`, none of them in a stage."""
    registry.a_model("fraud")
    return [registry.a_version("fraud") for _ in range(3)]


@pytest.mark.usefixtures("versions")
def test_a_version_goes_through_all_stages(registry: Registry) -> None:
    for stage in (Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED, Stage.NONE):
        version, archived = registry.promotions.promote("default", "fraud", 2, stage)
        assert (version.stage, archived) == (stage, [])

    assert stages(registry) == [Stage.NONE, Stage.NONE, Stage.NONE]
    assert [move.to_stage for move in history(registry)] == [
        Stage.NONE,
        Stage.ARCHIVED,
        Stage.PRODUCTION,
        Stage.STAGING,
    ]


@pytest.mark.usefixtures("versions")
def test_two_versions_may_share_a_stage_if_nobody_says_otherwise(registry: Registry) -> None:
    registry.promotions.promote("default", "fraud", 1, Stage.PRODUCTION)
    registry.promotions.promote("default", "fraud", 2, Stage.PRODUCTION)

    assert stages(registry) == [Stage.PRODUCTION, Stage.PRODUCTION, Stage.NONE]


@pytest.mark.usefixtures("versions")
def test_the_former_holders_are_archived_by_the_same_move(registry: Registry) -> None:
    registry.promotions.promote("default", "fraud", 1, Stage.PRODUCTION)
    registry.promotions.promote("default", "fraud", 2, Stage.PRODUCTION)

    version, archived = registry.promotions.promote(
        "default", "fraud", 3, Stage.PRODUCTION, archive_existing=True, reason="better"
    )

    assert version.stage is Stage.PRODUCTION
    assert [(each.number, each.stage) for each in archived] == [(1, Stage.ARCHIVED), (2, Stage.ARCHIVED)]
    assert stages(registry) == [Stage.ARCHIVED, Stage.ARCHIVED, Stage.PRODUCTION]
    moves = history(registry)[:3]
    assert [(move.number, move.to_stage, move.archived_numbers) for move in moves] == [
        (2, Stage.ARCHIVED, ()),
        (1, Stage.ARCHIVED, ()),
        (3, Stage.PRODUCTION, (1, 2)),
    ]
    assert {move.reason for move in moves} == {"better"}


@pytest.mark.usefixtures("versions")
def test_a_version_that_stands_there_already_still_clears_its_stage(registry: Registry) -> None:
    registry.promotions.promote("default", "fraud", 1, Stage.STAGING)
    registry.promotions.promote("default", "fraud", 2, Stage.STAGING)

    version, archived = registry.promotions.promote("default", "fraud", 2, Stage.STAGING, archive_existing=True)

    assert (version.stage, [each.number for each in archived]) == (Stage.STAGING, [1])
    assert [move.number for move in history(registry)][:1] == [1]


@pytest.mark.usefixtures("versions")
def test_a_move_to_where_a_version_stands_changes_nothing(registry: Registry) -> None:
    before, _ = registry.promotions.promote("default", "fraud", 1, Stage.STAGING)

    after, archived = registry.promotions.promote("default", "fraud", 1, Stage.STAGING, archive_existing=True)

    assert (after, archived) == (before, [])
    assert len(history(registry)) == 1


@pytest.mark.parametrize("stage", [Stage.NONE, Stage.ARCHIVED])
@pytest.mark.usefixtures("versions")
def test_only_staging_and_production_can_be_cleared(registry: Registry, stage: Stage) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.promotions.promote("default", "fraud", 1, stage, archive_existing=True)

    assert list(refusal.value.violations) == ["archive_existing"]


@pytest.mark.usefixtures("versions")
def test_a_version_that_was_moved_since_it_was_read_is_not_moved_again(registry: Registry) -> None:
    version, _ = registry.promotions.promote("default", "fraud", 1, Stage.STAGING)
    registry.promotions.promote("default", "fraud", 1, Stage.PRODUCTION, etag=version.etag)

    with pytest.raises(EtagMismatch):
        registry.promotions.promote("default", "fraud", 1, Stage.ARCHIVED, etag=version.etag)

    assert stages(registry)[0] is Stage.PRODUCTION


@pytest.mark.usefixtures("versions")
def test_what_is_not_there_or_too_long_is_refused(registry: Registry) -> None:
    with pytest.raises(ModelNotFound):
        registry.promotions.promote("default", "none", 1, Stage.STAGING)
    with pytest.raises(VersionNotFound, match="'fraud' has no version 4"):
        registry.promotions.promote("default", "fraud", 4, Stage.STAGING)
    with pytest.raises(FieldInvalid, match="reason"):
        registry.promotions.promote("default", "fraud", 1, Stage.STAGING, reason="x" * 5001)
    with pytest.raises(FieldInvalid, match="number"):
        registry.promotions.page("default", "fraud", -1, before=None, limit=1)
    with pytest.raises(ModelNotFound):
        registry.promotions.page("default", "none", 0, before=None, limit=1)


def test_of_many_who_move_at_once_one_holds_the_stage(registry: Registry) -> None:
    registry.a_model("fraud")
    for _ in range(2):
        registry.a_version("fraud")

    def promote(attempt: int) -> None:
        number = attempt % 2 + 1
        registry.promotions.promote("default", "fraud", number, Stage.PRODUCTION, archive_existing=True)
        assert stages(registry).count(Stage.PRODUCTION) == 1

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(promote, range(64)))

    assert sorted(stages(registry)) == [Stage.ARCHIVED, Stage.PRODUCTION]
    moves = list(reversed(history(registry)))
    held: set[int] = set()
    for move in moves:
        held = held - {move.number} if move.to_stage is Stage.ARCHIVED else held | {move.number}
    assert len(held) == 1


@pytest.mark.usefixtures("versions")
def test_moves_are_read_by_pages_and_by_version(registry: Registry) -> None:
    for number in (1, 2, 1, 3):
        stage = Stage.STAGING if number != 1 or not history(registry, 1) else Stage.PRODUCTION
        registry.promotions.promote("default", "fraud", number, stage)
    whole = history(registry)

    first = registry.promotions.page("default", "fraud", 0, before=None, limit=3)
    rest = registry.promotions.page("default", "fraud", 0, before=first[-1].sequence, limit=3)

    assert first + rest == whole
    assert [move.number for move in whole] == [3, 1, 2, 1]
    assert [move.to_stage for move in history(registry, 1)] == [Stage.PRODUCTION, Stage.STAGING]
