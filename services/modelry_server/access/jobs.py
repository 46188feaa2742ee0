"""The background loops of access."""

from modelry_server.kernel.jobs import Job
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.sql.database import Database


def jobs(db: Database, requests: Requests) -> list[Job]:
    """Forgets old request ids every hour."""

    def forget() -> None:
        with db.write() as tx:
            requests.forget(tx)

    return [Job("access.requests.forget", 3600.0, forget)]
