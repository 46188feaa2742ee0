from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import WORKSPACE, Platform, unique
from tests.parts.refusal import refused


def named(model_name: str, version_number: int = 1) -> api.Version:
    """What `Platform.promote` needs of a version."""
    return api.Version(model_name=model_name, version_number=version_number)


def move(model_name: str, version_number: int, stage: str, **fields: object) -> api.PromoteVersionRequest:
    return api.PromoteVersionRequest(
        workspace=WORKSPACE,
        model_name=model_name,
        version_number=version_number,
        stage=stage,
        **fields,  # type: ignore[arg-type]
    )


def moves_of(model_name: str, **fields: object) -> api.ListPromotionsRequest:
    return api.ListPromotionsRequest(workspace=WORKSPACE, model_name=model_name, **fields)  # type: ignore[arg-type]


def stages(platform: Platform, model_name: str) -> dict[int, str]:
    """The stages of the versions of a model, by number."""
    request = api.SearchVersionsRequest(workspace=WORKSPACE, filter=f"model_name = '{model_name}'")
    return {version.version_number: version.stage for version in platform.versions.SearchVersions(request).versions}


def versions(platform: Platform, count: int) -> str:
    """The name of a new model with so many versions."""
    model, run_id = platform.a_model(), platform.a_run()
    for _ in range(count):
        platform.a_version(model.name, run_id)
    return model.name


def test_a_version_goes_through_all_stages(platform: Platform) -> None:
    model = versions(platform, 1)

    for stage in ("Staging", "Production", "Archived", "None"):
        assert platform.promote(named(model), stage, reason="next").version.stage == stage

    moves = platform.promotions.ListPromotions(moves_of(model)).promotions
    assert [(move.from_stage, move.to_stage) for move in moves] == [
        ("Archived", "None"),
        ("Production", "Archived"),
        ("Staging", "Production"),
        ("None", "Staging"),
    ]
    assert {
        (move.workspace, move.model_name, move.version_number, move.creator, move.reason, move.state) for move in moves
    } == {(WORKSPACE, model, 1, "anonymous", "next", api.PROMOTION_STATE_COMPLETED)}
    assert all(move.create_time.ToMilliseconds() > 1_700_000_000_000 for move in moves)


def test_a_promotion_is_answered_and_read_by_its_id(platform: Platform) -> None:
    promotion = platform.promote(named(versions(platform, 1)), "Staging").promotion

    found = platform.promotions.GetPromotion(api.GetPromotionRequest(promotion_id=promotion.promotion_id)).promotion

    assert found == promotion
    assert (found.from_stage, found.to_stage, len(found.promotion_id)) == ("None", "Staging", 32)


def test_a_promotion_that_does_not_exist_is_named(platform: Platform) -> None:
    missing = new_id()

    refusal = refused(platform.promotions.GetPromotion, api.GetPromotionRequest(promotion_id=missing))

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PROMOTION_NOT_FOUND")
    assert refusal.resource == ("promotion", missing)
    for bad in ("", "x"):
        request = api.GetPromotionRequest(promotion_id=bad)
        assert list(refused(platform.promotions.GetPromotion, request).violations) == ["promotion_id"]


def test_the_former_holder_is_archived_by_the_same_move_with_a_promotion_of_its_own(platform: Platform) -> None:
    model = versions(platform, 2)
    platform.promote(named(model, 1), "Production")

    answer = platform.promote(named(model, 2), "Production", archive_existing=True)

    assert (answer.version.version_number, answer.version.stage) == (2, "Production")
    assert list(answer.archived_version_numbers) == [1]
    assert stages(platform, model) == {1: "Archived", 2: "Production"}
    moves = platform.promotions.ListPromotions(moves_of(model, page_size=2)).promotions
    assert [(move.version_number, move.to_stage, list(move.archived_version_numbers)) for move in moves] == [
        (1, "Archived", []),
        (2, "Production", [1]),
    ]
    assert moves[1] == answer.promotion
    assert moves[0].promotion_id != moves[1].promotion_id


def test_without_a_move_there_is_no_promotion(platform: Platform) -> None:
    model = versions(platform, 2)
    for number in (1, 2):
        platform.promote(named(model, number), "Staging")

    nothing = platform.promote(named(model, 1), "Staging")
    others = platform.promote(named(model, 1), "Staging", archive_existing=True)

    assert not nothing.HasField("promotion")
    assert not others.HasField("promotion")
    assert list(others.archived_version_numbers) == [2]
    assert list(nothing.archived_version_numbers) == []


