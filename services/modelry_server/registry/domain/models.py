"""The rules of models."""

from collections.abc import Collection, Mapping, Sequence

from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.clients import Workspaces
from modelry_server.registry.domain import journal, names
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.entities import IN_USE, Change, Model, Value
from modelry_server.registry.errors import ModelExists, ModelInUse, ModelNotFound, TagNotFound
from modelry_server.registry.store import aliases, promotions, search, versions
from modelry_server.registry.store import models as store
from modelry_server.registry.store.search import Key


class Models:
    """Makes, reads, changes, deletes and finds registered models."""

    def __init__(
        self, db: Database, requests: Requests, workspaces: Workspaces, snapshots: Snapshots, clock: Clock
    ) -> None:
        self._db = db
        self._requests = requests
        self._workspaces = workspaces
        self._snapshots = snapshots
        self._clock = clock

    def create(
        self,
        workspace: str,
        name: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        allow_existing: bool = False,
        request: Request,
    ) -> Model:
        """Makes a model; with `allow_existing` the one that has the name is the answer, and nothing of it is changed.

        Raises FieldInvalid, ModelExists, RequestIdReused; what access says of the workspace.
        """
        with Fields() as fields:
            names.judge_model(fields, "name", name)
            names.judge_texts(fields, description=description, tags=tags)
            fields.request_id(request.request_id)
        self._workspaces.require(workspace)
        tags = tags or {}
        with self._db.write() as tx:
            if earlier := self._made_by(tx, request, workspace):
                return earlier
            now = self._clock.now()
            model = Model(new_id(), workspace, name, description, now, now, tags=tags)
            while not store.add(tx, model):  # till it is made or found: the one that is there may just be going
                if earlier := self._made_by(tx, request, workspace):
                    return earlier
                if found := store.find(tx, workspace, name):
                    if not allow_existing:
                        raise ModelExists(workspace, name)
                    self._requests.remember(tx, request, found.model_id)
                    return found
            store.set_tags(tx, model.model_id, tags)
            self._requests.remember(tx, request, model.model_id)
            content: dict[str, Value] = {"name": name, "description": description, "tags": dict(tags)}
            journal.write(tx, model, [Change("model.created", {}, content)], now=now)
        return model

    def get(self, workspace: str, name: str) -> Model:
        """The model of a name. Raises ModelNotFound."""
        with self._db.read() as tx:
            model = store.find(tx, workspace, name)
        if model is None:
            raise ModelNotFound(workspace, name)
        return model

    def describe(
        self, workspace: str, name: str, values: Mapping[str, str], *, etag: str = "", reason: str = ""
    ) -> Model:
        """Changes those of `name` and `description` that are among the values.

        Raises ModelNotFound, ModelExists, FieldInvalid, EtagMismatch.
        """
        with Fields() as fields:
            if "name" in values:
                names.judge_model(fields, "model.name", values["name"])
            names.judge_texts(fields, description=values.get("description", ""), reason=reason, at="model.")
        with self._db.write() as tx:
            model = locked(tx, workspace, name)
            if etag and etag != model.etag:
                raise EtagMismatch(etag, model.etag)
            present = {"name": model.name, "description": model.description}
            changed = {key: value for key, value in values.items() if present[key] != value}
            if not changed:
                return _whole(tx, model)
            after = present | changed
            if not store.describe(tx, model.model_id, after["name"], after["description"], model.revision + 1):
                raise ModelExists(workspace, after["name"])
            change = Change("model.updated", {key: present[key] for key in changed}, changed)
            journal.write(tx, model, [change], reason=reason, now=self._clock.now())
            return _whole(tx, model)

    def delete(self, workspace: str, name: str, *, reason: str = "") -> None:
        """Deletes a model with its versions; their files are let go, the audit records stay.

        Raises ModelNotFound, ModelInUse, FieldInvalid.
        """
        with Fields() as fields:
            names.judge_texts(fields, reason=reason)
        with self._db.write() as tx:
            model = _whole(tx, locked(tx, workspace, name))
            if used := versions.in_stages(tx, model.model_id, IN_USE):
                raise ModelInUse(name, [version.number for version in used])
            doomed = versions.ids(tx, model.model_id)
            aliases.delete(tx, model.model_id)
            versions.delete(tx, model.model_id)
            promotions.delete(tx, model.model_id)
            store.delete(tx, model.model_id)
            self._snapshots.discard(tx, doomed.values())
            content: dict[str, Value] = {
                "name": model.name,
                "description": model.description,
                "tags": dict(model.tags),
                "aliases": dict(model.aliases),
                "version_count": len(doomed),
            }
            journal.write(tx, model, [Change("model.deleted", content, {})], reason=reason, now=self._clock.now())
        if doomed:
            self._snapshots.sweep()

    def set_tags(self, workspace: str, name: str, tags: Mapping[str, str]) -> Model:
        """Sets tags; those that are so already are no change. Raises ModelNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.tags("tags", tags, required=True)
        with self._db.write() as tx:
            model = locked(tx, workspace, name)
            before = _whole(tx, model).tags
            after = {key: value for key, value in tags.items() if before.get(key) != value}
            with Fields() as fields:
                fields.tags_together("tags", {**before, **after})
            if after:
                store.set_tags(tx, model.model_id, after)
                change = Change("model.tags_set", {key: before[key] for key in after if key in before}, after)
                journal.write(tx, model, [change], now=self._clock.now())
            return _whole(tx, model)

    def delete_tags(self, workspace: str, name: str, keys: Collection[str]) -> Model:
        """Removes tags, all or none. Raises ModelNotFound, TagNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.keys("keys", keys)
        with self._db.write() as tx:
            model = locked(tx, workspace, name)
            present = _whole(tx, model).tags
            if missing := [key for key in keys if key not in present]:
                raise TagNotFound(shown(name), missing)
            before = {key: present[key] for key in keys}
            store.delete_tags(tx, model.model_id, keys)
            journal.write(tx, model, [Change("model.tags_deleted", before, {})], now=self._clock.now())
            return _whole(tx, model)

    def search(
        self, workspace: str, filter: str, order_by: Sequence[str], *, after: Key | None, limit: int
    ) -> list[tuple[Model, Key]]:
        """At most `limit` models that a filter finds, each with its sort key, after a sort key.

        Raises FilterSyntax; what access says of the workspace.
        """
        node, keys = parse(filter, search.SCOPES), parse_order(order_by, search.SCOPES)
        self._workspaces.require(workspace)
        with self._db.read() as tx:
            return search.models_page(tx, workspace, node, keys, after=after, limit=limit)

    def _made_by(self, tx: Transaction, request: Request, workspace: str) -> Model | None:
        made = self._requests.recall(tx, request)
        if made is None:
            return None
        model = store.of_id(tx, made)
        if model is None:
            raise ModelNotFound(workspace, made)
        return model


def locked(tx: Transaction, workspace: str, name: str) -> Model:
    """The model of a name, without tags and aliases, which nobody else changes until the transaction ends.

    Raises ModelNotFound.
    """
    model = store.lock(tx, workspace, name)
    if model is None:
        raise ModelNotFound(workspace, name)
    return model


def _whole(tx: Transaction, model: Model) -> Model:
    return store.of_id(tx, model.model_id) or model
