"""The rules of events."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from modelry_server.kernel.access import Permission
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.clients import Workspaces
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.domain.names import MODEL_NAME_LENGTH
from modelry_server.registry.entities import Event
from modelry_server.registry.errors import CursorOutOfRange
from modelry_server.registry.store import events as store

_BATCH = 1000
"""How many events get their positions in one transaction."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events with their cursors, and the cursor to go on from, which has passed what the filter left out, too."""

    events: Sequence[tuple[Event, str]]
    next_cursor: str


class Events:
    """Numbers the events that the journal wrote, and reads them."""

    def __init__(self, db: Database, workspaces: Workspaces, lookup: Lookup, pager: Pager) -> None:
        self._db = db
        self._workspaces = workspaces
        self._lookup = lookup
        self._pager = pager

    def page(
        self,
        workspace: str,
        after_cursor: str,
        *,
        model_name: str = "",
        types: Callable[[], Collection[str]] = tuple,
        limit: int,
    ) -> EventPage:
        """At most `limit` events after a cursor, the oldest first: of a model, of the types that `types` gives, or all.

        All that was committed before the call is among them or after them. Raises FieldInvalid, WorkspaceNotFound,
        CursorInvalid, CursorOutOfRange.
        """
        self._lookup.workspace(Permission.READ, workspace)
        with Fields() as fields:
            fields.text("model_name", model_name, longest=MODEL_NAME_LENGTH)
        wanted = types()
        self._workspaces.require(workspace)
        after = self._position(workspace, after_cursor)
        with self._db.read() as tx:
            is_behind = store.has_unnumbered(tx, workspace)
        if is_behind:
            self._number(workspace)
        with self._db.read() as tx:
            last = store.last_position(tx, workspace)
            if after > last:
                oldest = store.oldest_position(tx, workspace)
                raise CursorOutOfRange(
                    oldest_cursor=self._cursor(workspace, max(oldest - 1, 0)),
                    newest_cursor=self._cursor(workspace, last),
                )
            found = store.page(tx, workspace, after=after, until=last, model_name=model_name, types=wanted, limit=limit)
        events = [(event, self._cursor(workspace, event.position)) for event in found]
        return EventPage(events, events[-1][1] if len(events) == limit else self._cursor(workspace, last))

    def number(self) -> None:
        """Gives positions to the committed events that have none: to all of each workspace that it comes across."""
        with self._db.read() as tx:
            behind = store.workspaces_to_number(tx, _BATCH)
        for workspace in behind:
            self._number(workspace)

    def _number(self, workspace: str) -> None:
        count = _BATCH
        while count == _BATCH:
            with self._db.write() as tx:
                count = store.number(tx, workspace, _BATCH)

    def _cursor(self, workspace: str, position: int | None) -> str:
        return self._pager.cursor(("events", workspace), (position,))

    def _position(self, workspace: str, cursor: str) -> int:
        if not cursor:
            return 0
        (position,) = self._pager.read_cursor(("events", workspace), cursor, field="after_cursor")
        return int(position or 0)
