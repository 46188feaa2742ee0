"""What the files of workspaces take, and may take."""

from modelry_server.artifacts.clients import Workspaces
from modelry_server.artifacts.entities import Stored
from modelry_server.artifacts.store import usage as store
from modelry_server.kernel.access import Access, Place
from modelry_server.kernel.quotas import Quota, Taking
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database


class Usage:
    """Says how much workspaces have, and keeps them to their quotas. Counts with transactions of its own."""

    def __init__(self, db: Database, access: Access, workspaces: Workspaces) -> None:
        self._db = db
        self._access = access
        self._workspaces = workspaces
        self._quota = Quota(
            "stored_bytes", limit=workspaces.most_bytes, count=self._count, frees="delete files or versions"
        )

    def get(self, workspace: str) -> Stored:
        """What the files of a workspace take. Raises FieldInvalid, WorkspaceNotFound, ServiceUnavailable."""
        with Fields() as fields:
            if not workspace:
                fields.refuse("workspace", "is required")
        self._access.require(Place(workspace))
        self._workspaces.require(workspace)
        return self._stored(workspace)

    def taking(self, workspace: str) -> Taking:
        """For a block that makes files in a workspace: each is taken before, and may raise QuotaExceeded."""
        return self._quota.taking(workspace)

    def _count(self, workspace: str) -> int:
        return self._stored(workspace).size_bytes

    def _stored(self, workspace: str) -> Stored:
        with self._db.read() as tx:
            return Stored(*store.stored(tx, workspace))
