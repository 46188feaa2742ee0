"""The rules of heartbeats: a run without one for two periods is lost, and the next one makes it running again."""

from collections.abc import Sequence

from modelry_server.kernel.access import Access
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.telemetry import Log
from modelry_server.tracking import instruments
from modelry_server.tracking.domain.metrics import Metrics
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.entities import Heartbeats as Noted
from modelry_server.tracking.entities import RunStatus
from modelry_server.tracking.store import heartbeats as store

SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 1, 3600
DEFAULT_PERIOD_MS = 30_000
SILENT_PERIODS = 2
"""After so many periods without a heartbeat a run is lost."""
_AT_ONCE = 500
_log = Log("tracking")


class Heartbeats:
    """Notes heartbeats, and finds the runs that lack them.

    `pause_s` is the longest time from one search for lost runs to the next that counts as watching all the time. After
    a longer one, such as a start, a suspended machine, or a database or a search that stood still, no heartbeat may
    have got here, so each run gets its whole time again. So it does when the clock was set back by more than that.

    While `access` can't say who calls, heartbeats are refused. So no run is lost then, and each gets its whole time
    again from when callers are let in.
    """

    def __init__(
        self, db: Database, places: Places, access: Access, *, metrics: Metrics, clock: Clock, pause_s: float
    ) -> None:
        self._db = db
        self._access = access
        self._places = places
        self._metrics = metrics
        self._clock = clock
        self._pause_ms = round(pause_s * 1000)
        self._since = clock.now()
        self._looked: int | None = None
        """When the last search began that came to its end."""
        self._is_deaf = False

    def log(self, run_ids: Sequence[str], period_ms: int) -> Noted:
        """Notes a heartbeat of each of the runs; a lost one is running again. Raises FieldInvalid."""
        with Fields() as fields:
            run_ids = fields.each("run_ids", run_ids, fields.id, required=True)
            if not SHORTEST_PERIOD_S * 1000 <= period_ms <= LONGEST_PERIOD_S * 1000:
                right = f"must be from {SHORTEST_PERIOD_S} to {LONGEST_PERIOD_S} seconds"
                fields.refuse("period", f"{period_ms / 1000:g} seconds {right}")
        allowed, denied = self._places.allowed_runs(run_ids)
        seen = {*allowed, *denied}
        if not allowed:
            return Noted([run_id for run_id in run_ids if run_id not in seen], [], [], denied)
        now = self._clock.now()
        with self._db.write() as tx:
            states = store.states(tx, set(allowed))
            deleted = [run_id for run_id, (_, is_deleted) in states.items() if is_deleted]
            ended = [run_id for run_id, (status, _) in states.items() if status not in _ALIVE and run_id not in deleted]
            alive = states.keys() - {*deleted, *ended}
            if alive:
                store.note(tx, list(alive), now, SILENT_PERIODS * period_ms)
                # Always, and after that: whoever has just lost one of them was waited for there.
                store.set_running(tx, alive)
        again = [run_id for run_id in alive if states[run_id][0] is RunStatus.LOST]
        if again:
            _log.info("run.running_again", run_ids=again)
        known = {*states, *denied}
        return Noted([run_id for run_id in run_ids if run_id not in known], ended, deleted, denied)

    def find_lost(self) -> int:
        """Sets runs to lost whose time is over. Returns how many. For one thread at a time."""
        now = self._clock.now()
        self._watch(now)
        since = self._listening_since(now)
        lost = 0
        is_more = True
        while is_more:
            with self._db.write() as tx:
                run_ids, removed = store.lose(tx, now, since, _AT_ONCE)
            is_more = removed == _AT_ONCE
            lost += len(run_ids)
            for run_id in run_ids:
                self._metrics.run_ended(run_id)
                _log.warning("run.lost", run_id=run_id)
        instruments.runs_lost_total.inc(lost)
        self._looked = now
        return lost

    def _watch(self, now: int) -> None:
        """Says, after a start or a pause, that runs get their whole time again."""
        if self._looked is None:
            _log.info("heartbeats.wait", cause="this process has started", silent_periods=SILENT_PERIODS)
        elif abs(now - self._looked) > self._pause_ms:
            self._since = now
            took = (now - self._looked) / 1000
            cause = f"no search for lost runs in {took:g} s" if took > 0 else f"the clock was set back by {-took:g} s"
            _log.warning("heartbeats.wait", cause=cause, silent_periods=SILENT_PERIODS)
        if self._looked is None or now < self._looked:
            with self._db.write() as tx:
                store.set_back(tx, now)

    def _listening_since(self, now: int) -> int:
        """Since when no heartbeat was missed by a fault of the server. Says so when heartbeats begin to be refused."""
        known_s = self._access.known_for_s()
        was_deaf, self._is_deaf = self._is_deaf, known_s == 0 and self._looked is not None
        if self._is_deaf and not was_deaf:
            cause = "access does not answer, so callers are refused"
            _log.warning("heartbeats.wait", cause=cause, silent_periods=SILENT_PERIODS)
        return max(self._since, now - round(min(known_s * 1000, now)))


_ALIVE = (RunStatus.RUNNING, RunStatus.LOST)
