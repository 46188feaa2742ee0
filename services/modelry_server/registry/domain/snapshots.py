"""The files of versions: frozen before a version is there, let go after it is gone, and never forgotten in between.

A snapshot lies in another room, so that no transaction covers it and its version. Therefore each snapshot that no
version refers to is written down here: before it is made, and in the transaction that removes its version.
"""

from collections.abc import Callable, Collection

from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import DeadlineExceeded, ModelryError, Unavailable
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.kernel.telemetry import Log
from modelry_server.registry.clients import Artifacts
from modelry_server.registry.entities import Files
from modelry_server.registry.errors import SourceEmpty, VersionInFlight
from modelry_server.registry.store import snapshots as store

LOOSE_MS = 3_600_000
"""How long a snapshot may wait for its version, in milliseconds: far longer than any call takes."""
AGAIN_MS = 60_000
"""After what time, in milliseconds, what failed is tried again; what is due before goes first."""
_AT_ONCE = 100
_log = Log("registry")


class Snapshots:
    """Freezes files for versions, and lets them go."""

    def __init__(self, db: Database, artifacts: Artifacts, clock: Clock) -> None:
        self._db = db
        self._artifacts = artifacts
        self._clock = clock

    def freeze(self, version_id: str, freeze: Callable[[Artifacts], Files]) -> Files:
        """Freezes files for a version that is about to be made; again with the same source changes nothing.

        Unless a version claims them within an hour they are let go. Raises VersionInFlight, and what `freeze` raises.
        """
        with self._db.write_once() as tx:
            if not store.reserve(tx, version_id, self._clock.now() + LOOSE_MS):
                raise VersionInFlight(version_id)
        try:
            return freeze(self._artifacts)
        except SourceEmpty:
            with self._db.write() as tx:
                store.forget(tx, version_id)
            raise

    def claim(self, tx: Transaction, version_id: str) -> None:
        """Notes that a version refers to its files from now on. Raises VersionInFlight if they are being let go."""
        if not store.claim(tx, version_id):
            raise VersionInFlight(version_id)

    def give_up(self, version_id: str) -> None:
        """Lets the files of a version go that was not made; does nothing if it was made after all."""
        with self._db.write() as tx:
            loose = store.give_up(tx, version_id, self._clock.now())
        if loose:
            self._delete([version_id])

    def discard(self, tx: Transaction, version_ids: Collection[str]) -> None:
        """Notes that versions are gone; call `sweep` when the transaction is through."""
        store.discard(tx, version_ids, self._clock.now())

    def sweep(self) -> None:
        """Lets the files of versions go that are gone or were never made; what fails is tried again later."""
        with self._db.write() as tx:
            due = store.due(tx, self._clock.now(), again=self._clock.now() + AGAIN_MS, limit=_AT_ONCE)
        self._delete(due)

    def _delete(self, version_ids: Collection[str]) -> None:
        for version_id in version_ids:
            try:
                self._artifacts.delete(version_id)
            except ModelryError as error:
                _log.warning("snapshot.kept", version_id=version_id, reason=error.reason)
                if isinstance(error, (Unavailable, DeadlineExceeded)):
                    return
                continue
            with self._db.write() as tx:
                store.forget(tx, version_id)
