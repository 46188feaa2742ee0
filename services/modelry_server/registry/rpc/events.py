"""EventService: contract in, contract out."""

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.registry.domain.events import Events
from modelry_server.registry.entities import DEFAULT_WORKSPACE, Event


class EventService(api.EventServiceServicer):
    """Answers calls about events."""

    def __init__(self, events: Events, pager: Pager) -> None:
        self._events = events
        self._pager = pager

    def ListEvents(self, request: api.ListEventsRequest, context: grpc.ServicerContext) -> api.ListEventsResponse:
        """Lists events after a cursor, the oldest first."""
        size = self._pager.page(request.page_size, "", scope=()).size
        found = self._events.page(
            request.workspace or DEFAULT_WORKSPACE, request.model, after=request.after_cursor, limit=size
        )
        return api.ListEventsResponse(events=fitting(map(_message, found), size))


def _message(event: Event) -> api.Event:
    result = api.Event(
        cursor=event.cursor,
        workspace=event.workspace,
        model=event.model,
        number=event.number,
        type=event.type,
        payload=event.payload,
    )
    result.create_time.FromMilliseconds(event.create_time)
    return result
