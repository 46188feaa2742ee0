"""The rules of events."""

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.clients import Workspaces
from modelry_server.registry.domain.names import MODEL_NAME_LENGTH
from modelry_server.registry.entities import Event
from modelry_server.registry.store import events as store


class Events:
    """Reads the outbox; only the journal writes it."""

    def __init__(self, db: Database, workspaces: Workspaces) -> None:
        self._db = db
        self._workspaces = workspaces

    def page(self, workspace: str, model: str, *, after: int, limit: int) -> list[Event]:
        """Events after a cursor, the oldest first, of a model or of all if `model` is empty.

        Raises FieldInvalid, also for a cursor that was never given; what access says of the workspace.
        """
        with Fields() as fields:
            fields.text("model", model, longest=MODEL_NAME_LENGTH)
            if after < 0:
                fields.refuse("after_cursor", f"{after} is negative; 0 means from the beginning")
        self._workspaces.require(workspace)
        with self._db.read() as tx:
            found = store.page(tx, workspace, model, after=after, limit=limit)
            if not found and after > (last := store.last(tx)):
                problem = (
                    f"{after} was never given: the last cursor is {last}; begin again from one that you were given"
                )
                raise FieldInvalid({"after_cursor": problem}, after_cursor=after, last=last)
        return found
