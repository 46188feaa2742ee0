"""What the search for lost runs reads."""

from __future__ import annotations

import sqlalchemy as sa

from modelry_server.kernel.ids import new_id
from modelry_server.tracking.entities import RunStatus
from modelry_server.tracking.store import heartbeats as store
from modelry_server.tracking.store.tables import heartbeats, runs
from tests.server.tracking.room import Room

_FINISHED, _RUNNING = 5000, 500


def test_the_search_for_lost_runs_reads_no_runs_that_are_not_due(room: Room) -> None:
    running = [new_id() for _ in range(_RUNNING)]
    rows = [_row(new_id(), RunStatus.FINISHED) for _ in range(_FINISHED)]
    rows += [_row(run_id, RunStatus.RUNNING) for run_id in running]
    later = room.clock.now() + 10**9
    with room.db.write() as tx:
        tx.execute(sa.insert(runs), rows)
        times = {"last_time": later, "wait": 0, "due_time": later}
        tx.execute(sa.insert(heartbeats), [{"run_id": run_id, **times} for run_id in running])
    with room.db.write() as tx:
        tx.exec_driver_sql("ANALYZE")

    plan = explained(room)

    assert "heartbeats_by_due" in plan
    assert "Seq Scan" not in plan  # as PostgreSQL says
    assert "SCAN" not in plan  # as SQLite says


def explained(room: Room) -> str:
    """How the database finds what is due."""
    engine = room.db.backend.engine
    values = {"now": room.clock.now(), "since": 0, "most": 500}
    statement = store.DUE.params(**values).compile(engine, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with room.db.read() as tx:
        return "\n".join(str(row[-1]) for row in tx.exec_driver_sql(f"{explain} {statement}"))


def _row(run_id: str, status: RunStatus) -> dict[str, object]:
    texts = dict.fromkeys(("name", "parent_run_id", "creator", "claimed_user", "description"), "")
    ended = None if status is RunStatus.RUNNING else 2
    numbers = {"experiment_id": 0, "status": int(status), "start_time": 1, "end_time": ended, "revision": 1}
    return {"run_id": run_id, **texts, **numbers}
