"""The background jobs of the registry."""

from modelry_server.kernel.jobs import Job
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.domain.events import Events
from modelry_server.registry.domain.snapshots import Snapshots


def jobs(db: Database, requests: Requests, snapshots: Snapshots, events: Events) -> list[Job]:
    """Removes old request ids every hour, lets unused files go every minute, numbers new events every second."""
    return [
        requests.job(db),
        Job("registry.snapshots.sweep", 60.0, snapshots.sweep),
        Job("registry.events.number", 1.0, events.number),
    ]
