"""How the records of the changes of access are read."""

from collections.abc import Iterator
from functools import partial

from modelry_server.access.store import audit as store
from modelry_server.kernel.access import INSTALLATION, Access
from modelry_server.kernel.audit import Record
from modelry_server.kernel.requests.fields import KEY_LENGTH, Fields, shown
from modelry_server.kernel.requests.paging import Found, SortValue, block_by_block
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction

TYPES = ("workspace", "principal", "group", "token", "role", "role_binding")
"""The kinds of things that the records are about."""


class Audit:
    """Reads audit records; only the journal writes them."""

    def __init__(self, db: Database, access: Access) -> None:
        self._db = db
        self._access = access

    def page(
        self, resource_type: str, resource_id: str, *, after: tuple[SortValue, ...] | None, limit: int
    ) -> Iterator[Found[Record]]:
        """Records after a sort key, the newest first: of a kind of thing, of one thing, or all if these are empty.

        They are read while they are taken. Raises PermissionMissing, FieldInvalid.
        """
        self._access.require(INSTALLATION)
        with Fields() as fields:
            if resource_type and resource_type not in TYPES:
                fields.refuse("resource_type", f"{shown(resource_type)} is none of {', '.join(TYPES)}")
            fields.text("resource_id", resource_id, longest=KEY_LENGTH)
            if resource_id and not resource_type:
                fields.refuse("resource_type", "is required with resource_id")
        return self._db.each(lambda tx: block_by_block(partial(_page, tx, resource_type, resource_id), after, limit))


def _page(
    tx: Transaction, resource_type: str, resource_id: str, after: tuple[SortValue, ...] | None, limit: int
) -> list[Found[Record]]:
    before = int(after[0] or 0) if after else None
    records = store.page(tx, resource_type, resource_id, before=before, limit=limit)
    return [Found(record, (record.sequence,)) for record in records]
