"""Garbage collection: deletes content that nothing refers to, and objects that no transaction committed.

An object is deleted in two steps: its row marks it for deletion, then it is deleted from the store. An object that is
marked can't be used any more: a transaction that brings it is refused, and one that brings the same content stores an
object of its own. So collectors and writers need neither a common clock nor a lock. The grace time only keeps writers
from being refused.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from itertools import islice

from modelry_server.artifacts import instruments
from modelry_server.artifacts.store import digests
from modelry_server.artifacts.store.blobs import Blobs
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.telemetry import Log

_BATCH = 500
_log = Log("artifacts")


class Garbage:
    """Deletes garbage that is older than the grace time. Several processes may do so at once."""

    def __init__(self, db: Database, blobs: Blobs, clock: Clock, *, pool: Executor, grace_s: float) -> None:
        self._db = db
        self._blobs = blobs
        self._clock = clock
        self._pool = pool
        self._grace_ms = int(grace_s * 1000)

    def collect(self) -> int:
        """Deletes the content that nothing refers to; returns the number of objects. Raises StoreUnavailable."""
        self._delete_marked()
        deleted = 0
        while True:
            with self._db.read() as tx:
                found = digests.released(tx, self._old(), _BATCH)
            marked = []
            for blob, since in found:
                with self._db.write() as tx:
                    if digests.mark_for_deletion(tx, blob, since, self._clock.now()):
                        marked.append(blob.key)
                    else:
                        digests.keep(tx, blob, since)
            deleted += self._delete(marked)
            if len(found) < _BATCH:
                return deleted

    def collect_orphans(self) -> int:
        """Deletes the objects that have no row; returns their number. Lists the whole store.

        The objects of an upload in progress are younger than the grace time. Raises StoreUnavailable.
        """
        deleted = 0
        old = (blob.key for blob in self._blobs.stored() if blob.modify_time <= self._old())
        for keys in _batches(old):
            with self._db.read() as tx:
                orphans = digests.orphans(tx, keys)
            if orphans:
                with self._db.write() as tx:
                    marked = digests.mark_orphans(tx, orphans, self._clock.now())
                deleted += self._delete(marked)
        return deleted

    def _old(self) -> int:
        return self._clock.now() - self._grace_ms

    def _delete_marked(self) -> None:
        """Deletes what was marked long ago, again: the collector may have died, or a late writer may have stored it."""
        while True:
            with self._db.read() as tx:
                keys = digests.marked(tx, self._old(), _BATCH)
            if not keys:
                return
            self._delete(keys)
            with self._db.write() as tx:
                digests.forget(tx, keys)

    def _delete(self, keys: Iterable[str]) -> int:
        deleted = sum(1 for _ in self._pool.map(self._blobs.delete, keys))
        if deleted:
            _log.info("garbage.deleted", blobs=deleted)
        instruments.garbage_blobs_total.inc(deleted)
        return deleted


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(keys, _BATCH)):
        yield batch
