"""Events against a scripted server: paging, cursors and payloads."""

from __future__ import annotations

from typing import Any

import pytest

from modelry._sdk.nouns.events import _event_of
from modelry.api.registry import v1 as registry
from modelry.errors import InvalidArgument
from tests.python.registry_script import scripted

LIST = registry.rpcs.LIST_EVENTS


def page(*cursors: str, next_cursor: str) -> registry.ListEventsResponse:
    events = [registry.Event(cursor=cursor, type=registry.EVENT_TYPE_MODEL_CREATED) for cursor in cursors]
    return registry.ListEventsResponse(events=events, next_cursor=next_cursor)


def test_a_list_reads_to_the_end_and_tells_where_to_go_on() -> None:
    answers: dict[Any, list[Any]] = {LIST: [page("a", "b", next_cursor="b"), page(next_cursor="z")]}

    with scripted(answers) as (client, server):
        found = client.events.list("start", name="bikes", types=["version.promoted"], page_size=2)
        cursors = [event.cursor for event in found]

    assert (cursors, found.next_cursor) == (["a", "b"], "z")
    assert [(request.after_cursor, request.page_size) for request in server.requests] == [("start", 2), ("b", 2)]
    assert {(request.workspace, request.model_name) for request in server.requests} == {("default", "bikes")}
    assert list(server.requests[0].types) == [registry.EVENT_TYPE_VERSION_PROMOTED]


def test_an_empty_list_tells_where_to_go_on_too() -> None:
    with scripted({LIST: [page(next_cursor="later")]}) as (client, _):
        found = client.events.list(name="bikes")

        assert (list(found), found.next_cursor) == ([], "later")


def test_a_limited_list_goes_on_after_its_last_event() -> None:
    answers: dict[Any, list[Any]] = {LIST: [page("a", "b", next_cursor="b"), page("c", next_cursor="c")]}

    with scripted(answers) as (client, server):
        found = client.events.list(max_results=3, page_size=2)

        assert (len(found), found.next_cursor) == (3, "c")
    assert [request.page_size for request in server.requests] == [2, 1]


def test_a_type_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with (
        scripted({}) as (client, _),
        pytest.raises(InvalidArgument, match=r"'version\.eaten' is not one of model\.created, .*alias\.deleted"),
    ):
        client.events.list(types="version.eaten")


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ({"model_created": registry.ModelCreated()}, {}),
        ({"tags_set": registry.TagsSet(tags={"a": "b"})}, {"tags": {"a": "b"}}),
        (
            {"version_promoted": registry.VersionPromoted(promotion_id="p", to_stage="Staging")},
            {"promotion_id": "p", "from_stage": "", "to_stage": "Staging", "archived_version_numbers": []},
        ),
        ({"model_deleted": registry.ModelDeleted(version_numbers=[1, 2])}, {"version_numbers": [1, 2]}),
        ({}, {}),
    ],
)
def test_a_payload_is_plain_values_by_name(payload: dict[str, Any], shown: dict[str, Any]) -> None:
    assert _event_of(registry.Event(**payload)).payload == shown


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (registry.EVENT_TYPE_VERSION_PROMOTED, "version.promoted"),
        (registry.EVENT_TYPE_MODEL_TAGS_SET, "model.tags_set"),
        (registry.EVENT_TYPE_ALIAS_DELETED, "alias.deleted"),
    ],
)
def test_a_type_is_a_noun_and_what_happened(number: registry.EventType.ValueType, name: str) -> None:
    assert _event_of(registry.Event(type=number)).type == name
