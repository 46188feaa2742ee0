"""Heartbeats of runs as rows, and the status of runs that have them or lack them."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, ask, fetch, insert_rows, one_of
from modelry_server.tracking.entities import RunStatus
from modelry_server.tracking.store.tables import heartbeats, runs

_FAST = 60_000
"""How many milliseconds a heartbeat may be in the future before it is one of a clock that was wrong."""


def states(tx: Transaction, run_ids: Collection[str]) -> dict[str, tuple[RunStatus, bool]]:
    """For each run that exists: its status, and whether it is deleted."""
    found = fetch(tx, _STATES, {"run_ids": list(run_ids)})
    return {run_id: (RunStatus(status), delete_time is not None) for run_id, status, delete_time in found}


def note(tx: Transaction, run_ids: Sequence[str], now: int, wait: int) -> None:
    """Notes heartbeats, the next of which may be `wait` away.

    Runs that are due later, because another process of them has a longer period, stay so.
    """
    times = {"last_time": now, "wait": wait, "due_time": now + wait}
    insert_rows(tx, heartbeats, [{"run_id": run_id, **times} for run_id in sorted(run_ids)], _later)


def set_running(tx: Transaction, run_ids: Collection[str]) -> None:
    """Makes those of the runs running again that are lost and not deleted."""
    ask(tx, _FIND_AGAIN, {"run_ids": list(run_ids)})


def forget(tx: Transaction, run_id: str) -> None:
    """Removes the heartbeats of a run, which can't be lost then before its next heartbeat."""
    tx.execute(sa.delete(heartbeats).where(heartbeats.c.run_id == run_id))


def put_off(tx: Transaction, run_id: str) -> None:
    """Keeps the heartbeats of a run that is deleted from being due, until `resume`."""
    tx.execute(sa.update(heartbeats).where(heartbeats.c.run_id == run_id).values(due_time=None))


def resume(tx: Transaction, run_id: str, now: int) -> None:
    """Gives a run that is restored its whole time again, if it had heartbeats."""
    is_put_off = (heartbeats.c.run_id == run_id) & heartbeats.c.due_time.is_(None)
    tx.execute(sa.update(heartbeats).where(is_put_off).values(due_time=now + heartbeats.c.wait))


def set_back(tx: Transaction, now: int) -> None:
    """Lets the heartbeats that a wrong clock has put into the future count from now."""
    c = heartbeats.c
    spoke_ahead, waits_ahead = c.last_time > now + _FAST, _waits_since(c) > now + _FAST
    tx.execute(sa.update(heartbeats).where(spoke_ahead).values(last_time=now))
    tx.execute(sa.update(heartbeats).where(waits_ahead).values(due_time=now + c.wait))


def lose(tx: Transaction, now: int, since: int, most: int) -> tuple[list[str], int]:
    """Sets runs to lost that are due, and removes their heartbeats, and those of runs that are not running any more.

    At most so many at once; those that another transaction works at are passed over. A wait that began before the time
    `since` begins anew then. Returns the ids of the lost runs, and how many heartbeats were removed.
    """
    due = tx.execute(DUE, {"now": now, "since": since, "most": most}).all()
    lost = [row for row in due if row.status == RunStatus.RUNNING and row.delete_time is None]
    if lost:
        tx.execute(_LOSE, [{"one": row.run_id, "time": row.last_time} for row in lost])
    if due:
        tx.execute(sa.delete(heartbeats).where(heartbeats.c.run_id.in_([row.run_id for row in due])))
    return [row.run_id for row in lost], len(due)


def _later(statement: Any) -> Any:
    new, kept = statement.excluded, heartbeats.c
    is_later = (new.due_time > kept.due_time) | (_waits_since(kept) > new.last_time + _FAST)
    later = {name: sa.case((is_later, new[name]), else_=kept[name]) for name in ("wait", "due_time")}
    return statement.on_conflict_do_update(index_elements=["run_id"], set_={"last_time": new.last_time, **later})


def _waits_since(columns: Any) -> Any:
    """When the wait for a heartbeat began: at the last one, or when the run was restored."""
    return columns.due_time - columns.wait


_STATES = sa.select(runs.c.run_id, runs.c.status, runs.c.delete_time).where(one_of(runs.c.run_id, "run_ids"))
_FIND_AGAIN = (
    sa.update(runs)
    .where(one_of(runs.c.run_id, "run_ids"), runs.c.status == int(RunStatus.LOST), runs.c.delete_time.is_(None))
    .values(status=int(RunStatus.RUNNING), end_time=None, revision=runs.c.revision + 1)
)
# Of both tables' rows, so that who ends a run and who notes its heartbeat are never waited for, in either order.
DUE = (
    sa.select(runs.c.run_id, heartbeats.c.last_time, runs.c.status, runs.c.delete_time)
    .join(runs, runs.c.run_id == heartbeats.c.run_id)
    .where(
        heartbeats.c.due_time < sa.bindparam("now", type_=sa.BigInteger),
        heartbeats.c.wait < sa.bindparam("now", type_=sa.BigInteger) - sa.bindparam("since", type_=sa.BigInteger),
    )
    .order_by(heartbeats.c.due_time)
    .limit(sa.bindparam("most", type_=sa.Integer))
    .with_for_update(skip_locked=True)
)
"""The heartbeats that are due, with their runs."""
_LOSE = (
    sa.update(runs)
    .where(runs.c.run_id == sa.bindparam("one"))
    .values(status=int(RunStatus.LOST), end_time=sa.bindparam("time"), revision=runs.c.revision + 1)
)
