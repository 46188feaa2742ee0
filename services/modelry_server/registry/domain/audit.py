"""How the records of changes are read."""

from collections.abc import Iterator
from functools import partial

from modelry_server.kernel.audit import Record
from modelry_server.kernel.requests.paging import Found, block_by_block
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.domain import names
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.errors import ModelIdNotFound
from modelry_server.registry.store import audit as store
from modelry_server.registry.store.search import Key


class Audit:
    """Reads audit records; only the journal writes them."""

    def __init__(self, db: Database, lookup: Lookup) -> None:
        self._db = db
        self._lookup = lookup

    def page(
        self,
        workspace: str,
        *,
        model_name: str,
        model_id: str,
        version_number: int,
        after: Key | None,
        limit: int,
    ) -> Iterator[Found[Record]]:
        """Records of a model after a sort key, the newest first: of the model with a name, or with an id.

        They are read while they are taken. An id also finds the records of a deleted model. Raises FieldInvalid unless
        exactly one of `model_name` and `model_id` is given; ModelNotFound, ModelIdNotFound.
        """
        names.require(workspace=workspace)
        names.require_one_way("model_id", model_id, model_name=model_name)
        with self._db.read() as tx:
            if model_id:
                if not store.exists(tx, workspace, model_id):
                    raise ModelIdNotFound(model_id)
                self._lookup.require(workspace, model_id, lambda: ModelIdNotFound(model_id))
            else:
                model_id = self._lookup.model_id(tx, workspace, model_name)
            names.judge_version_filter(version_number)
        return self._db.each(lambda tx: block_by_block(partial(_page, tx, model_id, version_number), after, limit))


def _page(tx: Transaction, model_id: str, version_number: int, after: Key | None, limit: int) -> list[Found[Record]]:
    before = int(after[0] or 0) if after else None
    records = store.page(tx, model_id, version_number, before=before, limit=limit)
    return [Found(record, (record.sequence,)) for record in records]
