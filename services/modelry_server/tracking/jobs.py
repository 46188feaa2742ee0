"""The background jobs of tracking, each idempotent."""

from modelry_server.kernel.jobs import Job
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.tracking.domain.heartbeats import Heartbeats
from modelry_server.tracking.domain.metrics import Metrics


def jobs(
    db: Database,
    requests: Requests,
    metrics: Metrics,
    heartbeats: Heartbeats,
    *,
    merge_interval_s: float,
    lost_interval_s: float,
) -> list[Job]:
    """Merges small chunks; finds lost runs; finds forgotten chunks and removes old request ids every hour."""
    return [
        Job("tracking.runs.find_lost", lost_interval_s, heartbeats.find_lost),
        Job("tracking.metrics.merge", merge_interval_s, metrics.merge),
        Job("tracking.metrics.merge_all", 3600.0, metrics.merge_all),
        requests.job(db),
    ]
