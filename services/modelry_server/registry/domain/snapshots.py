"""The files of versions: frozen before a version exists, let go after it is deleted, and never lost in between.

The artifacts service keeps the snapshots, so no transaction covers both a snapshot and its version. Therefore each
snapshot that no version refers to is noted here: before it is made, and in the transaction that deletes its version.
"""

from collections.abc import Collection
from dataclasses import replace

from modelry_server.kernel import caller
from modelry_server.kernel.caller import NOBODY, Caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import DeadlineExceeded, ModelryError, QuotaExceeded, Unavailable
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.kernel.telemetry import Log
from modelry_server.registry.clients import Artifacts
from modelry_server.registry.domain.sources import Origin
from modelry_server.registry.entities import Files, SnapshotTarget
from modelry_server.registry.errors import SourceEmpty, VersionInFlight
from modelry_server.registry.store import snapshots as store

LOOSE_MS = 3_600_000
"""How long a snapshot may wait for its version, in milliseconds: far longer than any call takes."""
AGAIN_MS = 60_000
"""After how many milliseconds a failed deletion is tried again; older ones go first."""
_AT_ONCE = 100
_NOTHING_MADE = (SourceEmpty.reason, QuotaExceeded.reason)
_log = Log("registry")


class Snapshots:
    """Freezes files for versions, and lets them go."""

    def __init__(self, db: Database, artifacts: Artifacts, clock: Clock) -> None:
        self._db = db
        self._artifacts = artifacts
        self._clock = clock

    def freeze(self, target: SnapshotTarget, origin: Origin) -> Files:
        """Freezes the files of a source for a version that is about to be created; the same again changes nothing.

        They are let go unless a version claims them within an hour. Raises VersionInFlight, SourceEmpty; what
        artifacts answers.
        """
        with self._db.write_once() as tx:
            if not store.reserve(tx, target.version_id, self._clock.now() + LOOSE_MS):
                raise VersionInFlight(target.version_id)
        try:
            return origin.freeze(self._artifacts, target)
        except ModelryError as error:
            if error.reason in _NOTHING_MADE:
                with self._db.write() as tx:
                    store.forget(tx, target.version_id)
            raise

    def claim(self, tx: Transaction, version_id: str) -> None:
        """Notes that a version refers to its files from now on. Raises VersionInFlight if they are being let go."""
        if not store.claim(tx, version_id):
            raise VersionInFlight(version_id)

    def give_up(self, version_id: str) -> None:
        """Lets the files of a version go that was not created. Does nothing if it was created after all."""
        with self._db.write() as tx:
            loose = store.give_up(tx, version_id, self._clock.now())
        if loose:
            self._delete([version_id])

    def discard(self, tx: Transaction, version_ids: Collection[str]) -> None:
        """Notes that versions are deleted. Call `sweep_after_a_change` after the transaction."""
        store.discard(tx, version_ids, self._clock.now())

    def sweep(self, *, is_long: bool = True) -> None:
        """Lets the files of versions go that were deleted or never created. Tries again later what fails.

        Unless it `is_long`, it leaves files that are too many to be let go soon.
        """
        with self._db.write() as tx:
            due = store.due(tx, self._clock.now(), again=self._clock.now() + AGAIN_MS, limit=_AT_ONCE)
        self._delete(due, is_long=is_long)

    def sweep_after_a_change(self) -> None:
        """As `sweep`, but soon: a caller waits.

        The change is made, so nothing that fails here is an error of the call: the job tries again.
        """
        try:
            self.sweep(is_long=False)
        except ModelryError as error:
            _log.warning("snapshots.not_swept", reason=error.reason)

    def _delete(self, version_ids: Collection[str], *, is_long: bool = False) -> None:
        for version_id in version_ids:
            try:
                with caller.using(_itself()):
                    self._artifacts.delete(version_id, is_long=is_long)
            except ModelryError as error:
                _log.warning("snapshot.kept", version_id=version_id, reason=error.reason)
                if isinstance(error, (Unavailable, DeadlineExceeded)):
                    return
                continue
            with self._db.write() as tx:
                store.forget(tx, version_id)


def _itself() -> Caller:
    """The registry, within the time of the current caller, who may have no rights where other versions lay."""
    present = caller.current()
    return replace(NOBODY, trace_id=present.trace_id, deadline=present.deadline)
