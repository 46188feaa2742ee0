"""The background jobs of access."""

from modelry_server.kernel.jobs import Job
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.sql.database import Database


def jobs(db: Database, requests: Requests) -> list[Job]:
    """Removes old request ids every hour."""
    return [requests.job(db)]
