"""The rules of events."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Found, Pager, block_by_block
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.clients import Workspaces
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.domain.names import MODEL_NAME_LENGTH
from modelry_server.registry.entities import Event
from modelry_server.registry.errors import CursorOutOfRange
from modelry_server.registry.store import events as store
from modelry_server.registry.store.search import Key

_BATCH = 1000
"""How many events get their positions in one transaction."""


class _Mark(NamedTuple):
    """What a cursor holds: the position of the last event before it, and the id of that event.

    The position alone is not enough. After a restore from a backup it is given again, to another event.
    """

    position: int = 0
    event_id: str = ""


_BEGINNING = _Mark()


@dataclass(frozen=True, slots=True)
class EventPage:
    """At most `limit` events with their cursors, which are read while they are taken.

    `last_cursor` is that of the last event of the workspace that the caller may read: to go on from if these are fewer
    than `limit`. It tells nothing of events of other models.
    """

    events: Iterator[tuple[Event, str]]
    last_cursor: str


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
        within = self._lookup.within(workspace)
        with Fields() as fields:
            fields.text("model_name", model_name, longest=MODEL_NAME_LENGTH)
        wanted = types()
        self._workspaces.require(workspace)
        after = self._mark(workspace, after_cursor)
        with self._db.read() as tx:
            is_behind = store.has_unnumbered(tx, workspace, within)
        if is_behind:
            self._number(workspace)
        with self._db.read() as tx:
            last = _mark_at(tx, workspace, store.last_position(tx, workspace, within))
            if after != _mark_at(tx, workspace, after.position):
                raise CursorOutOfRange(
                    oldest_cursor=self._cursor(workspace, _BEGINNING), newest_cursor=self._cursor(workspace, last)
                )
        last = max(last, after)  # another caller's cursor may be that of a later event

        def read(tx: Transaction, after: Key | None, limit: int) -> list[Found[Event]]:
            begin = int(after[0] or 0) if after else 0
            found = store.page(
                tx,
                workspace,
                within,
                after=begin,
                until=last.position,
                model_name=model_name,
                types=wanted,
                limit=limit,
            )
            return [Found(event, (event.position,)) for event in found]

        found = self._db.each(lambda tx: block_by_block(partial(read, tx), (after.position,), limit))
        marks = ((each.item, _Mark(each.item.position or 0, each.item.event_id)) for each in found)
        events = ((event, self._cursor(workspace, mark)) for event, mark in marks)
        return EventPage(events, self._cursor(workspace, last))

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

    def _cursor(self, workspace: str, mark: _Mark) -> str:
        return self._pager.cursor(("events", workspace), mark)

    def _mark(self, workspace: str, cursor: str) -> _Mark:
        if not cursor:
            return _BEGINNING
        position, event_id = self._pager.read_cursor(("events", workspace), cursor, field="after_cursor")
        return _Mark(int(position or 0), str(event_id))


def _mark_at(tx: Transaction, workspace: str, position: int) -> _Mark:
    """The mark after the event at a position; the beginning if there is no such event."""
    event_id = store.id_at(tx, workspace, position)
    return _BEGINNING if event_id is None else _Mark(position, event_id)
