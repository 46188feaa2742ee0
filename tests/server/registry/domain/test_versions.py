"""What holds for versions, also when something fails halfway."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, ServiceUnavailable
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import KEPT_MS, Request
from modelry_server.kernel.sql.database import ConcurrentChange
from modelry_server.registry.domain import versions
from modelry_server.registry.domain.snapshots import LOOSE_MS
from modelry_server.registry.entities import Stage, Version
from modelry_server.registry.errors import (
    MadeVersionDeleted,
    ModelNotFound,
    SourceEmpty,
    TagNotFound,
    VersionInFlight,
    VersionInUse,
    VersionNotFound,
)
from modelry_server.registry.store import models as model_rows
from tests.contract.registry.conftest import Platform
from tests.parts.eventually import at_once
from tests.server.registry.conftest import ONCE, Registry
from tests.server.registry.domain.test_snapshots import are_kept


@pytest.fixture
def again() -> Request:
    """A request that may come again, of its own for each test: the neighbours are kept for all."""
    return Request("ada", "modelry.api.registry.v1.CreateVersionRequest", new_id(), "digest-1")


def test_a_retry_after_a_crash_between_files_and_version_uses_the_same_files(
    connected: Registry, platform: Platform, again: Request
) -> None:
    connected.a_model("fraud")
    run_id = platform.a_run()
    with connected.db.read() as tx:
        version_id = versions.id_for(tx, again)
    connected.snapshots.freeze(version_id, lambda asked: asked.of_run(version_id, run_id, "model"))

    made = connected.versions.create("default", "fraud", f"runs:/{run_id}/model", request=again)

    assert (made.version_id, made.number) == (version_id, 1)
    connected.clock.advance(LOOSE_MS)
    connected.snapshots.sweep()
    assert are_kept(platform, version_id)


@pytest.mark.parametrize("swept", [True, False])
def test_a_slower_call_of_the_same_request_does_not_doom_the_files(
    connected: Registry, platform: Platform, again: Request, swept: bool
) -> None:
    connected.a_model("fraud")
    run_id = platform.a_run()
    made = connected.versions.create("default", "fraud", f"runs:/{run_id}/model", request=again)

    # What a call does that looked before the version was there.
    connected.snapshots.freeze(made.version_id, lambda asked: asked.of_run(made.version_id, run_id, "model"))
    if swept:
        connected.snapshots.give_up(made.version_id)
        connected.clock.advance(LOOSE_MS)
        connected.snapshots.sweep()

    assert are_kept(platform, made.version_id)
    connected.versions.delete("default", "fraud", made.number)
    assert not are_kept(platform, made.version_id)


def test_calls_of_one_request_at_once_make_one_version_that_keeps_its_files(
    connected: Registry, platform: Platform, again: Request
) -> None:
    connected.a_model("fraud")
    source = f"runs:/{platform.a_run()}/model"

    answers = at_once([lambda: connected.versions.create("default", "fraud", source, request=again)] * 6)
    connected.clock.advance(LOOSE_MS)
    connected.snapshots.sweep()

    made = {answer.version_id for answer in answers if isinstance(answer, Version)}
    assert all(isinstance(answer, Version | VersionInFlight | ConcurrentChange) for answer in answers)
    assert len(made) == 1
    assert are_kept(platform, made.pop())


def test_a_version_that_cannot_be_made_after_its_files_were_frozen_lets_them_go(
    connected: Registry, platform: Platform, again: Request
) -> None:
    connected.a_model("fraud")
    run_id, holding, deleted = platform.a_run(), threading.Event(), threading.Event()
    with connected.db.read() as tx:
        version_id = versions.id_for(tx, again)

    def delete() -> None:
        with connected.db.write() as tx:
            model = model_rows.lock(tx, "default", "fraud")
            assert model is not None
            model_rows.delete(tx, model.model_id)
            holding.set()
            assert deleted.wait(20)

    with ThreadPoolExecutor(2) as pool:
        deleting = pool.submit(delete)
        assert holding.wait(20)
        making = pool.submit(connected.versions.create, "default", "fraud", f"runs:/{run_id}/model", request=again)
        deleted.set()
        deleting.result()
        with pytest.raises(ModelNotFound):
            making.result()

    assert not are_kept(platform, version_id)


def test_a_request_id_can_be_used_again_after_a_day(connected: Registry, platform: Platform, again: Request) -> None:
    connected.a_model("fraud")
    source = f"runs:/{platform.a_run()}/model"
    first = connected.versions.create("default", "fraud", source, request=again)

    connected.clock.advance(KEPT_MS)
    second = connected.versions.create("default", "fraud", source, request=again)

    assert (second.number, second.version_id != first.version_id) == (2, True)


def test_a_repeated_request_for_a_version_that_is_gone_says_so(
    connected: Registry, platform: Platform, again: Request
) -> None:
    connected.a_model("fraud")
    source = f"runs:/{platform.a_run()}/model"
    made = connected.versions.create("default", "fraud", source, request=again)
    connected.versions.delete("default", "fraud", 1)

    with pytest.raises(MadeVersionDeleted, match=f"this request made, {made.version_id}, is deleted"):
        connected.versions.create("default", "fraud", source, request=again)


def test_files_of_a_deleted_model_are_let_go(connected: Registry, platform: Platform) -> None:
    connected.a_model("fraud")
    source = f"runs:/{platform.a_run()}/model"
    made = [connected.versions.create("default", "fraud", source, request=ONCE) for _ in range(2)]

    connected.models.delete("default", "fraud")

    assert [are_kept(platform, version.version_id) for version in made] == [False, False]


def test_a_failure_before_the_version_leaves_nothing(connected: Registry, platform: Platform) -> None:
    connected.a_model("fraud")

    with pytest.raises(SourceEmpty):
        connected.versions.create("default", "fraud", f"runs:/{platform.a_run()}/nothing", request=ONCE)

    assert connected.models.get("default", "fraud").last_version == 0
    assert len(connected.events.page("default", "", after=0, limit=9)) == 1


def test_without_tracking_no_version_is_made_and_the_missing_neighbour_is_named(registry: Registry) -> None:
    registry.a_model("fraud")

    with pytest.raises(ServiceUnavailable) as refusal:
        registry.versions.create("default", "fraud", f"runs:/{'0' * 32}/model", request=ONCE)

    assert refusal.value.metadata["service"] == "tracking"


def test_without_artifacts_a_version_is_deleted_all_the_same(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")

    registry.versions.delete("default", "fraud", 1)

    with pytest.raises(VersionNotFound):
        registry.versions.get("default", "fraud", 1)


@pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PRODUCTION])
def test_a_version_in_use_is_not_deleted(registry: Registry, stage: Stage) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud", stage=stage)

    with pytest.raises(VersionInUse, match=f"stage: {stage}, aliases: none"):
        registry.versions.delete("default", "fraud", 1)


def test_a_version_with_an_alias_is_not_deleted(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")
    registry.aliases.point("default", "fraud", "champion", 1)

    with pytest.raises(VersionInUse, match="aliases: 'champion'"):
        registry.versions.delete("default", "fraud", 1)


def test_a_description_changes_with_its_etag(registry: Registry) -> None:
    registry.a_model("fraud")
    version = registry.a_version("fraud")

    changed = registry.versions.describe("default", "fraud", 1, {"description": "Words."}, etag=version.etag)

    assert (changed.description, changed.revision) == ("Words.", 2)
    assert registry.versions.describe("default", "fraud", 1, {"description": "Words."}).revision == 2
    with pytest.raises(EtagMismatch):
        registry.versions.describe("default", "fraud", 1, {"description": "Mine."}, etag=version.etag)


def test_tags_are_set_replaced_and_removed_all_or_none(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud", tags={"a": "1", "b": "2"})
    registry.clock.advance(1)

    changed = registry.versions.set_tags("default", "fraud", 1, {"b": "3"})
    with pytest.raises(TagNotFound, match="version 1 of 'fraud' has no tag 'c'"):
        registry.versions.delete_tags("default", "fraud", 1, ["a", "c"])

    assert (changed.tags, changed.update_time) == ({"a": "1", "b": "3"}, registry.clock.now())
    assert registry.versions.delete_tags("default", "fraud", 1, ["a"]).tags == {"b": "3"}


@pytest.mark.parametrize("tags", [{}, {"": ""}, {"k": "x" * 8001}])
def test_tags_beyond_a_limit_are_refused(registry: Registry, tags: dict[str, str]) -> None:
    with pytest.raises(FieldInvalid):
        registry.versions.set_tags("default", "fraud", 1, tags)


def test_the_newest_of_each_stage_is_found(registry: Registry) -> None:
    registry.a_model("fraud")
    for stage in (Stage.ARCHIVED, Stage.PRODUCTION, Stage.PRODUCTION, Stage.NONE, Stage.ARCHIVED):
        registry.a_version("fraud", stage=stage)

    assert [each.number for each in registry.versions.latest("default", "fraud", [])] == [4, 3, 5]
    assert [each.number for each in registry.versions.latest("default", "fraud", [Stage.STAGING])] == []
    with pytest.raises(ModelNotFound):
        registry.versions.latest("default", "none", [])
