from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry.api.registry import v1 as api
from tests.contract.registry.conftest import Platform, unique
from tests.parts.refusal import refused

WRITERS = 8
CHANGES = 10


def newest(platform: Platform) -> int:
    """The cursor of the last event that there is."""
    cursor = 0
    while events := platform.events.ListEvents(api.ListEventsRequest(after_cursor=cursor, page_size=1000)).events:
        cursor = events[-1].cursor
    return cursor


def test_each_change_is_an_event_in_the_order_of_the_changes(platform: Platform) -> None:
    before = newest(platform)
    version = platform.a_version(platform.a_model(description="x").name)
    platform.aliases.SetAlias(api.SetAliasRequest(model=version.model, alias="champion", number=1))

    request = api.ListEventsRequest(after_cursor=before, model=version.model)
    found = platform.events.ListEvents(request).events

    assert [(each.type, each.number) for each in found] == [
        ("model.created", 0),
        ("version.created", 1),
        ("alias.set", 1),
    ]
    assert json.loads(found[-1].payload) == {"alias": "champion", "number": 1}
    assert {each.model for each in found} == {version.model}


def test_who_follows_from_the_last_cursor_misses_nothing_and_sees_nothing_twice(platform: Platform) -> None:
    names = [unique("fraud") for _ in range(WRITERS)]
    first = newest(platform)
    writing = threading.Event()
    seen: list[api.Event] = []

    def write(name: str) -> None:
        platform.a_model(name)
        for change in range(CHANGES):
            platform.models.SetModelTags(api.SetModelTagsRequest(name=name, tags={"n": str(change)}))

    def follow() -> None:
        while True:
            is_last_look = writing.is_set()
            request = api.ListEventsRequest(after_cursor=seen[-1].cursor if seen else first, page_size=7)
            new = platform.events.ListEvents(request).events
            seen.extend(new)
            if is_last_look and not new:
                return

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        following = pool.submit(follow)
        for written in [pool.submit(write, name) for name in names]:
            written.result()
        writing.set()
        following.result()

    cursors = [event.cursor for event in seen]
    assert cursors == sorted(set(cursors))
    for name in names:
        told = [event.payload for event in seen if event.model == name][1:]
        assert told == [f'{{"n":"{change}"}}' for change in range(CHANGES)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"after_cursor": -1}, "FIELD_INVALID"),
        ({"after_cursor": 2**62}, "FIELD_INVALID"),
        ({"page_size": -1}, "FIELD_INVALID"),
        ({"model": "x" * 251}, "FIELD_INVALID"),
        ({"workspace": "nowhere"}, "WORKSPACE_NOT_FOUND"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    platform: Platform, fields: dict[str, object], reason: str
) -> None:
    refusal = refused(platform.events.ListEvents, api.ListEventsRequest(**fields))  # type: ignore[arg-type]

    assert refusal.reason == reason
