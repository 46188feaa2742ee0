"""The rules of evaluations."""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import KEY_LENGTH, NAME_LENGTH, Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found, block_by_block
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import Permission
from modelry_server.registry.clients import Runs
from modelry_server.registry.domain import journal, names
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.entities import Change, Evaluation, EvaluationMetric, Interval, Verdict
from modelry_server.registry.errors import EvaluationNotFound, RunDeleted, VersionNotFound
from modelry_server.registry.store import evaluations as store
from modelry_server.registry.store import versions
from modelry_server.registry.store.search import Key

MOST_METRICS, MOST_VERDICTS = 1000, 100
NAME_CHARACTERS = 100
DIGEST_LENGTH = 128
ARTIFACT_PATH_LENGTH = 1024
EXPLANATION_LENGTH = 1000

_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{NAME_CHARACTERS - 1}}}\Z")


@dataclass(frozen=True, slots=True)
class Draft:
    """An evaluation that a caller wants to record."""

    version_number: int
    name: str
    run_id: str
    artifact_path: str = ""
    metrics: tuple[EvaluationMetric, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    dataset_name: str = ""
    dataset_digest: str = ""


class Evaluations:
    """Records evaluations of versions, reads and lists them."""

    def __init__(self, db: Database, requests: Requests, lookup: Lookup, clock: Clock, *, runs: Runs) -> None:
        self._db = db
        self._requests = requests
        self._lookup = lookup
        self._clock = clock
        self._runs = runs

    def create(self, workspace: str, model_name: str, draft: Draft, *, request: Request) -> Evaluation:
        """Records an evaluation of a version. The same request again answers with the same evaluation.

        Raises FieldInvalid, ModelNotFound, VersionNotFound, RunDeleted, RequestIdReused, RequestInFlight; what tracking
        says of the run.
        """
        names.require(workspace=workspace, model_name=model_name)
        with Fields() as fields:
            fields.request_id(request.request_id)
        with self._db.read() as tx:
            if (known := self._requests.recall(tx, request)) is not None:
                return self._created(tx, model_name, draft, known)
            needed = (Permission.VERSIONS_WRITE, Permission.MODELS_READ)
            model_id = self._lookup.model_id(tx, workspace, model_name, *needed)
            names.require(version_number=draft.version_number)
            _judge(draft)
            if versions.find(tx, model_id, draft.version_number) is None:
                raise VersionNotFound(model_name, draft.version_number)
        self._require_run(workspace, draft.run_id)
        with self._db.write() as tx:
            model = self._lookup.locked_by_id(tx, model_id)

            def make() -> tuple[str, Evaluation]:
                version = versions.find(tx, model_id, draft.version_number)
                if version is None:
                    raise VersionNotFound(model_name, draft.version_number)
                now = self._clock.now()
                made = Evaluation(
                    evaluation_id=new_id(),
                    workspace=workspace,
                    model_id=model_id,
                    model_name=model.name,
                    version_number=draft.version_number,
                    name=draft.name,
                    run_id=draft.run_id,
                    artifact_path=draft.artifact_path,
                    metrics=draft.metrics,
                    verdicts=draft.verdicts,
                    dataset_name=draft.dataset_name,
                    dataset_digest=draft.dataset_digest,
                    creator=caller.current().subject,
                    create_time=now,
                )
                (sequence,) = journal.write(tx, model, [_change(made, version.version_id)], now=now)
                made = replace(made, audit_sequence=sequence)
                store.add(tx, made)
                return made.evaluation_id, made

            return self._requests.once(
                tx,
                request,
                find=lambda known: self._created(tx, model_name, draft, known),
                make=make,
                existing=lambda: None,
            )

    def get(self, evaluation_id: str) -> Evaluation:
        """The evaluation with this id. Raises FieldInvalid, EvaluationNotFound."""
        with Fields() as fields:
            fields.id("evaluation_id", evaluation_id)
        with self._db.read() as tx:
            found = store.of_id(tx, evaluation_id)
        gone = EvaluationNotFound(evaluation_id)
        if found is None:
            raise gone
        self._lookup.require(found.workspace, found.model_id, lambda: gone)
        return found

    def page(
        self,
        workspace: str,
        model_name: str,
        version_number: int,
        name: str,
        latest_only: bool,
        *,
        after: Key | None,
        limit: int,
    ) -> Iterator[Found[Evaluation]]:
        """Evaluations of a version, or of all versions if the number is 0, after a sort key; the newest first.

        With `latest_only` the newest of each name of each version. They are read while they are taken. Raises
        FieldInvalid, ModelNotFound.
        """
        names.require(workspace=workspace, model_name=model_name)
        with self._db.read() as tx:
            model_id = self._lookup.model_id(tx, workspace, model_name)
            names.judge_version_filter(version_number)
        wanted = store.Wanted(version_number, name, latest_only)
        return self._db.each(lambda tx: block_by_block(partial(_page, tx, model_id, wanted), after, limit))

    def _require_run(self, workspace: str, run_id: str) -> None:
        """Asks tracking, which is never done in a transaction."""
        run = self._runs.get(run_id)
        if run.workspace != workspace:
            problem = f"there is no run {run_id} in the workspace {workspace!r}, which is that of the model"
            raise FieldInvalid({"run_id": problem}, run_id=run_id, workspace=workspace)
        if run.is_deleted:
            raise RunDeleted(run_id)

    def _created(self, tx: Transaction, model_name: str, draft: Draft, evaluation_id: str) -> Evaluation:
        """What an earlier call of the same request recorded. Raises VersionNotFound if it was deleted since."""
        found = store.of_id(tx, evaluation_id)
        gone = VersionNotFound(model_name, draft.version_number)
        if found is None:
            raise gone
        self._lookup.require(found.workspace, found.model_id, lambda: gone)
        return found


def _page(
    tx: Transaction, model_id: str, wanted: store.Wanted, after: Key | None, limit: int
) -> list[Found[Evaluation]]:
    before = int(after[0] or 0) if after else None
    found = store.page(tx, model_id, wanted, before=before, limit=limit)
    return [Found(each, (each.audit_sequence,)) for each in found]


def _judge(draft: Draft) -> None:
    with Fields() as fields:
        if not _NAME.match(draft.name):
            rule = f"it needs 1 to {NAME_CHARACTERS} letters, digits, '_' and '-', beginning with a letter"
            fields.refuse("name", f"{shown(draft.name)} can't be the name of an evaluation: {rule}")
        fields.id("run_id", draft.run_id)
        fields.text("artifact_path", draft.artifact_path, longest=ARTIFACT_PATH_LENGTH)
        fields.text("dataset_name", draft.dataset_name, longest=NAME_LENGTH)
        fields.text("dataset_digest", draft.dataset_digest, longest=DIGEST_LENGTH)
        _judge_metrics(fields, draft.metrics)
        _judge_verdicts(fields, draft.verdicts)


def _judge_metrics(fields: Fields, metrics: tuple[EvaluationMetric, ...]) -> None:
    if not fields.count("metrics", metrics, most=MOST_METRICS):
        return
    seen: set[str] = set()
    for index, metric in enumerate(metrics):
        at = f"metrics[{index}]"
        fields.text(f"{at}.name", metric.name, longest=KEY_LENGTH, shortest=1)
        if metric.name in seen:
            fields.refuse(f"{at}.name", f"{shown(metric.name)} is in the list already")
        seen.add(metric.name)
        _judge_finite(fields, f"{at}.value", metric.value)
        if metric.interval is not None:
            _judge_interval(fields, f"{at}.interval", metric.interval)


def _judge_interval(fields: Fields, at: str, interval: Interval) -> None:
    low, high, confidence = interval.low, interval.high, interval.confidence
    _judge_finite(fields, f"{at}.low", low)
    _judge_finite(fields, f"{at}.high", high)
    if low > high:
        fields.refuse(at, f"its lower end {low} is above its upper end {high}")
    if not 0 < confidence < 1:
        fields.refuse(f"{at}.confidence", f"{confidence} is not above 0 and below 1, such as 0.95")


def _judge_finite(fields: Fields, at: str, value: float) -> None:
    if not math.isfinite(value):
        fields.refuse(at, f"{value} is not a finite number")


def _judge_verdicts(fields: Fields, verdicts: tuple[Verdict, ...]) -> None:
    if not fields.count("verdicts", verdicts, most=MOST_VERDICTS):
        return
    seen: set[str] = set()
    for index, verdict in enumerate(verdicts):
        at = f"verdicts[{index}]"
        fields.text(f"{at}.metric", verdict.metric, longest=KEY_LENGTH, shortest=1)
        fields.text(f"{at}.explanation", verdict.explanation, longest=EXPLANATION_LENGTH, controls=True)
        if verdict.metric in seen:
            fields.refuse(f"{at}.metric", f"{shown(verdict.metric)} is in the list already")
        seen.add(verdict.metric)


def _change(made: Evaluation, version_id: str) -> Change:
    """What is recorded: all that a reader of the evaluation can decide by, so that the audit chain proves it."""
    failed = [each.metric for each in made.verdicts if not each.passed]
    told = {"evaluation_id": made.evaluation_id, "name": made.name, "run_id": made.run_id}
    texts = {name: getattr(made, name) for name in ("artifact_path", "dataset_name", "dataset_digest")}
    intervals = {each.name: asdict(each.interval) for each in made.metrics if each.interval is not None}
    return Change(
        "evaluation.created",
        before={},
        after={
            **told,
            **{name: value for name, value in texts.items() if value},
            "metrics": {each.name: each.value for each in made.metrics},
            **({"intervals": intervals} if intervals else {}),
            "verdicts": {each.metric: each.passed for each in made.verdicts},
        },
        payload={**told, "failed_metrics": failed},
        version_id=version_id,
        version_number=made.version_number,
    )
