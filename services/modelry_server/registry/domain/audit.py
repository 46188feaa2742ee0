"""The record of all changes: how its chain is made, and how it is read."""

import hashlib
from dataclasses import asdict

from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.entities import AuditRecord, canonical
from modelry_server.registry.errors import ModelNotFound
from modelry_server.registry.store import audit as store
from modelry_server.registry.store import models


def digest(record: AuditRecord) -> str:
    """The SHA-256 over all fields of a record but the digest itself, as canonical JSON in UTF-8, in hexadecimal."""
    fields = asdict(record)
    del fields["digest"]
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


class Audit:
    """Reads audit records; only the journal writes them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def page(
        self, workspace: str, *, model: str, model_id: str, number: int, before: int | None, limit: int
    ) -> list[AuditRecord]:
        """Records before a sequence, the newest first, of the model of a name or, also after its deletion, of an id.

        Raises FieldInvalid unless exactly one of `model` and `model_id` is given, ModelNotFound.
        """
        with Fields() as fields:
            if bool(model) == bool(model_id):
                fields.refuse("model", "either 'model' or 'model_id' is required, and not both")
            if model_id:
                fields.id("model_id", model_id)
            if number < 0:
                fields.refuse("number", f"{number} is negative; 0 means all records of the model")
        with self._db.read() as tx:
            if model:
                found = models.id_of(tx, workspace, model)
                if found is None:
                    raise ModelNotFound(workspace, model)
                model_id = found
            elif "\0" in workspace or not store.exists(tx, workspace, model_id):
                raise ModelNotFound(workspace, model_id)
            return store.page(tx, model_id, number, before=before, limit=limit)
