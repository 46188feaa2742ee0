"""The background loops of artifacts."""

from modelry_server.artifacts.domain.garbage import Garbage
from modelry_server.kernel.jobs import Job


def jobs(garbage: Garbage, *, interval_s: float, stray_interval_s: float) -> list[Job]:
    """Removes garbage from time to time."""
    return [
        Job("artifacts.garbage.collect", interval_s, garbage.collect),
        Job("artifacts.garbage.collect_strays", stray_interval_s, garbage.collect_strays),
    ]
