"""What an evaluation found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modelry._sdk.nouns.evaluations import Interval
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.evaluating.thresholds import Verdict
    from modelry._sdk.nouns.versions import Version


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What an evaluation found; `run_id` has all of it.

    `metrics` are numbers by name. `left_out` says why a metric is not among them. `intervals` are those of the metrics,
    `baseline_metrics` and `differences` (own minus the baseline's) are set with a baseline, and `difference_intervals`
    too if intervals were asked for, of which `intervals_left_out` says why a metric has none. `verdicts` has one for
    each threshold. `tables` has the rows of tables by name, such as `slices`. `artifacts` are the paths of the files of
    the run, in its folder `artifact_path`. `version` is `models:/<name>/<number>` if the model is a version, which has
    the evaluation under `name` once there is an `evaluation_id`. If a run or the version couldn't take the result,
    `run_id` or `evaluation_id` is empty; see `link`.
    """

    name: str
    model_type: str
    run_id: str
    metrics: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    baseline_metrics: Mapping[str, float] = field(default_factory=dict)
    differences: Mapping[str, float] = field(default_factory=dict)
    difference_intervals: Mapping[str, Interval] = field(default_factory=dict)
    intervals_left_out: Mapping[str, str] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    artifacts: Sequence[str] = ()
    artifact_path: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""
    version: str = ""
    evaluation_id: str = ""

    @property
    def passed(self) -> bool:
        """Whether all thresholds are kept; true without thresholds."""
        return all(each.passed for each in self.verdicts)

    def link(self, version: str | None = None, *, client: Client | None = None) -> EvaluationResult:
        """Records the result as an evaluation of its version, and returns it with the `evaluation_id`.

        It is for a result that could not be linked, or, with `version` such as `models:/bikes/3`, for one that belongs
        to no version yet. What is linked stays as it is. Raises InvalidArgument if there is no run or no version, or
        for an URI of none, and what `client.evaluations.create` raises.
        """
        from modelry._sdk.evaluating import subject

        if not self.run_id:
            raise InvalidArgument("no run has this result, so it can't be linked; evaluate again")
        if not (uri := version or self.version):
            raise InvalidArgument("the result belongs to no version; give one, such as version='models:/bikes/3'")
        found = subject.version_of(uri, "version", client)
        if self.evaluation_id and subject.uri_of(found) == self.version:
            return self
        return linked(self, found, client)

    def table(self) -> list[dict[str, Any]]:
        """A row for each metric: its value, interval, the baseline's value and the difference."""
        rows = []
        for name, value in self.metrics.items():
            row: dict[str, Any] = {"metric": name, "value": value}
            if self.intervals:
                row |= _bounds("", self.intervals.get(name))
            if self.baseline_metrics:
                row |= {"baseline": self.baseline_metrics.get(name), "difference": self.differences.get(name)}
                if self.intervals:
                    row |= _bounds("difference_", self.difference_intervals.get(name))
            rows.append(row)
        return rows


def linked(result: EvaluationResult, version: Version, client: Client | None) -> EvaluationResult:
    """The result after it is recorded as an evaluation of the version. Raises what `Evaluations.create` raises.

    The id of the request follows from the result, so that a second attempt after a lost answer records nothing twice.
    """
    from modelry._sdk.evaluating.subject import registry_client, uri_of

    told = f"{result.run_id} {result.artifact_path} {version.version_id}"
    made = registry_client(client).evaluations.create(
        version.model_name,
        version.version_number,
        result.name,
        result.run_id,
        artifact_path=result.artifact_path,
        metrics=result.metrics,
        intervals=result.intervals,
        verdicts={each.metric: (each.passed, each.text) for each in result.verdicts},
        dataset_name=result.dataset_name,
        dataset_digest=result.dataset_digest,
        request_id=hashlib.sha256(told.encode()).hexdigest()[:32],
    )
    return replace(result, version=uri_of(version), evaluation_id=made.evaluation_id)


def _bounds(prefix: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{prefix}low": None if interval is None else interval.low,
        f"{prefix}high": None if interval is None else interval.high,
    }
