"""Content that nothing refers to, and objects that were never committed: found, condemned, removed.

Condemned means that a row says so before anything is removed, and a condemned key can't come into use: a writer that
brings it is refused, and one that brings content of its digest stores its own. So it needs no agreement on the time,
and no lock that a writer waits for; the grace time only keeps writers from being refused.
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
    """Removes garbage that is older than the grace time. Several may be at work at once."""

    def __init__(self, db: Database, blobs: Blobs, clock: Clock, *, pool: Executor, grace_s: float) -> None:
        self._db = db
        self._blobs = blobs
        self._clock = clock
        self._pool = pool
        self._grace_ms = int(grace_s * 1000)

    def collect(self) -> int:
        """Removes the content that nothing refers to; returns the number of objects. Raises StoreUnavailable."""
        self._finish()
        removed = 0
        while True:
            with self._db.read() as tx:
                found = digests.idle(tx, self._old(), _BATCH)
            condemned = []
            for blob, since in found:
                with self._db.write() as tx:
                    if digests.condemn(tx, blob, since, self._clock.now()):
                        condemned.append(blob.key)
                    else:
                        digests.absolve(tx, blob, since)
            removed += self._remove(condemned)
            if len(found) < _BATCH:
                return removed

    def collect_strays(self) -> int:
        """Removes the objects that no row knows; returns their number. Reads the whole list of the store.

        One that an upload in flight will bring is younger than the grace time. Raises StoreUnavailable.
        """
        removed = 0
        old = (blob.key for blob in self._blobs.stored() if blob.modify_time <= self._old())
        for keys in _batches(old):
            with self._db.read() as tx:
                strays = digests.unknown(tx, keys)
            if strays:
                with self._db.write() as tx:
                    condemned = digests.condemn_strays(tx, strays, self._clock.now())
                removed += self._remove(condemned)
        return removed

    def _old(self) -> int:
        return self._clock.now() - self._grace_ms

    def _finish(self) -> None:
        """Removes what was condemned long ago, again: its remover may have died, or a late writer have put it."""
        while True:
            with self._db.read() as tx:
                keys = digests.condemned(tx, self._old(), _BATCH)
            if not keys:
                return
            self._remove(keys)
            with self._db.write() as tx:
                digests.forget(tx, keys)

    def _remove(self, keys: Iterable[str]) -> int:
        removed = sum(1 for _ in self._pool.map(self._blobs.delete, keys))
        if removed:
            _log.info("garbage.removed", blobs=removed)
        instruments.garbage_blobs_total.inc(removed)
        return removed


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(keys, _BATCH)):
        yield batch
