"""The limits that the comments of the contract give are those that the code keeps."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest

from modelry._sdk.nouns import evaluations as sdk_evaluations
from modelry_server.access.domain import groups, roles, tokens, workspaces
from modelry_server.artifacts.config import ArtifactsConfig
from modelry_server.artifacts.domain import incoming, paths, writing
from modelry_server.artifacts.rpc import artifacts
from modelry_server.kernel.filter import order, syntax
from modelry_server.kernel.requests import fields, idempotency, paging
from modelry_server.kernel.sql import predicate
from modelry_server.kernel.transport import messages, texts, wire
from modelry_server.kernel.transport.config import ServerConfig
from modelry_server.registry.domain import evaluations, models, names, promotions, versions
from modelry_server.registry.rpc import events
from modelry_server.tracking.domain import datasets, downsample, heartbeats, ingest, metrics, runs, totals
from tests.architecture.tree import PROTOS

_PAGE = inspect.signature(paging.Pager.page).parameters
_HOURS = idempotency.KEPT_MS // 3_600_000
_ARTIFACTS = ArtifactsConfig()
_LABELS = [1, fields.KEY_LENGTH, fields.TAG_VALUE_LENGTH, fields.MOST_TAGS, fields.TAG_BYTES]

LIMITS = {
    "*Request.page_size": [_PAGE["default"].default, *[_PAGE["maximum"].default] * 2],
    "*Request.request_id": [_HOURS, fields.REQUEST_ID_LENGTH],
    "*.update_mask": [fields.MASK_PATHS],
    "*.read_mask": [fields.MASK_PATHS],
    "*Request.order_by": [order.MOST_KEYS],
    "*Request.reason": [fields.NOTE_LENGTH],
    "*Workspace*.description": [fields.NOTE_LENGTH],
    "*Group*.description": [fields.NOTE_LENGTH],
    "*Role*.description": [fields.NOTE_LENGTH],
    "*Token*.description": [tokens.DESCRIPTION_LENGTH],
    "*.description": [fields.DESCRIPTION_LENGTH],
    "Set*TagsRequest.tags": [1, fields.KEYS_PER_CALL],
    "Delete*TagsRequest.keys": [1, fields.KEYS_PER_CALL],
    "LogBatchRequest.tags": [fields.KEYS_PER_CALL],
    "*Request.params": [fields.KEYS_PER_CALL],
    "*.tags": _LABELS,
    # access
    "Group.name": [1, fields.KEY_LENGTH],
    "*GroupMembersRequest.members": [1, groups.MOST_AT_ONCE],
    "Role.name": [1, 63],
    "Role.permissions": [roles.MOST_PERMISSIONS],
    "CreateRoleRequest.permissions": [roles.MOST_PERMISSIONS],
    "Principal.name": [1, fields.KEY_LENGTH],
    "*.display_name": [fields.KEY_LENGTH],
    "CreatePrincipalRequest.external_id": [fields.KEY_LENGTH],
    "ListPrincipalsRequest.name_contains": [fields.KEY_LENGTH],
    "*Token*.workspaces": [tokens.MOST_WORKSPACES],
    "GetGrantsRequest.groups": [fields.KEYS_PER_CALL],
    "LogTokenUsesRequest.token_ids": [fields.KEYS_PER_CALL],
    "Workspace.name": [1, 63],
    # artifacts
    "Artifact.path": [paths.LONGEST, paths.DEEPEST, paths.LONGEST_PART],
    "*.content_type": [incoming._LONGEST_TYPE],
    "ArtifactHeader.size_bytes": [incoming.MOST_BYTES],
    "ArtifactService.WriteArtifacts": [
        _ARTIFACTS.upload_files,
        writing.MORE_FOLDERS,
        _ARTIFACTS.upload_limit // 3600,
    ],
    "WriteArtifactsRequest.content": [artifacts.CONTENT_BYTES],
    "WriteArtifactsRequest.replaced_with": [artifacts.MOST_REPLACED_WITH],
    # registry
    "Alias.alias": [1, names.ALIAS_LENGTH],
    "Evaluation.name": [1, evaluations.NAME_CHARACTERS],
    "*Evaluation*.artifact_path": [evaluations.ARTIFACT_PATH_LENGTH],
    "*.dataset_name": [fields.NAME_LENGTH],
    "*.dataset_digest": [evaluations.DIGEST_LENGTH],
    "Evaluation.metrics": [evaluations.MOST_METRICS],
    "Evaluation.verdicts": [evaluations.MOST_VERDICTS],
    "CreateEvaluationRequest.metrics": [evaluations.MOST_METRICS],
    "CreateEvaluationRequest.verdicts": [evaluations.MOST_VERDICTS],
    "EvaluationMetric.name": [1, fields.KEY_LENGTH],
    "Verdict.metric": [1, fields.KEY_LENGTH],
    "Verdict.explanation": [evaluations.EXPLANATION_LENGTH],
    "Flavor.name": [1, names.FLAVOR_LENGTH],
    "Flavor.library_version": [names.FLAVOR_LENGTH],
    "CreateVersionRequest.flavors": [names.FLAVORS],
    "ListEventsRequest.types": [events.MOST_TYPES],
    "ListLatestVersionsRequest.stages": [versions.MOST_STAGES],
    "Model.name": [1, names.MODEL_NAME_LENGTH],
    "Model.aliases": [names.ALIASES_PER_MODEL],
    "ModelDeleted.version_numbers": [models._MOST_TOLD] * 2,
    "PromoteVersionRequest.archive_existing": [promotions.MOST_ARCHIVED],
    "Signature": [names.SIGNATURE_BYTES],
    "Signature.*": [names.SCHEMA_LENGTH],
    # tracking
    "Dataset.name": [1, fields.NAME_LENGTH],
    "Dataset.digest": [1, datasets.DIGEST_LENGTH],
    "Dataset.source_type": [fields.KEY_LENGTH],
    "Dataset.source": [datasets.SOURCE_LENGTH],
    "Dataset.schema": [datasets.SCHEMA_LENGTH, datasets.SCHEMA_BYTES],
    "Dataset.profile": [datasets.SCHEMA_LENGTH],
    "DatasetInput.context": [fields.KEY_LENGTH],
    "LogDatasetsRequest.inputs": [1, datasets.MOST_INPUTS],
    "Experiment.name": [1, fields.NAME_LENGTH],
    "MetricColumns.key": [1, fields.KEY_LENGTH],
    "MetricService.WriteMetrics": [ingest._MOST_EARLY],
    "WriteMetricsRequest.writer_id": [1, metrics.WRITER_LENGTH],
    "WriteMetricsRequest.metrics": [metrics.BATCH_KEYS, metrics.BATCH_POINTS],
    "ReadMetricsRequest.run_ids": [1, metrics.READ_RUNS],
    "ReadMetricsRequest.keys": [metrics.BATCH_KEYS],
    "ReadMetricsRequest.max_points": [downsample.LEAST, metrics.MOST_POINTS],
    "LogHeartbeatsRequest.run_ids": [1, fields.KEYS_PER_CALL],
    "LogHeartbeatsRequest.period": [heartbeats.SHORTEST_PERIOD_S, heartbeats.LONGEST_PERIOD_S],
    "Run.name": [1, fields.NAME_LENGTH],
    "CreateRunRequest.name": [fields.NAME_LENGTH],
    "*.claimed_user": [fields.KEY_LENGTH],
    "Run.*_time": [1970, 9999],
    "Run.params": [1, fields.KEY_LENGTH, fields.PARAM_VALUE_LENGTH, totals.MOST_PARAMS, totals.PARAM_BYTES],
    "Run.metrics": [totals.MOST_METRICS, totals.METRIC_KEY_BYTES],
    "FinishRunRequest.participant": [fields.KEY_LENGTH, totals.MOST_PARTICIPANTS],
    "Run.datasets": [totals.MOST_DATASETS, totals.DATASET_BYTES],
    "SearchRunsRequest.experiment_ids": [runs.SEARCHED_EXPERIMENTS],
    "SearchRunsResponse.next_page_token": [paging.PAGE_BYTES],
}
"""The numbers in the comment of each field, message and rpc, in their order. The first pattern that fits counts."""

PAGE = {
    "A list or map of more than {} texts or messages": texts.MOST_ITEMS,
    "An error describes at most {} bad fields": fields.MOST_VIOLATIONS,
    "A request and an answer have at most {} MiB": messages.MESSAGE_BYTES >> 20,
    "A message of more than {} KiB in a request": messages.LARGE_BYTES >> 10,
    "in a request has at most {} fields": wire.MOST_FIELDS,
    "`UpdateRun` may have {} fields": wire.MOST_OF_RUN,
    "A message has at most {} whole numbers in lists": wire.MOST_NUMBERS,
    "by default {} for each listener": ServerConfig().streams,
    "takes at most {} seconds by default": int(ServerConfig().call_limit),
    "A filter has at most {} characters": syntax.MOST_CHARACTERS,
    "{} comparisons": syntax.MOST_COMPARISONS,
    "{} levels of parentheses": syntax.MOST_LEVELS,
    "{} values in a list": syntax.MOST_VALUES,
    "{} characters in a pattern": predicate.MOST_PATTERN,
    "remembers a `request_id` for {} hours": _HOURS,
    "`page_size` 0 means the default ({})": _PAGE["default"].default,
    "more than the maximum ({})": _PAGE["maximum"].default,
}
"""The numbers on the page about the contract."""

_LIMIT = re.compile(
    r"(?P<least>\d+) to (?P<most>\d+)"
    r"|(?:[Aa]t most|more than|means|only the first|within|after) (?P<limit>\d+)(?: (?P<unit>[KM]iB))?"
    r"|(?P<sum>\d+) (?P<of>[KM]iB) together"
)
_UNITS = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20}


def commented() -> Iterator[tuple[str, str]]:
    """The name of everything that the contract declares, with its comment: `Run`, `Run.name`, `RunService.GetRun`."""
    for path in sorted(PROTOS.glob("*/*/v1/*.proto")):
        comment: list[str] = []
        around = ""
        for line in map(str.strip, path.read_text().splitlines()):
            if line.startswith("//"):
                comment.append(line.removeprefix("//").strip())
                continue
            if found := re.match(r"(?:message|service) (\w+)", line):
                around = found[1]
                yield around, " ".join(comment)
            elif found := re.match(r"rpc (\w+)|(?:optional |repeated )?[\w.<>, ]+ (\w+) = \d+", line):
                yield f"{around}.{found[1] or found[2]}", " ".join(comment)
            comment = []


def told(comment: str) -> list[int]:
    """The limits that a comment gives, in bytes where it names a unit."""
    found = []
    for each in _LIMIT.finditer(comment):
        unit = _UNITS[each["unit"] or each["of"]]
        found += [int(number) * unit for number in each.group("least", "most", "limit", "sum") if number]
    return found


GIVEN = {name: found for name, comment in commented() if (found := told(comment))}


@pytest.mark.parametrize("name", GIVEN)
def test_a_limit_in_a_comment_is_the_limit_in_the_code(name: str) -> None:
    kept = next((limits for pattern, limits in LIMITS.items() if fnmatch(name, pattern)), None)

    assert GIVEN[name] == kept


def test_each_limit_of_the_table_is_in_a_comment() -> None:
    assert [pattern for pattern in LIMITS if not any(fnmatch(name, pattern) for name in GIVEN)] == []


@pytest.mark.parametrize(("phrase", "limit"), PAGE.items())
def test_a_limit_on_the_page_about_the_contract_is_the_limit_in_the_code(phrase: str, limit: int) -> None:
    page = " ".join((PROTOS.parent / "README.md").read_text().split())

    assert phrase.format(limit) in page


def test_the_name_of_a_workspace_has_the_length_that_the_comment_gives() -> None:
    assert workspaces._NAME.match("a" * 63)
    assert not workspaces._NAME.match("a" * 64)


def test_the_times_of_a_run_end_where_the_comment_says() -> None:
    judged = fields.Fields()
    for number, time_ms in enumerate((0, fields.LAST_TIME, -1, fields.LAST_TIME + 1)):
        judged.time(str(number), time_ms)

    assert list(judged.violations) == ["2", "3"]


def test_the_sdk_and_the_server_have_the_same_rules_of_evaluations() -> None:
    assert sdk_evaluations.NAME.pattern == evaluations._NAME.pattern
    assert sdk_evaluations.MOST_VERDICTS == evaluations.MOST_VERDICTS
    assert sdk_evaluations.METRIC_LENGTH == fields.KEY_LENGTH
    assert sdk_evaluations.DATASET_NAME_LENGTH == fields.NAME_LENGTH
    assert sdk_evaluations.EXPLANATION_LENGTH == evaluations.EXPLANATION_LENGTH
