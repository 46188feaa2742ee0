"""What happened in the registry, for programs that follow it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelry._sdk.nouns.arguments import count
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry

_SERVICE = "modelry.api.registry.v1.EventService"


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `cursor` counts from 1 without gaps, in the order in which changes were committed."""

    cursor: int
    workspace: str
    model: str
    number: int
    type: str
    create_time: datetime | None
    payload: Mapping[str, Any]


class Events:
    """Reads events."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def list(
        self, after_cursor: int = 0, *, name: str = "", max_results: int | None = None, page_size: int = 100
    ) -> LazyList[Event]:
        """Lists the events after a cursor, of one model or of all, the oldest first, up to those of this moment.

        Ask again with the cursor of the last one to go on: nothing is skipped and nothing repeated.
        """
        most, size = count("max_results", max_results), count("page_size", page_size) or 0
        return LazyList(self._read(after_cursor, name, most, size))

    def _read(self, cursor: int, name: str, left: int | None, page_size: int) -> Iterator[Event]:
        while left is None or left > 0:
            size = page_size if left is None else min(left, page_size or left)
            request = registry.ListEventsRequest(
                workspace=self._workspace, after_cursor=cursor, model=name, page_size=size
            )
            page = self._connection.call(f"{_SERVICE}/ListEvents", request, registry.ListEventsResponse).events
            if not page:
                return
            yield from map(_event_of, page)
            cursor = page[-1].cursor
            left = None if left is None else left - len(page)


def _event_of(message: registry.Event) -> Event:
    return Event(
        cursor=message.cursor,
        workspace=message.workspace,
        model=message.model,
        number=message.number,
        type=message.type,
        create_time=time_of(message, "create_time"),
        payload=json.loads(message.payload or "{}"),
    )
