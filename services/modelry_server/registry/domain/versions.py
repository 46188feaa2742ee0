"""The rules of versions."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from modelry_server import mlflow_words
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.requests.fields import Fields, excess_of_tags, require_room, shown
from modelry_server.kernel.requests.paging import Found
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.clients import Workspaces
from modelry_server.registry.domain import journal, names, stages
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.entities import (
    Change,
    Model,
    Value,
    Version,
    VersionCopy,
    as_json,
)
from modelry_server.registry.errors import (
    TagNotFound,
    VersionIdNotFound,
    VersionInUse,
    VersionNotFound,
)
from modelry_server.registry.store import evaluations, search
from modelry_server.registry.store import versions as store
from modelry_server.registry.store.search import Key

CHANGEABLE = ("description",)
"""The fields that an update can change."""
MOST_STAGES = 100


class Versions:
    """Reads, changes, deletes and finds versions of registered models. `drafts.py` creates them."""

    def __init__(
        self,
        db: Database,
        lookup: Lookup,
        clock: Clock,
        *,
        workspaces: Workspaces,
        snapshots: Snapshots,
    ) -> None:
        self._db = db
        self._lookup = lookup
        self._clock = clock
        self._workspaces = workspaces
        self._snapshots = snapshots

    def get(
        self, *, workspace: str = "", model_name: str = "", version_number: int = 0, version_id: str = ""
    ) -> Version:
        """The version with a number, or with an id.

        Raises FieldInvalid, ModelNotFound, VersionNotFound, VersionIdNotFound.
        """
        names.require_one_way(
            "version_id", version_id, workspace=workspace, model_name=model_name, version_number=version_number
        )

        with self._db.read() as tx:
            if version_id:
                self._lookup.require_version(tx, version_id)
                version = store.of_id(tx, version_id)
            else:
                self._lookup.model_id(tx, workspace, model_name)
                version = store.named(tx, workspace, model_name, version_number)
        if version is None:
            raise VersionIdNotFound(version_id) if version_id else VersionNotFound(model_name, version_number)
        return version

    def update(
        self, version_id: str, changes: Callable[[], Mapping[str, str]], *, etag: str = "", reason: str = ""
    ) -> Version:
        """Changes the fields that `changes` gives. Raises FieldInvalid, VersionIdNotFound, EtagMismatch."""
        with Fields() as fields:
            fields.id("version.version_id", version_id)
        with self._db.write() as tx:
            model = self._lookup.locked_by_version(tx, version_id)
            version = store.of_id(tx, version_id)
            if version is None:  # deleted while this call waited for the model
                raise VersionIdNotFound(version_id)
            description = changes().get("description", version.description)
            with Fields() as fields:
                names.judge_texts(fields, description=description, reason=reason, at="version.")
            if etag and etag != version.etag:
                raise EtagMismatch(etag, version.etag)
            if description == version.description:
                return version
            now = self._clock.now()
            store.describe(tx, version, description, now)
            changed = change(
                "version.updated",
                version,
                before={"description": version.description},
                after={"description": description},
                payload={"changed_fields": ["description"]},
            )
            journal.write(tx, model, [changed], reason=reason, now=now)
            return _found(tx, model, version.version_number)

    def delete(self, workspace: str, model_name: str, version_number: int, *, reason: str = "") -> None:
        """Deletes a version. Its files are let go, its number is never given again, its audit records stay.

        Raises FieldInvalid, ModelNotFound, VersionNotFound, VersionInUse.
        """
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = self._lookup.locked(tx, workspace, model_name)
            names.require(version_number=version_number)
            with Fields() as fields:
                names.judge_reason(fields, reason)
            version = _found(tx, model, version_number)
            if version.stage in stages.policy_of(workspace, model.model_id).serving or version.aliases:
                raise VersionInUse(model_name, version_number, version.stage, version.aliases)
            evaluations.delete(tx, model.model_id, version_number)
            store.delete(tx, model.model_id, version_number)
            self._snapshots.discard(tx, [version.version_id])
            told = {"version_id": version.version_id, "stage": version.stage}
            before = {**content(version), "stage": version.stage}
            changed = change("version.deleted", version, before=before, payload=told)
            journal.write(tx, model, [changed], reason=reason, now=self._clock.now())
        self._snapshots.sweep_after_a_change()

    def set_tags(self, workspace: str, model_name: str, version_number: int, tags: Mapping[str, str]) -> Version:
        """Sets tags. Tags that have these values already are not changed.

        Raises FieldInvalid, ModelNotFound, VersionNotFound.
        """
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = self._lookup.locked(tx, workspace, model_name)
            names.require(version_number=version_number)
            with Fields() as fields:
                fields.tags("tags", tags, required=True)
            version = _found(tx, model, version_number)
            after = {key: value for key, value in tags.items() if version.tags.get(key) != value}
            require_room("tags", excess_of_tags({**version.tags, **after}))
            if after:
                now = self._clock.now()
                store.set_tags(tx, model.model_id, version_number, after)
                store.touch(tx, model.model_id, [version_number], now)
                before = {key: version.tags[key] for key in after if key in version.tags}
                changed = change("version.tags_set", version, before=before, after=after, payload={"tags": after})
                journal.write(tx, model, [changed], now=now)
            return _found(tx, model, version_number)

    def delete_tags(self, workspace: str, model_name: str, version_number: int, keys: Sequence[str]) -> Version:
        """Removes tags: all or none. Raises FieldInvalid, ModelNotFound, VersionNotFound, TagNotFound."""
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = self._lookup.locked(tx, workspace, model_name)
            names.require(version_number=version_number)
            with Fields() as fields:
                keys = fields.keys("keys", keys)
            version = _found(tx, model, version_number)
            if missing := [key for key in keys if key not in version.tags]:
                raise TagNotFound(f"version {version_number} of {shown(model_name)}", missing)
            now = self._clock.now()
            store.delete_tags(tx, model.model_id, version_number, keys)
            store.touch(tx, model.model_id, [version_number], now)
            before = {key: version.tags[key] for key in keys}
            changed = change("version.tags_deleted", version, before=before, payload={"keys": sorted(before)})
            journal.write(tx, model, [changed], now=now)
            return _found(tx, model, version_number)

    def search(
        self, workspace: str, filter: str, order_by: Sequence[str], *, after: Key | None, limit: int
    ) -> Iterator[Found[Version]]:
        """At most `limit` versions that a filter finds, after a sort key; without signatures.

        They are read while they are taken. Raises FieldInvalid, FilterSyntax; what access says of the workspace.
        """
        within = self._lookup.within(workspace)
        node = parse(filter, search.VERSION_SCOPES, words=mlflow_words.VERSIONS)
        keys = parse_order(order_by, search.VERSION_SCOPES, words=mlflow_words.VERSIONS)
        self._workspaces.require(workspace)
        known = stages.known_in(workspace)
        return self._db.each(
            lambda tx: search.versions_page(
                tx, workspace, node, keys, within=within, stages=known, after=after, limit=limit
            )
        )

    def latest(self, workspace: str, model_name: str, wanted: Sequence[str]) -> list[Version]:
        """The newest version in each of the stages, or in each stage if none are given, in the order of the policy.

        They are without signatures. Raises FieldInvalid, ModelNotFound.
        """
        names.require(workspace=workspace, model_name=model_name)
        with self._db.read() as tx:
            model_id = self._lookup.model_id(tx, workspace, model_name)
            policy = stages.policy_of(workspace, model_id)
            with Fields() as fields:
                wanted = fields.each("stages", wanted, partial(policy.judge, fields), most=MOST_STAGES)
            ordered = policy.ordered(wanted)
            found = store.latest(tx, model_id, ordered)
        return sorted(found, key=lambda version: ordered.index(version.stage))


def _found(tx: Transaction, model: Model, version_number: int) -> Version:
    version = store.find(tx, model.model_id, version_number)
    if version is None:
        raise VersionNotFound(model.name, version_number)
    return version


def content(version: Version) -> dict[str, Value]:
    """What the audit record of a new or deleted version says of it; of a signature, which may be long, a digest."""
    signature = as_json(asdict(version.signature)) if version.signature else ""
    said: dict[str, Value] = {
        "version_id": version.version_id,
        "source": str(version.source),
        "source_version_id": version.source.version_id if isinstance(version.source, VersionCopy) else "",
        "run_id": version.run_id,
        "manifest_sha256": version.files.manifest_sha256,
        "file_count": version.files.file_count,
        "size_bytes": version.files.size_bytes,
        "description": version.description,
        "tags": dict(version.tags),
        "flavors": [asdict(flavor) for flavor in version.flavors],
        "signature_sha256": hashlib.sha256(signature.encode()).hexdigest() if signature else "",
    }
    may_be_absent = ("source_version_id", "flavors", "signature_sha256")
    return {name: value for name, value in said.items() if name not in may_be_absent or value}


def change(
    action: str,
    version: Version,
    *,
    before: Mapping[str, Value] | None = None,
    after: Mapping[str, Value] | None = None,
    payload: Mapping[str, Value],
) -> Change:
    """A change of a version, for the journal."""
    return Change(action, before or {}, after or {}, payload, version.version_id, version.version_number)
