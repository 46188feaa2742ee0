"""The rules of versions."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.clients import Runs, Workspaces
from modelry_server.registry.domain import journal, names, sources
from modelry_server.registry.domain.models import locked
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.domain.sources import RunSource, VersionSource
from modelry_server.registry.entities import IN_USE, Change, Files, Model, Stage, Version
from modelry_server.registry.errors import (
    MadeVersionDeleted,
    ModelNotFound,
    RunDeleted,
    TagNotFound,
    VersionInUse,
    VersionNotFound,
)
from modelry_server.registry.store import models, search
from modelry_server.registry.store import versions as store
from modelry_server.registry.store.search import Key


class Versions:
    """Makes, reads, changes, deletes and finds versions of registered models."""

    def __init__(
        self,
        db: Database,
        requests: Requests,
        clock: Clock,
        *,
        workspaces: Workspaces,
        runs: Runs,
        snapshots: Snapshots,
    ) -> None:
        self._db = db
        self._requests = requests
        self._clock = clock
        self._workspaces = workspaces
        self._runs = runs
        self._snapshots = snapshots

    def create(
        self,
        workspace: str,
        model: str,
        source: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        reason: str = "",
        request: Request,
    ) -> Version:
        """Makes the next version of a model from the files of a run, or from another version of the workspace.

        Raises FieldInvalid, ModelNotFound, VersionNotFound, RunDeleted, SourceEmpty, RequestIdReused; what tracking
        says of the run and artifacts of the path.
        """
        with Fields() as fields:
            wanted = sources.parse(fields, source)
            names.judge_texts(fields, description=description, tags=tags, reason=reason)
            fields.request_id(request.request_id)
        with self._db.read() as tx:
            if earlier := self._made_by(tx, request, model):
                return earlier
            if models.id_of(tx, workspace, model) is None:
                raise ModelNotFound(workspace, model)
            version_id = id_for(tx, request)
        run_id, files = self._freeze(version_id, workspace, wanted)
        try:
            with self._db.write() as tx:
                chain = locked(tx, workspace, model)
                made = self._made_by(tx, request, model)
                if made is None:
                    self._snapshots.claim(tx, version_id)
                    now = self._clock.now()
                    made = Version(
                        version_id=version_id,
                        model_id=chain.model_id,
                        workspace=workspace,
                        model=model,
                        number=models.next_number(tx, chain.model_id),
                        stage=Stage.NONE,
                        run_id=run_id,
                        source=source,
                        description=description,
                        user=caller.current().subject,
                        files=files,
                        create_time=now,
                        update_time=now,
                        tags=tags or {},
                    )
                    store.add(tx, made)
                    self._requests.remember(tx, request, version_id)
                    journal.write(tx, chain, [_created(made)], reason=reason, now=now)
        except BaseException:
            self._snapshots.give_up(version_id)
            raise
        if made.version_id != version_id:
            self._snapshots.give_up(version_id)
        return made

    def get(self, workspace: str, model: str, number: int) -> Version:
        """The version of a number. Raises ModelNotFound, VersionNotFound."""
        with self._db.read() as tx:
            version = store.named(tx, workspace, model, number)
            if version is None and models.id_of(tx, workspace, model) is None:
                raise ModelNotFound(workspace, model)
        if version is None:
            raise VersionNotFound(model, number)
        return version

    def describe(
        self,
        workspace: str,
        model: str,
        number: int,
        values: Mapping[str, str],
        *,
        etag: str = "",
        reason: str = "",
    ) -> Version:
        """Changes the description, if it is among the values.

        Raises ModelNotFound, VersionNotFound, FieldInvalid, EtagMismatch.
        """
        with Fields() as fields:
            names.judge_texts(fields, description=values.get("description", ""), reason=reason, at="version.")
        with self._db.write() as tx:
            chain = locked(tx, workspace, model)
            version = _found(tx, chain, number)
            if etag and etag != version.etag:
                raise EtagMismatch(etag, version.etag)
            after = values.get("description", version.description)
            if after != version.description:
                now = self._clock.now()
                store.describe(tx, version, after, now)
                texts = ({"description": version.description}, {"description": after})
                journal.write(tx, chain, [Change("version.updated", *texts, number)], reason=reason, now=now)
            return _found(tx, chain, number)

    def delete(self, workspace: str, model: str, number: int, *, reason: str = "") -> None:
        """Deletes a version; its files are let go, its number is never given again, its audit records stay.

        Raises ModelNotFound, VersionNotFound, VersionInUse, FieldInvalid.
        """
        with Fields() as fields:
            names.judge_texts(fields, reason=reason)
        with self._db.write() as tx:
            chain = locked(tx, workspace, model)
            version = _found(tx, chain, number)
            if version.stage in IN_USE or version.aliases:
                raise VersionInUse(model, number, version.stage, version.aliases)
            store.delete(tx, chain.model_id, number)
            self._snapshots.discard(tx, [version.version_id])
            change = Change("version.deleted", _content(version) | {"stage": version.stage}, {}, number)
            journal.write(tx, chain, [change], reason=reason, now=self._clock.now())
        self._snapshots.sweep()

    def set_tags(self, workspace: str, model: str, number: int, tags: Mapping[str, str]) -> Version:
        """Sets tags; those that are so already are no change. Raises ModelNotFound, VersionNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.tags("tags", tags, required=True)
        with self._db.write() as tx:
            chain = locked(tx, workspace, model)
            version = _found(tx, chain, number)
            after = {key: value for key, value in tags.items() if version.tags.get(key) != value}
            with Fields() as fields:
                fields.tags_together("tags", {**version.tags, **after})
            if after:
                now = self._clock.now()
                store.set_tags(tx, chain.model_id, number, after)
                store.touch(tx, chain.model_id, [number], now)
                before = {key: version.tags[key] for key in after if key in version.tags}
                journal.write(tx, chain, [Change("version.tags_set", before, after, number)], now=now)
            return _found(tx, chain, number)

    def delete_tags(self, workspace: str, model: str, number: int, keys: Collection[str]) -> Version:
        """Removes tags, all or none. Raises ModelNotFound, VersionNotFound, TagNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.keys("keys", keys)
        with self._db.write() as tx:
            chain = locked(tx, workspace, model)
            version = _found(tx, chain, number)
            if missing := [key for key in keys if key not in version.tags]:
                raise TagNotFound(f"version {number} of {shown(model)}", missing)
            now = self._clock.now()
            store.delete_tags(tx, chain.model_id, number, keys)
            store.touch(tx, chain.model_id, [number], now)
            before = {key: version.tags[key] for key in keys}
            journal.write(tx, chain, [Change("version.tags_deleted", before, {}, number)], now=now)
            return _found(tx, chain, number)

    def search(
        self, workspace: str, filter: str, order_by: Sequence[str], *, after: Key | None, limit: int
    ) -> list[tuple[Version, Key]]:
        """At most `limit` versions that a filter finds, each with its sort key, after a sort key.

        Raises FilterSyntax; what access says of the workspace.
        """
        node, keys = parse(filter, search.SCOPES), parse_order(order_by, search.SCOPES)
        self._workspaces.require(workspace)
        with self._db.read() as tx:
            return search.versions_page(tx, workspace, node, keys, after=after, limit=limit)

    def latest(self, workspace: str, model: str, stages: Collection[Stage]) -> list[Version]:
        """The newest version of each of the stages, of all if there is none, in the order of the stages.

        Raises ModelNotFound.
        """
        with self._db.read() as tx:
            model_id = models.id_of(tx, workspace, model)
            if model_id is None:
                raise ModelNotFound(workspace, model)
            found = store.latest(tx, model_id, stages or tuple(Stage))
        return sorted(found, key=lambda version: list(Stage).index(version.stage))

    def _freeze(self, version_id: str, workspace: str, source: RunSource | VersionSource | None) -> tuple[str, Files]:
        """The run that a version comes from, and its frozen files."""
        if isinstance(source, VersionSource):
            other = self.get(workspace, source.model, source.number)
            copied = other.version_id
            return other.run_id, self._snapshots.freeze(version_id, lambda asked: asked.of_version(version_id, copied))
        assert source is not None, "a source that was refused raised FieldInvalid"
        run_id, path = source.run_id, source.path
        run = self._runs.get(run_id)
        if run.is_deleted:
            raise RunDeleted(run_id)
        if run.workspace != workspace:
            problem = f"run {run_id} is in the workspace {run.workspace!r}, the model is in {workspace!r}"
            raise FieldInvalid({"source": problem}, run_id=run_id, workspace=run.workspace)
        return run_id, self._snapshots.freeze(version_id, lambda asked: asked.of_run(version_id, run_id, path))

    def _made_by(self, tx: Transaction, request: Request, model: str) -> Version | None:
        made = self._requests.recall(tx, request)
        if made is None:
            return None
        version = store.of_id(tx, made)
        if version is None:
            raise MadeVersionDeleted(model, made)
        return version


def id_for(tx: Transaction, request: Request) -> str:
    """The id for a version: for the same request the same one, so that a retry finds the files that it froze before."""
    if not request.request_id:
        return new_id()
    parts = json.dumps([request.subject, request.rpc, request.request_id, request.digest])
    derived = hashlib.sha256(parts.encode()).hexdigest()[:32]
    return new_id() if store.of_id(tx, derived) else derived  # a request id may be used again after 24 hours


def _found(tx: Transaction, model: Model, number: int) -> Version:
    version = store.find(tx, model.model_id, number)
    if version is None:
        raise VersionNotFound(model.name, number)
    return version


def _created(version: Version) -> Change:
    return Change("version.created", {}, _content(version), version.number)


def _content(version: Version) -> dict[str, str | int | dict[str, str]]:
    return {
        "version_id": version.version_id,
        "source": version.source,
        "run_id": version.run_id,
        "manifest_sha256": version.files.manifest_sha256,
        "file_count": version.files.file_count,
        "size_bytes": version.files.size_bytes,
        "description": version.description,
        "tags": dict(version.tags),
    }
