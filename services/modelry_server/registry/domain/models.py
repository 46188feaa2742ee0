"""The rules of models."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from modelry_server import mlflow_words
from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import Fields, excess_of_tags, require_room, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.clients import Workspaces
from modelry_server.registry.domain import journal, names, stages
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.entities import Change, Model, Value
from modelry_server.registry.errors import ModelExists, ModelIdNotFound, ModelInUse, TagNotFound
from modelry_server.registry.store import aliases, evaluations, promotions, search, versions
from modelry_server.registry.store import models as store
from modelry_server.registry.store.search import Key

CHANGEABLE = ("name", "description")
"""The fields that an update can change."""

_MOST_TOLD = 1000  # numbers of deleted versions in an event


class Models:
    """Creates, reads, changes, deletes and finds registered models."""

    def __init__(
        self,
        db: Database,
        requests: Requests,
        lookup: Lookup,
        clock: Clock,
        *,
        workspaces: Workspaces,
        snapshots: Snapshots,
    ) -> None:
        self._db = db
        self._requests = requests
        self._lookup = lookup
        self._clock = clock
        self._workspaces = workspaces
        self._snapshots = snapshots

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
        """Creates a model. With `allow_existing` the answer is the model that has the name, unchanged.

        Raises FieldInvalid, ModelExists, ModelIdNotFound, RequestIdReused, RequestInFlight;
        what access says of the workspace.
        """
        self._lookup.workspace(workspace)
        with Fields() as fields:
            names.judge_model(fields, "name", name)
            names.judge_texts(fields, description=description, tags=tags)
            fields.request_id(request.request_id)
        self._workspaces.require(workspace)
        now, creator = self._clock.now(), caller.current().subject
        model = Model(new_id(), workspace, name, description, creator, now, now, tags=tags or {})

        def make() -> tuple[str, Model] | None:
            if not store.add(tx, model):
                return None
            store.set_tags(tx, model.model_id, model.tags)
            content: dict[str, Value] = {"name": name, "description": description, "tags": dict(model.tags)}
            journal.write(tx, model, [Change("model.created", {}, content, {})], now=now)
            return model.model_id, model

        def existing() -> Model | None:
            found = store.find(tx, workspace, name)
            if found is None:
                return None
            if not allow_existing:
                raise ModelExists(workspace, name)
            self._requests.remember(tx, request, found.model_id)
            return found

        def find(known: str) -> Model:
            model = _found(tx, known)
            self._lookup.require(model.workspace, known, lambda: ModelIdNotFound(known))
            return model

        with self._db.write() as tx:
            return self._requests.once(tx, request, find=find, make=make, existing=existing)

    def get(self, *, workspace: str = "", model_name: str = "", model_id: str = "") -> Model:
        """The model with a name, or with an id. Raises FieldInvalid, ModelNotFound, ModelIdNotFound."""
        names.require_one_way("model_id", model_id, workspace=workspace, model_name=model_name)
        with self._db.read() as tx:
            if model_id:
                self._lookup.require_model(tx, model_id)
            else:
                model_id = self._lookup.model_id(tx, workspace, model_name)
            return _found(tx, model_id)

    def update(
        self, model_id: str, changes: Callable[[], Mapping[str, str]], *, etag: str = "", reason: str = ""
    ) -> Model:
        """Changes the fields that `changes` gives.

        Raises FieldInvalid, ModelIdNotFound, ModelExists, EtagMismatch.
        """
        with Fields() as fields:
            fields.id("model.model_id", model_id)
        with self._db.write() as tx:
            model = self._lookup.locked_by_id(tx, model_id)
            values = changes()
            with Fields() as fields:
                if "name" in values:
                    names.judge_model(fields, "model.name", values["name"])
                names.judge_texts(fields, description=values.get("description", ""), reason=reason, at="model.")
            if etag and etag != model.etag:
                raise EtagMismatch(etag, model.etag)
            present = {"name": model.name, "description": model.description}
            changed = {key: value for key, value in values.items() if present[key] != value}
            if not changed:
                return _found(tx, model_id)
            if "name" in changed:  # names belong to the workspace, and whether one is taken is known there
                self._lookup.require(model.workspace, "", lambda: ModelIdNotFound(model_id))
            after = present | changed
            if not store.describe(tx, model_id, after["name"], after["description"], model.revision + 1):
                raise ModelExists(model.workspace, after["name"])
            renamed = {"previous_name": model.name} if "name" in changed else {}
            change = Change(
                "model.updated",
                before={key: present[key] for key in changed},
                after=changed,
                payload={"changed_fields": sorted(changed), **renamed},
                new_name=changed.get("name", ""),
            )
            journal.write(tx, model, [change], reason=reason, now=self._clock.now())
            return _found(tx, model_id)

    def delete(self, workspace: str, model_name: str, *, reason: str = "") -> None:
        """Deletes a model with its versions. Their files are let go; the audit records stay.

        Raises FieldInvalid, ModelNotFound, ModelInUse.
        """
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = _found(tx, self._lookup.locked(tx, workspace, model_name).model_id)
            with Fields() as fields:
                names.judge_reason(fields, reason)
            policy = stages.policy_of(workspace, model.model_id)
            if used := versions.in_stages(tx, model.model_id, policy.serving):
                numbers = [version.version_number for version in used]
                raise ModelInUse(model_name, numbers, serving=policy.serving, archive=policy.archive)
            doomed = versions.ids(tx, model.model_id)
            aliases.delete(tx, model.model_id)
            evaluations.delete(tx, model.model_id)
            versions.delete(tx, model.model_id)
            promotions.delete(tx, model.model_id)
            store.delete(tx, model.model_id)
            self._snapshots.discard(tx, doomed.values())
            change = Change(
                "model.deleted",
                before={
                    "name": model.name,
                    "description": model.description,
                    "tags": dict(model.tags),
                    "aliases": dict(model.aliases),
                    "version_count": len(doomed),
                },
                after={},
                payload={"version_numbers": [*doomed][:_MOST_TOLD]},
            )
            journal.write(tx, model, [change], reason=reason, now=self._clock.now())
        if doomed:
            self._snapshots.sweep_after_a_change()

    def set_tags(self, workspace: str, model_name: str, tags: Mapping[str, str]) -> Model:
        """Sets tags. Tags that have these values already are not changed. Raises FieldInvalid, ModelNotFound."""
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = self._lookup.locked(tx, workspace, model_name)
            with Fields() as fields:
                fields.tags("tags", tags, required=True)
            before = _found(tx, model.model_id).tags
            after = {key: value for key, value in tags.items() if before.get(key) != value}
            require_room("tags", excess_of_tags({**before, **after}))
            if after:
                store.set_tags(tx, model.model_id, after)
                replaced = {key: before[key] for key in after if key in before}
                change = Change("model.tags_set", replaced, after, {"tags": after})
                journal.write(tx, model, [change], now=self._clock.now())
            return _found(tx, model.model_id)

    def delete_tags(self, workspace: str, model_name: str, keys: Sequence[str]) -> Model:
        """Removes tags: all or none. Raises FieldInvalid, ModelNotFound, TagNotFound."""
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = self._lookup.locked(tx, workspace, model_name)
            with Fields() as fields:
                keys = fields.keys("keys", keys)
            present = _found(tx, model.model_id).tags
            if missing := [key for key in keys if key not in present]:
                raise TagNotFound(f"the model {shown(model_name)}", missing)
            before = {key: present[key] for key in keys}
            store.delete_tags(tx, model.model_id, keys)
            change = Change("model.tags_deleted", before, {}, {"keys": sorted(before)})
            journal.write(tx, model, [change], now=self._clock.now())
            return _found(tx, model.model_id)

    def search(
        self, workspace: str, filter: str, order_by: Sequence[str], *, after: Key | None, limit: int
    ) -> Iterator[Found[Model]]:
        """At most `limit` models that a filter finds, after a sort key, read while they are taken.

        Raises FieldInvalid, FilterSyntax; what access says of the workspace.
        """
        within = self._lookup.within(workspace)
        node = parse(filter, search.SCOPES, words=mlflow_words.MODELS)
        keys = parse_order(order_by, search.SCOPES, words=mlflow_words.MODELS)
        self._workspaces.require(workspace)
        return self._db.each(
            lambda tx: search.models_page(tx, workspace, node, keys, within=within, after=after, limit=limit)
        )


def _found(tx: Transaction, model_id: str) -> Model:
    """The model with this id, with its tags and aliases. Raises ModelIdNotFound."""
    model = store.of_id(tx, model_id)
    if model is None:
        raise ModelIdNotFound(model_id)
    return model
