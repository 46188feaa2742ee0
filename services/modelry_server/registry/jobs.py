"""The background loops of the registry."""

from modelry_server.kernel.jobs import Job
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.domain.snapshots import Snapshots


def jobs(db: Database, requests: Requests, snapshots: Snapshots) -> list[Job]:
    """Forgets old request ids every hour; lets files go that no version refers to, every minute."""

    def forget() -> None:
        with db.write() as tx:
            requests.forget(tx)

    return [Job("registry.requests.forget", 3600.0, forget), Job("registry.snapshots.sweep", 60.0, snapshots.sweep)]