def test_a_retry_answers_with_the_same_promotion_and_the_version_as_it_is(platform: Platform) -> None:
    model = versions(platform, 2)
    platform.promote(named(model, 1), "Production")
    request = move(model, 2, "Production", archive_existing=True, request_id=new_id())
    first = platform.promotions.PromoteVersion(request)
    platform.promote(named(model, 2), "None")

    again = platform.promotions.PromoteVersion(request)

    assert again.promotion == first.promotion
    assert again.version.stage == "None"
    assert list(again.archived_version_numbers) == [1]
    assert stages(platform, model) == {1: "Archived", 2: "None"}
    other = move(model, 2, "Staging", request_id=request.request_id)
    assert refused(platform.promotions.PromoteVersion, other).reason == "REQUEST_ID_REUSED"


def test_of_many_who_move_at_once_one_holds_the_stage(platform: Platform) -> None:
    model = versions(platform, 2)

    def promote(attempt: int) -> None:
        platform.promote(named(model, attempt % 2 + 1), "Production", archive_existing=True)
        assert list(stages(platform, model).values()).count("Production") == 1

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(promote, range(64)))

    assert sorted(stages(platform, model).values()) == ["Archived", "Production"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"stage": ""}, "stage"),
        ({"stage": "production"}, "stage"),
        ({"stage": "Live"}, "stage"),
        ({"stage": "Archived", "archive_existing": True}, "archive_existing"),
        ({"stage": "Staging", "reason": "x" * 5001}, "reason"),
        ({"stage": "Staging", "request_id": "x" * 65}, "request_id"),
        ({"stage": "Staging", "version_number": 0}, "version_number"),
        ({"stage": "Staging", "workspace": ""}, "workspace"),
    ],
)
def test_a_move_that_means_nothing_is_refused_by_its_path(
    platform: Platform, fields: dict[str, object], path: str
) -> None:
    model = versions(platform, 1)

    values = {"workspace": WORKSPACE, "model_name": model, "version_number": 1} | fields
    refusal = refused(platform.promotions.PromoteVersion, api.PromoteVersionRequest(**values))  # type: ignore[arg-type]

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", [path])
    if path == "stage":
        assert "'None', 'Staging', 'Production', 'Archived'" in refusal.violations[path]


def test_a_version_that_was_moved_since_it_was_read_is_not_moved_again(platform: Platform) -> None:
    model = versions(platform, 1)
    version = platform.promote(named(model), "Production").version
    platform.promote(version, "Staging", etag=version.etag)

    late = move(model, 1, "Archived", etag=version.etag)

    assert refused(platform.promotions.PromoteVersion, late).reason == "ETAG_MISMATCH"
    assert stages(platform, model) == {1: "Staging"}


def test_what_is_not_there_is_named(platform: Platform) -> None:
    model = versions(platform, 1)

    assert refused(platform.promotions.PromoteVersion, move(model, 2, "Staging")).reason == "VERSION_NOT_FOUND"
    missing = unique("none")
    assert refused(platform.promotions.PromoteVersion, move(missing, 1, "Staging")).reason == "MODEL_NOT_FOUND"
    assert refused(platform.promotions.ListPromotions, moves_of(missing)).reason == "MODEL_NOT_FOUND"


def test_moves_are_listed_by_pages_and_by_version(platform: Platform) -> None:
    model = versions(platform, 2)
    for number, stage in [(1, "Staging"), (2, "Staging"), (1, "Production"), (2, "Production"), (1, "Archived")]:
        platform.promote(named(model, number), stage)

    request = moves_of(model, page_size=2)
    numbers: list[list[int]] = []
    while True:
        page = platform.promotions.ListPromotions(request)
        numbers.append([move.version_number for move in page.promotions])
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert numbers == [[1, 2], [1, 2], [1]]
    request.version_number = 2
    assert refused(platform.promotions.ListPromotions, request).reason == "PAGE_TOKEN_INVALID"
    request.page_token = ""
    assert len(platform.promotions.ListPromotions(request).promotions) == 2
