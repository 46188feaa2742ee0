"""The rules of workspaces."""

import re

from modelry_server.access import instruments
from modelry_server.access.entities import Workspace
from modelry_server.access.errors import WorkspaceExists
from modelry_server.access.store import workspaces as store
from modelry_server.kernel.access import WorkspaceNotFound
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.requests.fields import NOTE_LENGTH, Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")


class Workspaces:
    """Makes, reads, lists and describes workspaces."""

    def __init__(self, db: Database, requests: Requests, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._clock = clock

    def create(self, name: str, description: str, request: Request) -> Workspace:
        """Makes a workspace. Raises FieldInvalid, WorkspaceExists."""
        with Fields() as fields:
            if not _NAME.match(name):
                rule = "1 to 63 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
                fields.refuse("name", f"{shown(name)} is not a workspace name: {rule}")
            fields.text("description", description, longest=NOTE_LENGTH, controls=True)
            fields.request_id(request.request_id)
        now = self._clock.now()
        with self._db.write() as tx:
            if known := self._requests.recall(tx, request):
                return store.find(tx, known) or Workspace(known, description, now, now)
            workspace = Workspace(name, description, now, now)
            if not store.add(tx, workspace):
                known = self._requests.recall(tx, request)  # the same request may have been faster
                raced = store.find(tx, known) if known else None
                if raced is None:
                    raise WorkspaceExists(name)
                return raced
            self._requests.remember(tx, request, name)
        instruments.workspaces_created_total.inc()
        return workspace

    def get(self, name: str) -> Workspace:
        """The workspace of a name. Raises WorkspaceNotFound."""
        with self._db.read() as tx:
            workspace = store.find(tx, name)
        if workspace is None:
            raise WorkspaceNotFound(name)
        return workspace

    def page(self, after: str, limit: int) -> list[Workspace]:
        """At most `limit` workspaces that follow a name, by name."""
        with self._db.read() as tx:
            return store.page(tx, after, limit)

    def describe(self, name: str, description: str, etag: str) -> Workspace:
        """Changes the description. Raises WorkspaceNotFound, FieldInvalid, EtagMismatch."""
        with Fields() as fields:
            fields.text("workspace.description", description, longest=NOTE_LENGTH, controls=True)
        with self._db.write() as tx:
            workspace = store.find(tx, name)
            if workspace is None:
                raise WorkspaceNotFound(name)
            if etag and etag != workspace.etag:
                raise EtagMismatch(etag, workspace.etag)
            now = self._clock.now()
            if not store.describe(tx, name, description, now, workspace.revision):
                raise EtagMismatch(etag, "a newer one")
        return Workspace(name, description, workspace.create_time, now, workspace.revision + 1)
