"""The rules of workspaces."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from modelry_server.access import instruments
from modelry_server.access.entities import Workspace
from modelry_server.access.errors import WorkspaceExists
from modelry_server.access.store import workspaces as store
from modelry_server.kernel.access import INSTALLATION, Access, Permission, Place, WorkspaceNotFound
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.requests.fields import NOTE_LENGTH, Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction

CHANGEABLE = ("description",)
"""The fields that an update can change."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")


class Workspaces:
    """Creates, reads, lists and changes workspaces."""

    def __init__(self, db: Database, requests: Requests, access: Access, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._access = access
        self._clock = clock

    def create(self, name: str, description: str, request: Request) -> Workspace:
        """Creates a workspace. Raises PermissionMissing, FieldInvalid, WorkspaceExists."""
        self._access.require(Permission.ADMIN, INSTALLATION)
        with Fields() as fields:
            if not _NAME.match(name):
                rule = "1 to 63 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
                fields.refuse("name", f"{shown(name)} is not a workspace name: {rule}")
            fields.text("description", description, longest=NOTE_LENGTH, controls=True)
            fields.request_id(request.request_id)
        now = self._clock.now()
        workspace = Workspace(name, description, now, now)

        def make() -> tuple[str, Workspace] | None:
            return (name, workspace) if store.add(tx, workspace) else None

        def refuse() -> None:
            raise WorkspaceExists(name)

        with self._db.write() as tx:
            answer = self._requests.once(
                tx, request, find=lambda known: self._found(tx, known), make=make, existing=refuse
            )
        if answer is workspace:
            instruments.workspaces_created_total.inc()
        return answer

    def get(self, name: str) -> Workspace:
        """The workspace with this name. Raises WorkspaceNotFound."""
        with self._db.read() as tx:
            workspace = self._found(tx, name)
        self._access.require(Permission.READ, Place(name))
        return workspace

    def page(self, after: str, limit: int) -> Sequence[Workspace]:
        """At most `limit` workspaces that the caller may read, by name, starting after a name."""
        readable: list[Workspace] = []
        with self._db.read() as tx:
            is_last = False
            while len(readable) < limit and not is_last:
                rows = store.page(tx, after, limit)
                readable += [each for each in rows if self._access.allows(Permission.READ, Place(each.name))]
                is_last = len(rows) < limit
                after = rows[-1].name if rows else after
        return readable[:limit]

    def update(self, name: str, etag: str, changes: Callable[[], Mapping[str, str]]) -> Workspace:
        """Changes the fields that `changes` gives. Raises WorkspaceNotFound, FieldInvalid, EtagMismatch."""
        with self._db.write() as tx:
            workspace = self._found(tx, name, lock=True)
            self._access.require(Permission.ADMIN, Place(name))
            changed = changes()
            description = changed.get("description", workspace.description)
            with Fields() as fields:
                fields.text("workspace.description", description, longest=NOTE_LENGTH, controls=True)
            if etag and etag != workspace.etag:
                raise EtagMismatch(etag, workspace.etag)
            if not changed:
                return workspace
            workspace = replace(
                workspace, description=description, update_time=self._clock.now(), revision=workspace.revision + 1
            )
            store.update(tx, workspace)
        return workspace

    def _found(self, tx: Transaction, name: str, *, lock: bool = False) -> Workspace:
        workspace = store.find(tx, name, lock=lock)
        if workspace is None:
            raise WorkspaceNotFound(name)
        return workspace
