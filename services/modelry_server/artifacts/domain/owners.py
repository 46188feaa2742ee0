"""Where the owner of files lies, and whether the caller may read or change them.

The place of a run comes from tracking with the first write, that of a version from the registry with its snapshot. Both
are kept, so that an owner with files is judged here, without a call to another service. Only for a caller who may not
see a run with files tracking is asked all the same: the time of the answer must not tell that there are files.
"""

from modelry_server.artifacts.clients import Runs
from modelry_server.artifacts.entities import Owner
from modelry_server.artifacts.errors import OwnerFrozen, OwnerNotFound, RunDeleted
from modelry_server.artifacts.store import owners as store
from modelry_server.kernel.access import Access, Place
from modelry_server.kernel.sql.database import Database


class Owners:
    """Judges calls by the owner of the files. Asks tracking: never call it inside a transaction."""

    def __init__(self, db: Database, runs: Runs, access: Access) -> None:
        self._db = db
        self._runs = runs
        self._access = access

    def require(self, owner: Owner, stored: Place | None, *, permission: str | None = None) -> Place:
        """Where an owner lies; `stored` is its place if it has files, else tracking is asked.

        The permission is that of the current rpc, unless one is named. Raises OwnerNotFound if there is no such owner,
        or the caller may not see it; PermissionMissing; ServiceUnavailable.
        """
        if stored is not None and self._access.allows(stored, permission=permission):
            return stored
        place = stored
        if not owner.is_version and (stored is None or not self._access.sees(stored)):
            run = self._runs.get(owner.id)
            place = run.place if run else None
        self._access.require(place, permission=permission, unseen=lambda: OwnerNotFound(str(owner)))
        assert place is not None, "what is not there was refused"
        return place

    def require_writable(self, owner: Owner) -> Place:
        """Where an owner lies whose files may be written now.

        Raises what `require` raises; OwnerFrozen for a version; RunDeleted.
        """
        if owner.is_version:
            with self._db.read() as tx:
                stored = store.find(tx, owner)
            self.require(owner, stored)
            raise OwnerFrozen(str(owner))
        run = self._runs.get(owner.id)
        if run is None:
            raise OwnerNotFound(str(owner))
        place = self.require(owner, run.place)
        if run.is_deleted:
            raise RunDeleted(owner.id)
        return place
