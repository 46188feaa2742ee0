from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry.api.registry import v1 as api
from tests.contract.registry.conftest import Platform, unique
from tests.parts.refusal import refused


def stages(platform: Platform, model: str) -> dict[int, int]:
    """Where the versions of a model stand, by number."""
    request = api.SearchVersionsRequest(filter=f"name = '{model}'")
    return {version.number: version.stage for version in platform.versions.SearchVersions(request).versions}


def versions(platform: Platform, count: int) -> str:
    """The name of a new model with so many versions."""
    model, run_id = platform.a_model(), platform.a_run()
    for _ in range(count):
        platform.a_version(model.name, run_id)
    return model.name


def test_a_version_goes_through_all_stages(platform: Platform) -> None:
    model = versions(platform, 1)

    for stage in (api.STAGE_STAGING, api.STAGE_PRODUCTION, api.STAGE_ARCHIVED, api.STAGE_NONE):
        request = api.PromoteVersionRequest(model=model, number=1, stage=stage, reason="next")
        assert platform.promotions.PromoteVersion(request).version.stage == stage

    moves = platform.promotions.ListPromotions(api.ListPromotionsRequest(model=model)).promotions
    assert [(move.from_stage, move.to_stage) for move in moves] == [
        (api.STAGE_ARCHIVED, api.STAGE_NONE),
        (api.STAGE_PRODUCTION, api.STAGE_ARCHIVED),
        (api.STAGE_STAGING, api.STAGE_PRODUCTION),
        (api.STAGE_NONE, api.STAGE_STAGING),
    ]
    assert {(move.model, move.number, move.user, move.reason) for move in moves} == {(model, 1, "anonymous", "next")}


def test_the_former_holder_is_archived_by_the_same_move(platform: Platform) -> None:
    model = versions(platform, 2)
    platform.promote(api.Version(model=model, number=1), api.STAGE_PRODUCTION)

    request = api.PromoteVersionRequest(model=model, number=2, stage=api.STAGE_PRODUCTION, archive_existing=True)
    answer = platform.promotions.PromoteVersion(request)

    assert (answer.version.number, answer.version.stage) == (2, api.STAGE_PRODUCTION)
    assert [(each.number, each.stage) for each in answer.archived_versions] == [(1, api.STAGE_ARCHIVED)]
    assert stages(platform, model) == {1: api.STAGE_ARCHIVED, 2: api.STAGE_PRODUCTION}


def test_of_many_who_move_at_once_one_holds_the_stage(platform: Platform) -> None:
    model = versions(platform, 2)

    def promote(attempt: int) -> None:
        version = api.Version(model=model, number=attempt % 2 + 1)
        platform.promote(version, api.STAGE_PRODUCTION, archive_existing=True)
        assert list(stages(platform, model).values()).count(api.STAGE_PRODUCTION) == 1

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(promote, range(64)))

    assert sorted(stages(platform, model).values()) == [api.STAGE_PRODUCTION, api.STAGE_ARCHIVED]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"stage": api.STAGE_UNSPECIFIED}, "stage"),
        ({"stage": 5}, "stage"),
        ({"stage": -1}, "stage"),
        ({"stage": api.STAGE_ARCHIVED, "archive_existing": True}, "archive_existing"),
        ({"stage": api.STAGE_STAGING, "reason": "x" * 5001}, "reason"),
    ],
)
def test_a_move_that_means_nothing_is_refused_by_its_path(
    platform: Platform, fields: dict[str, object], path: str
) -> None:
    model = versions(platform, 1)

    refusal = refused(
        platform.promotions.PromoteVersion,
        api.PromoteVersionRequest(model=model, number=1, **fields),  # type: ignore[arg-type]
    )

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", [path])
    if path == "stage":
        assert "STAGE_NONE (1), STAGE_STAGING (2), STAGE_PRODUCTION (3), STAGE_ARCHIVED (4)" in refusal.violations[path]


def test_a_version_that_was_moved_since_it_was_read_is_not_moved_again(platform: Platform) -> None:
    model = versions(platform, 1)
    version = platform.versions.GetVersion(api.GetVersionRequest(model=model, number=1)).version
    platform.promote(version, api.STAGE_STAGING, etag=version.etag)

    late = api.PromoteVersionRequest(model=model, number=1, stage=api.STAGE_ARCHIVED, etag=version.etag)

    assert refused(platform.promotions.PromoteVersion, late).reason == "ETAG_MISMATCH"
    assert stages(platform, model) == {1: api.STAGE_STAGING}


def test_what_is_not_there_is_named(platform: Platform) -> None:
    model = versions(platform, 1)

    missing = api.PromoteVersionRequest(model=model, number=2, stage=api.STAGE_STAGING)
    assert refused(platform.promotions.PromoteVersion, missing).reason == "VERSION_NOT_FOUND"
    missing.model = unique("none")
    assert refused(platform.promotions.PromoteVersion, missing).reason == "MODEL_NOT_FOUND"
    unknown = api.ListPromotionsRequest(model=missing.model)
    assert refused(platform.promotions.ListPromotions, unknown).reason == "MODEL_NOT_FOUND"


def test_moves_are_listed_by_pages_and_by_version(platform: Platform) -> None:
    model = versions(platform, 2)
    for number, stage in [(1, 2), (2, 2), (1, 3), (2, 3), (1, 4)]:
        platform.promote(api.Version(model=model, number=number), api.Stage.ValueType(stage))

    request = api.ListPromotionsRequest(model=model, page_size=2)
    numbers: list[list[int]] = []
    while True:
        page = platform.promotions.ListPromotions(request)
        numbers.append([move.number for move in page.promotions])
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert numbers == [[1, 2], [1, 2], [1]]
    request.number = 2
    assert refused(platform.promotions.ListPromotions, request).reason == "PAGE_TOKEN_INVALID"
    request.page_token = ""
    assert len(platform.promotions.ListPromotions(request).promotions) == 2
