"""EventService: contract in, contract out."""

import json
from collections.abc import Sequence

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.registry.domain.events import Events
from modelry_server.registry.entities import Event

# What an event is called where it is stored, what the contract calls it, and the field that holds its payload.
_TYPES: dict[str, tuple[api.EventType.ValueType, str]] = {
    "model.created": (api.EVENT_TYPE_MODEL_CREATED, "model_created"),
    "model.updated": (api.EVENT_TYPE_MODEL_UPDATED, "model_updated"),
    "model.deleted": (api.EVENT_TYPE_MODEL_DELETED, "model_deleted"),
    "model.tags_set": (api.EVENT_TYPE_MODEL_TAGS_SET, "tags_set"),
    "model.tags_deleted": (api.EVENT_TYPE_MODEL_TAGS_DELETED, "tags_deleted"),
    "version.created": (api.EVENT_TYPE_VERSION_CREATED, "version_created"),
    "version.updated": (api.EVENT_TYPE_VERSION_UPDATED, "version_updated"),
    "version.deleted": (api.EVENT_TYPE_VERSION_DELETED, "version_deleted"),
    "version.tags_set": (api.EVENT_TYPE_VERSION_TAGS_SET, "tags_set"),
    "version.tags_deleted": (api.EVENT_TYPE_VERSION_TAGS_DELETED, "tags_deleted"),
    "version.promoted": (api.EVENT_TYPE_VERSION_PROMOTED, "version_promoted"),
    "alias.set": (api.EVENT_TYPE_ALIAS_SET, "alias_set"),
    "alias.deleted": (api.EVENT_TYPE_ALIAS_DELETED, "alias_deleted"),
    "evaluation.created": (api.EVENT_TYPE_EVALUATION_CREATED, "evaluation_created"),
}
MOST_TYPES = 100
_NAMES = {number: name for name, (number, _) in _TYPES.items()}


class EventService(api.EventServiceServicer):
    """Answers calls about events."""

    def __init__(self, events: Events, pager: Pager) -> None:
        self._events = events
        self._pager = pager

    def ListEvents(self, request: api.ListEventsRequest, context: grpc.ServicerContext) -> api.ListEventsResponse:
        """Lists events after a cursor, the oldest first."""
        size = self._pager.page(request.page_size, "", scope=()).size
        followed = self._events.page(
            request.workspace,
            request.after_cursor,
            model_name=request.model_name,
            types=lambda: _names(request.types),
            limit=size,
        )
        events, is_all = fitting(message(event, cursor) for event, cursor in followed.events)
        has_seen_last = is_all and len(events) < size  # if not, the filter may find more
        return api.ListEventsResponse(
            events=events, next_cursor=followed.last_cursor if has_seen_last else events[-1].cursor
        )


def message(event: Event, cursor: str) -> api.Event:
    """The event as the contract has it."""
    number, field = _TYPES[event.type]
    result = api.Event(
        event_id=event.event_id,
        cursor=cursor,
        type=number,
        workspace=event.workspace,
        model_id=event.model_id,
        model_name=event.model_name,
        version_number=event.version_number,
        audit_sequence=event.audit_sequence,
        **{field: json.loads(event.payload)},
    )
    result.create_time.FromMilliseconds(event.create_time)
    return result


def _names(numbers: Sequence[int]) -> list[str]:
    """What types of events are called where they are stored. Raises FieldInvalid for one that is not known here."""
    with Fields() as fields:

        def judge(path: str, number: int) -> None:
            if number not in _NAMES:
                known = ", ".join(str(int(each)) for each in _NAMES)
                fields.refuse(path, f"{number} is not a type of event; this server knows {known}")

        wanted = fields.each("types", numbers, judge, most=MOST_TYPES)
    return [_NAMES[api.EventType.ValueType(number)] for number in wanted]
