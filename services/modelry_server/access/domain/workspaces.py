"""The rules of workspaces."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from modelry_server.access.domain import journal
from modelry_server.access.entities import Quotas, Workspace
from modelry_server.access.errors import WorkspaceExists
from modelry_server.access.store import workspaces as store
from modelry_server.kernel.access import INSTALLATION, Access, Place, WorkspaceNotFound
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.requests.fields import NOTE_LENGTH, Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import Permission

CHANGEABLE = ("description", "quotas.run_count", "quotas.version_count", "quotas.stored_bytes")
"""The fields that an update can change."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_UNLIMITED = Quotas()
_OF_QUOTAS = "quotas."


def judge_name(fields: Fields, path: str, name: str) -> None:
    """The name of a workspace."""
    if not _NAME.match(name):
        rule = "1 to 63 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
        fields.refuse(path, f"{shown(name)} is not a workspace name: {rule}")


class Workspaces:
    """Creates, reads, lists and changes workspaces."""

    def __init__(self, db: Database, requests: Requests, access: Access, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._access = access
        self._clock = clock

    def create(self, name: str, description: str, request: Request, quotas: Quotas = _UNLIMITED) -> Workspace:
        """Creates a workspace. Raises PermissionMissing, FieldInvalid, WorkspaceExists."""
        self._access.require(INSTALLATION)
        if quotas != _UNLIMITED:
            self._access.require(INSTALLATION, permission=Permission.QUOTAS_WRITE)
        with Fields() as fields:
            judge_name(fields, "name", name)
            fields.text("description", description, longest=NOTE_LENGTH, controls=True)
            _judge_quotas(fields, "quotas", quotas)
            fields.request_id(request.request_id)
        now = self._clock.now()
        workspace = Workspace(name, description, now, now, quotas=quotas)

        def make() -> tuple[str, Workspace] | None:
            if not store.add(tx, workspace):
                return None
            after: dict[str, journal.Value] = {"description": description, "quotas": _shown(quotas)}
            _write_down(tx, "workspace.created", workspace, {}, after, now)
            return name, workspace

        def refuse() -> None:
            raise WorkspaceExists(name)

        with self._db.write() as tx:
            return self._requests.once(
                tx, request, find=lambda known: self._found(tx, known), make=make, existing=refuse
            )

    def get(self, name: str) -> Workspace:
        """The workspace with this name. Raises WorkspaceNotFound."""
        self._access.require_seen(Place(name), unseen=lambda: WorkspaceNotFound(name))
        with self._db.read() as tx:
            return self._found(tx, name)

    def page(self, after: str, limit: int) -> Sequence[Workspace]:
        """At most `limit` workspaces that the caller sees, by name, starting after a name."""
        with self._db.read() as tx:
            return store.page(tx, after, limit, among=self._access.workspaces())

    def update(self, name: str, etag: str, changes: Callable[[], Mapping[str, Any]]) -> Workspace:
        """Changes the fields of `CHANGEABLE` that `changes` gives. A quota that is None is removed.

        Raises WorkspaceNotFound, PermissionMissing, FieldInvalid, EtagMismatch.
        """
        self._access.require(Place(name))  # before it is looked for, so that the time does not say whether it is there
        with self._db.write() as tx:
            before = self._found(tx, name, lock=True)
            changed = changes()
            after = _changed(before, changed)
            if after.quotas != before.quotas:
                self._access.require(INSTALLATION, permission=Permission.QUOTAS_WRITE)
            with Fields("workspace.") as fields:
                fields.text("description", after.description, longest=NOTE_LENGTH, controls=True)
                _judge_quotas(fields, "quotas", after.quotas)
            if etag and etag != before.etag:
                raise EtagMismatch(etag, before.etag)
            if not changed:
                return before
            now = self._clock.now()
            after = replace(after, update_time=now, revision=before.revision + 1)
            store.update(tx, after)
            shown_before, shown_after = _differences(before, after)
            _write_down(tx, "workspace.updated", after, shown_before, shown_after, now)
        return after

    def _found(self, tx: Transaction, name: str, *, lock: bool = False) -> Workspace:
        workspace = store.find(tx, name, lock=lock)
        if workspace is None:
            raise WorkspaceNotFound(name)
        return workspace


def _judge_quotas(fields: Fields, path: str, quotas: Quotas) -> None:
    for name, most in asdict(quotas).items():
        if most is not None and most < 0:
            rule = "0 allows nothing more, and a quota that is not set is no limit"
            fields.refuse(f"{path}.{name}", f"{most} is negative; {rule}")


def _shown(quotas: Quotas) -> Mapping[str, int]:
    return {name: most for name, most in asdict(quotas).items() if most is not None}


def _changed(before: Workspace, changed: Mapping[str, Any]) -> Workspace:
    quotas = {name.removeprefix(_OF_QUOTAS): value for name, value in changed.items() if name.startswith(_OF_QUOTAS)}
    own = {name: value for name, value in changed.items() if not name.startswith(_OF_QUOTAS)}
    return replace(before, **own, quotas=replace(before.quotas, **quotas))


def _differences(
    before: Workspace, after: Workspace
) -> tuple[Mapping[str, journal.Value], Mapping[str, journal.Value]]:
    """What an update changed, as it was and as it is."""
    was: dict[str, journal.Value] = {}
    now: dict[str, journal.Value] = {}
    if before.description != after.description:
        was["description"], now["description"] = before.description, after.description
    if before.quotas != after.quotas:
        was["quotas"], now["quotas"] = _shown(before.quotas), _shown(after.quotas)
    return was, now


def _write_down(
    tx: Transaction,
    action: str,
    workspace: Workspace,
    before: Mapping[str, journal.Value],
    after: Mapping[str, journal.Value],
    now: int,
) -> None:
    name = workspace.name
    change = journal.Change(action, "workspace", name, name=name, workspace=name, before=before, after=after)
    journal.write(tx, change, now=now)
