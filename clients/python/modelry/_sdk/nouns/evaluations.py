"""Evaluations of versions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import version_number
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry
from modelry.errors import InvalidArgument

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}\Z")
"""The names that an evaluation can have. A test compares this and the limits below with those of the server."""
MOST_VERDICTS = 100
METRIC_LENGTH = 250
DATASET_NAME_LENGTH = 500
EXPLANATION_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a metric: `confidence` is such as 0.95.

    `samples` says in how many bootstrap samples the metric was defined; 0 if that is not known, as in a registry.
    """

    low: float
    high: float
    confidence: float
    samples: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a version was worth on some data, such as `holdout`.

    The run has the details, in its folder `artifact_path`. `metrics` are numbers by name; `intervals` are the
    confidence intervals of those that have one. `verdicts` says of each threshold whether it was kept, and
    `explanations` what was found and needed.
    """

    evaluation_id: str
    workspace: str
    model_name: str
    version_number: int
    name: str
    run_id: str
    artifact_path: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    verdicts: Mapping[str, bool]
    explanations: Mapping[str, str]
    dataset_name: str
    dataset_digest: str
    creator: str
    create_time: datetime | None

    @property
    def passed(self) -> bool:
        """Whether all thresholds were kept; true without thresholds."""
        return all(self.verdicts.values())


@arguments.texts_checked
class Evaluations:
    """Records what versions were worth, and lists it. `modelry.evaluate` computes and records it."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def create(
        self,
        name: str,
        version: int | str,
        evaluation: str,
        run_id: str,
        *,
        artifact_path: str = "",
        metrics: Mapping[str, float] | None = None,
        intervals: Mapping[str, Interval] | None = None,
        verdicts: Mapping[str, tuple[bool, str]] | None = None,
        dataset_name: str = "",
        dataset_digest: str = "",
        request_id: str = "",
    ) -> Evaluation:
        """Records an evaluation, such as `holdout`, of a version of the model `name`.

        `artifact_path` is the folder of the run that has the details. `verdicts` are pairs by metric: whether a
        threshold was kept, and what was found. A retry after a lost answer records nothing twice; nor does another call
        with the same `request_id`, within 24 hours. Raises ModelNotFound,
        VersionNotFound, RunNotFound, RunDeleted, FieldInvalid, also for a metric that is no finite number, or
        InvalidArgument for the interval of a metric that is not given.
        """
        given, bounds = metrics or {}, intervals or {}
        if strays := [metric for metric in bounds if metric not in given]:
            raise InvalidArgument(f"intervals has {strays[0]!r}, which is not among the metrics; give its value too")
        request = registry.CreateEvaluationRequest(
            workspace=self._workspace,
            model_name=name,
            version_number=version_number(version),
            name=evaluation,
            run_id=run_id,
            artifact_path=artifact_path,
            metrics=[_metric(metric, value, bounds.get(metric)) for metric, value in given.items()],
            verdicts=[
                registry.Verdict(metric=metric, passed=passed, explanation=text[:EXPLANATION_LENGTH])
                for metric, (passed, text) in (verdicts or {}).items()
            ],
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
            request_id=request_id or uuid.uuid4().hex,
        )
        return _evaluation_of(self._connection.call(registry.rpcs.CREATE_EVALUATION, request).evaluation)

    def get(self, evaluation_id: str) -> Evaluation:
        """Reads an evaluation, such as the one that an event names. Raises EvaluationNotFound."""
        request = registry.GetEvaluationRequest(evaluation_id=evaluation_id)
        return _evaluation_of(self._connection.call(registry.rpcs.GET_EVALUATION, request).evaluation)

    def list(
        self,
        name: str,
        version: int | str | None = None,
        evaluation: str = "",
        *,
        latest_only: bool = False,
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Evaluation]:
        """Lists the evaluations of a model, or of one of its versions, the newest first.

        With `evaluation` only those of that name; with `latest_only` only the newest of each name of each version,
        which is the one that counts. Raises ModelNotFound when the list is read.
        """
        request = registry.ListEvaluationsRequest(
            workspace=self._workspace,
            model_name=name,
            version_number=0 if version is None else version_number(version),
            name=evaluation,
            latest_only=latest_only,
        )

        def fetch(size: int, token: str) -> tuple[Sequence[Evaluation], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(registry.rpcs.LIST_EVALUATIONS, request)
            return [_evaluation_of(message) for message in page.evaluations], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def latest(self, name: str, version: int | str) -> dict[str, Evaluation]:
        """The newest evaluation of each name of a version: those that count. Raises ModelNotFound."""
        return {each.name: each for each in self.list(name, version, latest_only=True)}


def _metric(name: str, value: float, interval: Interval | None) -> registry.EvaluationMetric:
    message = registry.EvaluationMetric(name=name, value=value)
    if interval is not None:
        message.interval.low, message.interval.high = interval.low, interval.high
        message.interval.confidence = interval.confidence
    return message


def _evaluation_of(message: registry.Evaluation) -> Evaluation:
    return Evaluation(
        evaluation_id=message.evaluation_id,
        workspace=message.workspace,
        model_name=message.model_name,
        version_number=message.version_number,
        name=message.name,
        run_id=message.run_id,
        artifact_path=message.artifact_path,
        metrics={each.name: each.value for each in message.metrics},
        intervals={
            each.name: Interval(each.interval.low, each.interval.high, each.interval.confidence)
            for each in message.metrics
            if each.HasField("interval")
        },
        verdicts={each.metric: each.passed for each in message.verdicts},
        explanations={each.metric: each.explanation for each in message.verdicts},
        dataset_name=message.dataset_name,
        dataset_digest=message.dataset_digest,
        creator=message.creator,
        create_time=time_of(message, "create_time"),
    )
