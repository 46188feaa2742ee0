"""The background jobs of artifacts."""

from modelry_server.artifacts.domain.garbage import Garbage
from modelry_server.kernel.jobs import Job


def jobs(garbage: Garbage, *, interval_s: float, orphan_interval_s: float) -> list[Job]:
    """Deletes unreferenced content, and orphaned objects of the store, from time to time."""
    return [
        Job("artifacts.garbage.collect", interval_s, garbage.collect),
        Job("artifacts.garbage.collect_orphans", orphan_interval_s, garbage.collect_orphans),
    ]
