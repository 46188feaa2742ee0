"""The rules of aliases."""

from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.domain import journal, names
from modelry_server.registry.domain.models import locked
from modelry_server.registry.entities import Alias, Change, Version
from modelry_server.registry.errors import AliasNotFound, ModelNotFound, VersionNotFound
from modelry_server.registry.store import aliases as store
from modelry_server.registry.store import models, versions


class Aliases:
    """Points aliases at versions, and resolves them."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def point(self, workspace: str, model: str, alias: str, number: int, *, reason: str = "") -> Alias:
        """Points an alias at a version; where it points there already, nothing is changed.

        Raises FieldInvalid, ModelNotFound, VersionNotFound.
        """
        with Fields() as fields:
            names.judge_alias(fields, "alias", alias)
            names.judge_texts(fields, reason=reason)
        with self._db.write() as tx:
            chain = locked(tx, workspace, model)
            if versions.find(tx, chain.model_id, number) is None:
                raise VersionNotFound(model, number)
            present = store.target(tx, chain.model_id, alias)
            if present and present[0] == number:
                return Alias(workspace, model, alias, number, present[1])
            if present is None and store.count(tx, chain.model_id) >= names.ALIASES_PER_MODEL:
                most = f"the model has {names.ALIASES_PER_MODEL} aliases, which is the limit; remove one first"
                raise FieldInvalid({"alias": most})
            now = self._clock.now()
            store.point(tx, chain.model_id, alias, number, now)
            versions.touch(tx, chain.model_id, [number, *(present or ())[:1]], now)
            before: dict[str, str | int] = {"alias": alias, "number": present[0]} if present else {}
            change = Change("alias.set", before, {"alias": alias, "number": number}, number)
            journal.write(tx, chain, [change], reason=reason, now=now)
        return Alias(workspace, model, alias, number, now)

    def resolve(self, workspace: str, model: str, alias: str) -> tuple[Alias, Version]:
        """An alias with the version that it points at. Raises ModelNotFound, AliasNotFound."""
        with self._db.read() as tx:
            found = store.resolve(tx, workspace, model, alias)
            if found is None and models.id_of(tx, workspace, model) is None:
                raise ModelNotFound(workspace, model)
        if found is None:
            raise AliasNotFound(model, alias)
        return found

    def delete(self, workspace: str, model: str, alias: str, *, reason: str = "") -> None:
        """Removes an alias. Raises ModelNotFound, AliasNotFound, FieldInvalid."""
        with Fields() as fields:
            names.judge_texts(fields, reason=reason)
        with self._db.write() as tx:
            chain = locked(tx, workspace, model)
            present = store.target(tx, chain.model_id, alias)
            if present is None:
                raise AliasNotFound(model, alias)
            now = self._clock.now()
            store.delete(tx, chain.model_id, alias)
            versions.touch(tx, chain.model_id, present[:1], now)
            change = Change("alias.deleted", {"alias": alias, "number": present[0]}, {}, present[0])
            journal.write(tx, chain, [change], reason=reason, now=now)
