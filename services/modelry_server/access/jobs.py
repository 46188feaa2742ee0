"""The background jobs of access."""

from functools import partial

from modelry_server.access.domain import changes
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.sql.database import Database

_FORGET_S = 600.0


def jobs(db: Database, requests: Requests, clock: Clock) -> list[Job]:
    """Removes old request ids every hour, and old changes every ten minutes."""
    return [requests.job(db), Job("access.changes.forget", _FORGET_S, partial(changes.forget, db, clock))]
