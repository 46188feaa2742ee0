"""Idempotent creation: with a `request_id`, a retry answers with the thing that the first request created.

The id of the thing is stored in the transaction that creates it. A retry answers with the current state of the thing.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import RequestIdReused, RequestInFlight
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Rows, Transaction, fetch, insert_rows

_Thing = TypeVar("_Thing")

KEPT_MS = 24 * 3600 * 1000
"""How long a request id is remembered, in milliseconds."""

_FORGET_S = 3600.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request that may be sent twice: its caller, and a digest of its contents. An empty `request_id`: sent once.

    `subject` is the `key` of the caller.
    """

    subject: str
    rpc: str
    request_id: str
    digest: str


def request(message: Message) -> Request:
    """The request of the current call, from its message, which must have the field `request_id`."""
    request_id: str = message.request_id  # type: ignore[attr-defined]
    if not request_id:
        return Request("", "", "", "")
    digest = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    return Request(caller.current().key, message.DESCRIPTOR.full_name, request_id, digest)


class Requests:
    """Remembers what each request created, in the transaction of the change."""

    def __init__(self, table: sa.Table, clock: Clock) -> None:
        self._table = t = table
        self._clock = clock
        self._known = sa.select(t.c.digest, t.c.resource_id).where(
            t.c.subject == sa.bindparam("subject"),
            t.c.rpc == sa.bindparam("rpc"),
            t.c.request_id == sa.bindparam("request_id"),
            t.c.create_time > sa.bindparam("since"),
        )

    def once(
        self,
        tx: Transaction,
        request: Request,
        *,
        find: Callable[[str], _Thing],
        make: Callable[[], tuple[str, _Thing] | None],
        existing: Callable[[], _Thing | None],
    ) -> _Thing:
        """The thing that a request creates, or that an earlier request with the same id created.

        `find` returns the thing with the id that an earlier request stored. `make` writes the thing and returns its id
        and the thing, or None if an existing thing is in the way. Then `existing` decides: it returns the existing
        thing if that is the answer, raises if it is not, and returns None if it has disappeared meanwhile.
        Raises RequestIdReused, RequestInFlight.
        """
        while True:
            known = self.recall(tx, request)
            if known is None and (made := make()) is not None:
                self.remember(tx, request, made[0])
                return made[1]
            known = known or self.recall(tx, request)  # the same request may have won the race
            if known is not None:
                return find(known)
            if (there := existing()) is not None:
                return there

    def recall(self, tx: Transaction, request: Request) -> str | None:
        """The id of the thing that an earlier request with this id created; None if this is the first.

        Raises RequestIdReused if the earlier request had other contents.
        """
        if not request.request_id:
            return None
        since = self._clock.now() - KEPT_MS
        values = {"subject": request.subject, "rpc": request.rpc, "request_id": request.request_id, "since": since}
        found = fetch(tx, self._known, values)
        if not found:
            return None
        ((digest, resource_id),) = found
        if digest != request.digest:
            raise RequestIdReused(request.request_id)
        return str(resource_id)

    def remember(self, tx: Transaction, request: Request, resource_id: str) -> None:
        """Stores what the request created. Raises RequestInFlight if the same request has won the race."""
        for noted in self.note(request, resource_id):
            if insert_rows(tx, noted.table, noted.rows, _over_expired).count() == 0:
                raise RequestInFlight(request.request_id)

    def note(self, request: Request, resource_id: str) -> Sequence[Rows]:
        """The rows to write together with the thing. They conflict with those of the same request."""
        if not request.request_id:
            return ()
        row = {
            "subject": request.subject,
            "rpc": request.rpc,
            "request_id": request.request_id,
            "digest": request.digest,
            "resource_id": resource_id,
            "create_time": self._clock.now(),
        }
        return (Rows(self._table, [row]),)

    def job(self, db: Database) -> Job:
        """The background job that removes requests older than 24 hours from a service's database, every hour."""

        def forget() -> None:
            with db.write() as tx:
                self.forget(tx)

        return Job(f"{db.room}.requests.forget", _FORGET_S, forget)

    def forget(self, tx: Transaction) -> int:
        """Removes requests older than 24 hours. Returns their number."""
        return tx.execute(
            sa.delete(self._table).where(self._table.c.create_time <= self._clock.now() - KEPT_MS)
        ).rowcount


def _over_expired(statement: Any) -> Any:
    """Replaces an expired request with the same id."""
    t, new = statement.table, statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[t.c.subject, t.c.rpc, t.c.request_id],
        set_={name: new[name] for name in ("digest", "resource_id", "create_time")},
        where=t.c.create_time <= new.create_time - KEPT_MS,
    )
