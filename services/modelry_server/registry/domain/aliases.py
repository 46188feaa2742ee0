"""The rules of aliases."""

from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import LimitReached
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.domain import journal, names, stages
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.entities import Alias, Change, Version
from modelry_server.registry.errors import AliasNotFound, VersionNotFound
from modelry_server.registry.store import aliases as store
from modelry_server.registry.store import versions


class Aliases:
    """Points aliases at versions, and resolves them."""

    def __init__(self, db: Database, lookup: Lookup, clock: Clock) -> None:
        self._db = db
        self._lookup = lookup
        self._clock = clock

    def point(self, workspace: str, model_name: str, alias: str, version_number: int, *, reason: str = "") -> Alias:
        """Points an alias at a version. If it points there already, nothing is changed.

        Raises FieldInvalid, ModelNotFound, VersionNotFound, LimitReached.
        """
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = self._lookup.locked(tx, workspace, model_name)
            names.require(alias=alias, version_number=version_number)
            with Fields() as fields:
                names.judge_alias(fields, "alias", alias, stages.policy_of(workspace, model.model_id))
                names.judge_reason(fields, reason)
            version = versions.find(tx, model.model_id, version_number)
            if version is None:
                raise VersionNotFound(model_name, version_number)
            present = store.target(tx, model.model_id, alias)
            if present and present[0] == version_number:
                return Alias(workspace, model_name, alias, version_number, present[1])
            if present is None and (count := store.count(tx, model.model_id)) >= names.ALIASES_PER_MODEL:
                raise LimitReached("alias", "aliases of the model", count + 1, names.ALIASES_PER_MODEL)
            now = self._clock.now()
            store.point(tx, model.model_id, alias, version_number, now)
            previous = present[0] if present else 0
            versions.touch(tx, model.model_id, [version_number, previous] if previous else [version_number], now)
            change = Change(
                "alias.set",
                before={"alias": alias, "version_number": previous} if previous else {},
                after={"alias": alias, "version_number": version_number},
                payload={"alias": alias, "previous_version_number": previous},
                version_id=version.version_id,
                version_number=version_number,
            )
            journal.write(tx, model, [change], reason=reason, now=now)
        return Alias(workspace, model_name, alias, version_number, now)

    def resolve(self, workspace: str, model_name: str, alias: str) -> tuple[Alias, Version]:
        """An alias with the version that it points at. Raises FieldInvalid, ModelNotFound, AliasNotFound."""
        names.require(workspace=workspace, model_name=model_name, alias=alias)
        with self._db.read() as tx:
            self._lookup.model_id(tx, workspace, model_name)
            found = store.resolve(tx, workspace, model_name, alias)
        if found is None:
            raise AliasNotFound(model_name, alias)
        return found

    def delete(self, workspace: str, model_name: str, alias: str, *, reason: str = "") -> None:
        """Removes an alias. Raises FieldInvalid, ModelNotFound, AliasNotFound."""
        names.require(workspace=workspace, model_name=model_name)
        with self._db.write() as tx:
            model = self._lookup.locked(tx, workspace, model_name)
            names.require(alias=alias)
            with Fields() as fields:
                names.judge_reason(fields, reason)
            present = store.target(tx, model.model_id, alias)
            version = versions.find(tx, model.model_id, present[0]) if present else None
            if version is None:
                raise AliasNotFound(model_name, alias)
            now = self._clock.now()
            store.delete(tx, model.model_id, alias)
            versions.touch(tx, model.model_id, [version.version_number], now)
            change = Change(
                "alias.deleted",
                before={"alias": alias, "version_number": version.version_number},
                after={},
                payload={"alias": alias},
                version_id=version.version_id,
                version_number=version.version_number,
            )
            journal.write(tx, model, [change], reason=reason, now=now)
