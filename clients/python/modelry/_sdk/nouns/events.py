"""What happened in the registry, for programs that follow it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import name_of
from modelry._sdk.nouns.lazy_list import LARGEST_PAGE, LazyList, page_of
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.answers import malformed
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Event:
    """A change in the registry.

    `type` is a text such as `version.promoted`; a type that this client does not know is `UNKNOWN(<number>)`. `payload`
    says by name what changed, such as `from_stage` and `to_stage`. `cursor` can only be given back to `list`.
    """

    event_id: str
    cursor: str
    type: str
    workspace: str
    model_id: str
    model_name: str
    version_number: int
    create_time: datetime | None
    audit_sequence: int
    payload: Mapping[str, Any]


class EventList(LazyList[Event]):
    """Events, the oldest first, and where to go on after them."""

    def __init__(self, connection: Connection, request: registry.ListEventsRequest, max_results: int | None) -> None:
        self._connection = connection
        self._request = request
        self._page_size = request.page_size
        super().__init__(self._events(max_results))

    @property
    def next_cursor(self) -> str:
        """The `after_cursor` of a list that goes on where this one ends. Fetches the whole list."""
        len(self)
        return self._request.after_cursor

    def _events(self, left: int | None) -> Iterator[Event]:
        while left is None or left > 0:
            size = self._page_size if left is None else min(left, self._page_size or left)
            self._request.page_size = min(size, LARGEST_PAGE)
            page = self._connection.call(registry.rpcs.LIST_EVENTS, self._request)
            if page.events and page.next_cursor == self._request.after_cursor:
                raise malformed("events, and as the cursor after them the one before them")
            self._request.after_cursor = page.next_cursor
            if not page.events:
                return
            events = page_of(page.events, self._request.page_size)
            left = None if left is None else left - len(events)
            yield from map(_event_of, events)


@arguments.texts_checked
class Events:
    """Reads events."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def list(
        self,
        after_cursor: str = "",
        *,
        name: str = "",
        types: str | Iterable[str] = (),
        max_results: int | None = None,
        page_size: int = 100,
    ) -> EventList:
        """Lists the events of the workspace after a cursor, the oldest first, up to this moment.

        `name` selects a model, `types` kinds of events such as `version.promoted`. To follow the registry, list again
        after the `next_cursor` of the last list: no event is skipped and none comes twice. Raises CursorInvalid and
        CursorOutOfRange when the list is read, and InvalidArgument at once for a type that does not exist.
        """
        request = registry.ListEventsRequest(
            workspace=self._workspace,
            after_cursor=after_cursor,
            model_name=name,
            types=[_type_number(given) for given in arguments.listed("types", types)],
            page_size=arguments.count("page_size", page_size) or 0,
        )
        return EventList(self._connection, request, arguments.count("max_results", max_results))


def _type_name(number: int) -> str:
    """`version.promoted` for `EVENT_TYPE_VERSION_PROMOTED`."""
    name = name_of(registry.EventType, number)
    return name if name.startswith("UNKNOWN") else name.lower().replace("_", ".", 1)


def _type_number(name: str) -> registry.EventType.ValueType:
    for number in registry.EventType.values():
        if number and _type_name(number) == name.lower():
            return number
    known = ", ".join(_type_name(number) for number in registry.EventType.values() if number)
    raise InvalidArgument(f"event type {name!r} is not one of {known}", fields={"types": f"is not one of {known}"})


def _event_of(message: registry.Event) -> Event:
    payload = message.WhichOneof("payload")
    return Event(
        event_id=message.event_id,
        cursor=message.cursor,
        type=_type_name(message.type),
        workspace=message.workspace,
        model_id=message.model_id,
        model_name=message.model_name,
        version_number=message.version_number,
        create_time=time_of(message, "create_time"),
        audit_sequence=message.audit_sequence,
        payload=_fields_of(getattr(message, payload)) if payload else {},
    )


def _fields_of(message: Message) -> dict[str, Any]:
    """The fields of a payload by name, as plain values."""
    return {field.name: _plain(getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _plain(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)
