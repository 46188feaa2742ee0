"""Records a result as an evaluation of a version."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from modelry._sdk.evaluating.subject import registry_client, uri_of

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.evaluating.result import EvaluationResult
    from modelry._sdk.nouns.versions import Version


def linked(result: EvaluationResult, version: Version, client: Client | None) -> EvaluationResult:
    """The result after it is recorded as an evaluation of the version. Raises what `Evaluations.create` raises.

    The id of the request follows from the result, so that a second attempt after a lost answer records nothing twice.
    """
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
