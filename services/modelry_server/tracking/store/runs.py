"""Runs with their params and tags as rows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.access import Place
from modelry_server.kernel.filter import number_of
from modelry_server.kernel.sql.functions import object_of, octets, read_object
from modelry_server.kernel.sql.statements import (
    Rows,
    Transaction,
    ask,
    fetch,
    insert_if,
    insert_rows,
    keep_existing,
    named,
    one_of,
)
from modelry_server.tracking.entities import PARTS, Run, RunStatus
from modelry_server.tracking.store import datasets as dataset_store
from modelry_server.tracking.store import metrics as metric_store
from modelry_server.tracking.store.tables import experiments, params, participants, runs, tags


def add(
    tx: Transaction, run: Run, series: Sequence[metric_store.Series], others: Sequence[Rows], participant: str = ""
) -> str | None:
    """Writes a new run with its params, its tags, its first points, and other rows. Returns its workspace.

    Writes nothing and returns None if the experiment is missing or deleted, or if the parent is missing or in another
    workspace.
    """
    row = {
        "run_id": run.run_id,
        "experiment_id": int(run.experiment_id),
        "name": run.name,
        "status": int(run.status),
        "parent_run_id": run.parent_run_id,
        "creator": run.creator,
        "claimed_user": run.claimed_user,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "revision": run.revision,
        "description": run.description,
    }
    rows = [
        Rows(runs, [row]),
        Rows(params, _rows_of_params(run.run_id, run.params)),
        Rows(tags, _rows(run.run_id, run.tags)),
        *metric_store.first(series),
        Rows(participants, [_participant(run.run_id, participant, run.status)] if participant else []),
        *others,
    ]
    home = {"experiment": int(run.experiment_id)}
    if run.parent_run_id:
        found = insert_if(tx, _HOME_OF_CHILD, home | {"parent": run.parent_run_id}, rows)
    else:
        found = insert_if(tx, _HOME, home, rows)
    return found[0] if found else None


def places(tx: Transaction, run_ids: Collection[str]) -> dict[str, Place]:
    """The place of each run that exists."""
    found = fetch(tx, _PLACES, {"run_ids": list(run_ids)})
    return {run_id: Place(workspace, str(number)) for run_id, workspace, number in found}


def find(tx: Transaction, run_id: str, *, parts: Collection[str] = (), lock: bool = False) -> Run | None:
    """The run of an id, with the named parts. `lock` keeps others from changing it until the transaction ends."""
    asked = ask(tx, _LOCK_ONE if lock else _FIND_ONE, {"one": run_id})
    answers = _ask_parts(tx, [run_id], [part for part in parts if part != "description"])  # it is in the row
    for row in asked.rows():
        found = named(_FIND_ONE, row)
        return replace(entity(found, found.workspace), **{part: answer()[run_id] for part, answer in answers.items()})
    return None


def states(tx: Transaction, run_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
    """For each run that exists: the number of its experiment, and whether it is deleted."""
    found = fetch(tx, _STATES, {"run_ids": list(run_ids)})
    return {run_id: (experiment_id, delete_time is not None) for run_id, experiment_id, delete_time in found}


def lock(tx: Transaction, run_ids: Collection[str]) -> None:
    """Keeps others from adding params, tags or metrics to the runs until the transaction ends."""
    tx.execute(
        sa.select(runs.c.run_id).where(runs.c.run_id.in_(run_ids)).order_by(runs.c.run_id).with_for_update()
    ).all()


def update(tx: Transaction, run: Run) -> None:
    """Writes name, description, status, times and revision."""
    values = {
        "name": run.name,
        "description": run.description,
        "status": int(run.status),
        "end_time": run.end_time,
        "delete_time": run.delete_time,
        "revision": run.revision,
    }
    tx.execute(sa.update(runs).where(runs.c.run_id == run.run_id).values(values))


def set_participant(tx: Transaction, run_id: str, name: str, status: RunStatus) -> None:
    """Writes the status of a participant of a run, over the one that it had."""
    insert_rows(tx, participants, [_participant(run_id, name, status)], _status_replaced)


def participant_status(tx: Transaction, run_id: str, name: str) -> RunStatus | None:
    """The status of a participant of a run, None if there is none of that name."""
    c = participants.c
    status = tx.execute(sa.select(c.status).where(c.run_id == run_id, c.name == name)).scalar_one_or_none()
    return None if status is None else RunStatus(status)


def participants_by_status(tx: Transaction, run_id: str) -> dict[RunStatus, int]:
    """How many participants of a run have each status."""
    c = participants.c
    found = tx.execute(sa.select(c.status, sa.func.count()).where(c.run_id == run_id).group_by(c.status))
    return {RunStatus(status): count for status, count in found}


def forget_participants(tx: Transaction, run_id: str) -> None:
    """Removes the participants of a run."""
    tx.execute(sa.delete(participants).where(participants.c.run_id == run_id))


def param_values(tx: Transaction, run_id: str, keys: Collection[str]) -> tuple[dict[str, str], int, int]:
    """The values of those params that the run has; and of all its params, how many they are and how many bytes."""
    values = ask(tx, _PARAM_VALUES, {"one": run_id, "keys": list(keys)})
    [(count, size)] = fetch(tx, _PARAM_TOTAL, {"one": run_id})
    return {key: value for key, value in values.rows()}, count, size


def add_params(tx: Transaction, run_id: str, values: Mapping[str, str]) -> None:
    """Writes params that the run does not have; one that another writer just added stays as it is."""
    insert_rows(tx, params, _rows_of_params(run_id, values), keep_existing)


def set_tags(tx: Transaction, run_id: str, values: Mapping[str, str]) -> None:
    """Writes tags over those of the same keys."""
    insert_rows(tx, tags, _rows(run_id, values), _replaced)


def tags_of(tx: Transaction, run_id: str) -> dict[str, str]:
    """All tags of a run."""
    return _ask_pairs(tx, _TAGS, [run_id])()[run_id]


def delete_tags(tx: Transaction, run_id: str, keys: Collection[str]) -> None:
    """Removes tags."""
    tx.execute(sa.delete(tags).where(tags.c.run_id == run_id, tags.c.key.in_(keys)))


def with_parts(tx: Transaction, found: Sequence[Run], parts: Collection[str] = PARTS) -> list[Run]:
    """The runs with the named parts, in the same order."""
    if not found:
        return []
    answers = _ask_parts(tx, [run.run_id for run in found], parts)
    read = {part: answer() for part, answer in answers.items()}
    return [replace(run, **{part: by_run[run.run_id] for part, by_run in read.items()}) for run in found]


def sizes(tx: Transaction, found: Sequence[Run], parts: Collection[str] = PARTS) -> list[int]:
    """About how many bytes the named parts of each run take in an answer."""
    run_ids = [run.run_id for run in found]
    total = dict.fromkeys(run_ids, 0)
    for asked in [ask(tx, _SIZES[part], {"run_ids": run_ids}, many=True) for part in parts if part in _SIZES]:
        for run_id, size in asked.rows():
            total[run_id] += int(size)
    return list(total.values())


def entity(row: Any, workspace: str) -> Run:
    """The run of a row of `runs`, or of its columns that are `LISTED`, without its other parts."""
    return Run(
        run_id=row.run_id,
        experiment_id=str(row.experiment_id),
        workspace=workspace,
        name=row.name,
        status=RunStatus(row.status),
        start_time=row.start_time,
        end_time=row.end_time,
        delete_time=row.delete_time,
        parent_run_id=row.parent_run_id,
        description=getattr(row, "description", ""),
        creator=row.creator,
        claimed_user=row.claimed_user,
        revision=row.revision,
    )


LISTED = [column for column in runs.c if column.name != "description"]
"""What the page of a list reads of all its runs at once: a description can be long, and is read like other parts."""
_PLACES = (
    sa.select(runs.c.run_id, experiments.c.workspace, experiments.c.experiment_id)
    .join(experiments, experiments.c.experiment_id == runs.c.experiment_id)
    .where(one_of(runs.c.run_id, "run_ids"))
)
_STATES = sa.select(runs.c.run_id, runs.c.experiment_id, runs.c.delete_time).where(one_of(runs.c.run_id, "run_ids"))
_SELECT: sa.Select[Any] = sa.select(runs, experiments.c.workspace).join(
    experiments, experiments.c.experiment_id == runs.c.experiment_id
)
_FIND_ONE = _SELECT.where(runs.c.run_id == sa.bindparam("one"))
_LOCK_ONE = _FIND_ONE.with_for_update(of=runs)
_HOME = sa.select(experiments.c.workspace).where(
    experiments.c.experiment_id == sa.bindparam("experiment"), experiments.c.delete_time.is_(None)
)
_parents_experiment = experiments.alias()
_PARENTS_WORKSPACE = (
    sa.select(_parents_experiment.c.workspace)
    .join(runs, _parents_experiment.c.experiment_id == runs.c.experiment_id)
    .where(runs.c.run_id == sa.bindparam("parent"))
)
_HOME_OF_CHILD = _HOME.where(experiments.c.workspace == _PARENTS_WORKSPACE.scalar_subquery())


def _replaced(statement: Any) -> Any:
    return statement.on_conflict_do_update(index_elements=["run_id", "key"], set_={"value": statement.excluded.value})


def _participant(run_id: str, name: str, status: RunStatus) -> dict[str, Any]:
    return {"run_id": run_id, "name": name, "status": int(status)}


def _status_replaced(statement: Any) -> Any:
    return statement.on_conflict_do_update(
        index_elements=["run_id", "name"], set_={"status": statement.excluded.status}
    )


def _rows(run_id: str, values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"run_id": run_id, "key": key, "value": value} for key, value in sorted(values.items())]


def _rows_of_params(run_id: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"run_id": run_id, "key": key, "value": value, "number": number_of(value)}
        for key, value in sorted(values.items())
    ]


def _ask_parts(
    tx: Transaction, run_ids: Sequence[str], parts: Collection[str]
) -> dict[str, Callable[[], Mapping[str, Any]]]:
    """Asks for parts of runs, all at once. Each answer is by run."""
    asking: dict[str, Callable[[], Callable[[], Mapping[str, Any]]]] = {
        "description": lambda: _ask_descriptions(tx, run_ids),
        "params": lambda: _ask_pairs(tx, _PARAMS, run_ids),
        "tags": lambda: _ask_pairs(tx, _TAGS, run_ids),
        "metrics": lambda: metric_store.ask_summaries(tx, run_ids),
        "datasets": lambda: dataset_store.ask_inputs(tx, run_ids),
    }
    return {part: ask_it() for part, ask_it in asking.items() if part in parts}


def _ask_descriptions(tx: Transaction, run_ids: Sequence[str]) -> Callable[[], dict[str, str]]:
    asked = ask(tx, _DESCRIPTIONS, {"run_ids": list(run_ids)})
    return lambda: dict.fromkeys(run_ids, "") | {run_id: text for run_id, text in asked.rows()}


def _ask_pairs(
    tx: Transaction, query: sa.Select[Any], run_ids: Sequence[str]
) -> Callable[[], dict[str, dict[str, str]]]:
    asked = ask(tx, query, {"run_ids": list(run_ids)}, many=len(run_ids) > 1)

    def answer() -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {run_id: {} for run_id in run_ids}
        for run_id, pairs in asked.rows():
            found[run_id] = read_object(pairs)
        return found

    return answer


def _pairs(table: sa.Table) -> sa.Select[Any]:
    c = table.c
    return sa.select(c.run_id, object_of(c.key, c.value)).where(one_of(c.run_id, "run_ids")).group_by(c.run_id)


def _size(table: sa.Table) -> sa.Select[Any]:
    c = table.c
    return sa.select(c.run_id, _bytes(table)).where(one_of(c.run_id, "run_ids")).group_by(c.run_id)


def _bytes(table: sa.Table) -> Any:
    """The bytes of all keys and values of a group of rows."""
    return sa.func.sum(octets(table.c.key) + octets(table.c.value))


_PARAMS, _TAGS = _pairs(params), _pairs(tags)
_DESCRIPTIONS = sa.select(runs.c.run_id, runs.c.description).where(one_of(runs.c.run_id, "run_ids"))
_PARAM_VALUES = sa.select(params.c.key, params.c.value).where(
    params.c.run_id == sa.bindparam("one"), one_of(params.c.key, "keys")
)
_PARAM_TOTAL = sa.select(sa.func.count().label("count"), sa.func.coalesce(_bytes(params), 0).label("size")).where(
    params.c.run_id == sa.bindparam("one")
)
_SIZES = {
    "description": sa.select(runs.c.run_id, octets(runs.c.description)).where(one_of(runs.c.run_id, "run_ids")),
    "params": _size(params),
    "tags": _size(tags),
    "metrics": metric_store.SIZES,
    "datasets": dataset_store.SIZES,
}
