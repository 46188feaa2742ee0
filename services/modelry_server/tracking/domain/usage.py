"""How many runs workspaces have, and may have."""

from modelry_server.kernel.access import Access, Place
from modelry_server.kernel.quotas import Quota, Taking
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.store import usage as store


class Usage:
    """Says how much workspaces have, and keeps them to their quotas. Counts with transactions of its own."""

    def __init__(self, db: Database, access: Access, workspaces: Workspaces) -> None:
        self._db = db
        self._access = access
        self._workspaces = workspaces
        self._quota = Quota("run_count", limit=workspaces.most_runs, count=self._count)

    def get(self, workspace: str) -> int:
        """How many runs a workspace has, deleted ones among them.

        Raises FieldInvalid, WorkspaceNotFound, ServiceUnavailable.
        """
        with Fields() as fields:
            if not workspace:
                fields.refuse("workspace", "is required")
        self._access.require(Place(workspace))
        self._workspaces.require(workspace)
        return self._count(workspace)

    def taking(self, workspace: str) -> Taking:
        """For a block that makes runs in a workspace: each is taken before, and may raise QuotaExceeded."""
        return self._quota.taking(workspace)

    def _count(self, workspace: str) -> int:
        with self._db.read() as tx:
            return store.run_count(tx, workspace)
