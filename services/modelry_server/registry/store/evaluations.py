"""Evaluations as rows."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.entities import Evaluation, EvaluationMetric, Interval, Verdict, as_json
from modelry_server.registry.store.tables import evaluation_metrics, evaluations, models

_NAMED = sa.select(evaluations, models.c.workspace, models.c.name.label("model_name")).join_from(
    evaluations, models, evaluations.c.model_id == models.c.model_id
)
_COPIED = (
    *(
        "evaluation_id",
        "model_id",
        "version_number",
        "name",
        "run_id",
        "artifact_path",
        "dataset_name",
        "dataset_digest",
        "creator",
    ),
    *("create_time", "audit_sequence"),
)


def add(tx: Transaction, evaluation: Evaluation) -> None:
    """Writes an evaluation."""
    row = {name: getattr(evaluation, name) for name in _COPIED}
    row["metrics"] = as_json([asdict(each) for each in evaluation.metrics])
    row["verdicts"] = as_json([asdict(each) for each in evaluation.verdicts])
    tx.execute(sa.insert(evaluations).values(row))
    _set_newest(tx, evaluation)


def of_id(tx: Transaction, evaluation_id: str) -> Evaluation | None:
    """The evaluation with this id."""
    row = tx.execute(_NAMED.where(evaluations.c.evaluation_id == evaluation_id)).one_or_none()
    return None if row is None else _entity(row)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which evaluations of a model are listed: of one version or of all (0), of one name or of all (empty)."""

    version_number: int = 0
    name: str = ""
    latest_only: bool = False


def page(tx: Transaction, model_id: str, wanted: Wanted, *, before: int | None, limit: int) -> list[Evaluation]:
    """Evaluations before an audit sequence, the newest first.

    The newest of each name are found in the index `evaluations_by_version` alone, so that the others, which may be many
    and have many metrics, are not read.
    """
    t = evaluations
    chosen = [t.c.model_id == model_id]
    if wanted.version_number:
        chosen.append(t.c.version_number == wanted.version_number)
    if wanted.name:
        chosen.append(t.c.name == wanted.name)
    query = _NAMED.where(*chosen).order_by(t.c.audit_sequence.desc()).limit(limit)
    if wanted.latest_only:
        newest = sa.select(sa.func.max(t.c.audit_sequence)).where(*chosen).group_by(t.c.version_number, t.c.name)
        query = query.where(t.c.audit_sequence.in_(newest.correlate(None)))
    if before is not None:
        query = query.where(t.c.audit_sequence < before)
    return [_entity(row) for row in tx.execute(query)]


def delete(tx: Transaction, model_id: str, version_number: int | None = None) -> None:
    """Removes all evaluations of a version, or of a model."""
    for table in (evaluation_metrics, evaluations):
        doomed = sa.delete(table).where(table.c.model_id == model_id)
        tx.execute(doomed if version_number is None else doomed.where(table.c.version_number == version_number))


def _set_newest(tx: Transaction, evaluation: Evaluation) -> None:
    """Makes its metrics those of its name."""
    t = evaluation_metrics
    place = {name: getattr(evaluation, name) for name in ("model_id", "version_number", "name")}
    tx.execute(sa.delete(t).where(*(t.c[name] == value for name, value in place.items())))
    if evaluation.metrics:
        rows = [{**place, "metric": each.name, "value": each.value} for each in evaluation.metrics]
        tx.execute(sa.insert(t), rows)


def _entity(row: Any) -> Evaluation:
    return Evaluation(
        **{name: getattr(row, name) for name in _COPIED},
        workspace=row.workspace,
        model_name=row.model_name,
        metrics=tuple(_metric(each) for each in json.loads(row.metrics)),
        verdicts=tuple(Verdict(**each) for each in json.loads(row.verdicts)),
    )


def _metric(stored: dict[str, Any]) -> EvaluationMetric:
    interval = stored["interval"]
    return EvaluationMetric(stored["name"], stored["value"], None if interval is None else Interval(**interval))
