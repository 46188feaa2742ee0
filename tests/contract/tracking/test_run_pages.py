"""Runs by pages: whatever their size and whatever they are sorted by, each is found once."""

from __future__ import annotations

from typing import Any

from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as api
from tests.contract.tracking.conftest import Tracking
from tests.parts.refusal import refused


def test_a_page_is_never_larger_than_a_client_receives(tracking: Tracking) -> None:
    experiment_id = tracking.an_experiment()
    for _ in range(9):
        tracking.a_run(experiment_id, params={f"p{n}": "x" * 6000 for n in range(160)})
    request = api.SearchRunsRequest(workspace="default", experiment_ids=[experiment_id], page_size=9)

    pages = [tracking.runs.SearchRuns(request)]
    while pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token
        pages.append(tracking.runs.SearchRuns(request))

    assert len(pages) > 1
    assert max(page.ByteSize() for page in pages) < 4 << 20
    assert len({run.run_id for page in pages for run in page.runs}) == 9


def test_a_page_is_left_behind_however_long_the_texts_are_that_it_is_sorted_by(tracking: Tracking) -> None:
    experiment_id = tracking.an_experiment()
    made = [
        tracking.a_run(
            experiment_id, name="\U0001f600" * 500, claimed_user="\u578b" * 250, params={"p": "\U0001f600" * 6000},
            tags={"a": "\x01" * 7999 + str(n), "b": "\\" * 8000},
        )
        for n in range(3)
    ]  # fmt: skip
    request = api.SearchRunsRequest(
        workspace="default",
        experiment_ids=[experiment_id],
        order_by=["name", "claimed_user", "params.p", "tags.a", "tags.b"],
        page_size=1,
    )

    found: list[str] = []
    while not found or request.page_token:
        page = tracking.runs.SearchRuns(request)
        found += [run.run_id for run in page.runs]
        request.page_token = page.next_page_token

    assert sorted(found) == sorted(made)


def test_a_page_token_holds_for_its_own_search_and_caller_only(tracking: Tracking) -> None:
    experiment_id = tracking.an_experiment()
    for _ in range(3):
        tracking.a_run(experiment_id)
    first = api.SearchRunsRequest(workspace="default", experiment_ids=[experiment_id], page_size=1)
    token = tracking.runs.SearchRuns(first).next_page_token
    changes: list[dict[str, Any]] = [
        {"filter": "name != ''"},
        {"order_by": ["start_time ASC"]},
        {"experiment_ids": [experiment_id, "0"]},
        {"lifecycle": common.LIFECYCLE_FILTER_ANY},
        {"page_token": token[:-1] + ("A" if token[-1] != "A" else "B")},
        {"page_token": "A" * 1_000_000},
    ]

    for change in changes:
        fields: dict[str, Any] = {
            "workspace": "default",
            "experiment_ids": [experiment_id],
            "page_token": token,
        } | change
        refusal = refused(tracking.runs.SearchRuns, api.SearchRunsRequest(**fields))
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"), change
    first.page_token = token
    other = refused(tracking.runs.SearchRuns, first, metadata=(("modelry-subject", "somebody else"),))

    assert other.reason == "PAGE_TOKEN_INVALID"
    assert len(tracking.runs.SearchRuns(first).runs) == 1
