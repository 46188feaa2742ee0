"""The nouns of the registry. Times are milliseconds since the epoch."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | Mapping[str, "Value"] | Sequence["Value"] | None
"""What a record or an event says of a change: anything that JSON can hold."""

_RUN_FILES = re.compile(r"runs:/([0-9a-f]{32})/(.*)\Z", re.DOTALL)
_VERSION_COPY = re.compile(r"models:/(.*)/([0-9]+)\Z", re.DOTALL)


def as_json(value: Mapping[str, Value] | Sequence[Value]) -> str:
    """A value as compact JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A name under which versions are numbered.

    `audit_sequence` and `audit_digest` are those of its last audit record: the end of its chain.
    """

    model_id: str
    workspace: str
    name: str
    description: str
    creator: str
    create_time: int
    update_time: int
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    last_version_number: int = 0
    revision: int = 1
    audit_sequence: int = 0
    audit_digest: str = ""

    @property
    def etag(self) -> str:
        """Changes whenever the name or the description changes."""
        return str(self.revision)

    @property
    def audit_chain(self) -> str:
        """The name of its chain of audit records."""
        return audit_chain(self.model_id)


def audit_chain(model_id: str) -> str:
    """The name of the chain of audit records of a model."""
    return f"models/{model_id}"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Files of a run, as the source of a version. An empty path means all files."""

    run_id: str
    path: str

    def __str__(self) -> str:
        return f"runs:/{self.run_id}/{self.path}"


@dataclass(frozen=True, slots=True)
class VersionCopy:
    """Another version, as the source of a version. `model_name` is the name at the time of the copy.

    `version_id` still identifies it after its model was renamed or deleted. It is empty until the version is found.
    """

    model_name: str
    version_number: int
    version_id: str = ""

    def __str__(self) -> str:
        return f"models:/{self.model_name}/{self.version_number}"


Source: TypeAlias = RunFiles | VersionCopy
"""What a version is made from. Its text is what filters compare, and what is stored; beside it the id of a copy."""


def source_of(text: str, version_id: str = "") -> Source:
    """The source that has this text, and this id if it is a version. Raises ValueError if no source has."""
    if found := _RUN_FILES.match(text):
        return RunFiles(found[1], found[2])
    if found := _VERSION_COPY.match(text):
        return VersionCopy(found[1], int(found[2]), version_id)
    raise ValueError(f"{text!r} is not the text of a source")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives: each field is the JSON text of a schema, or empty."""

    inputs: str = ""
    outputs: str = ""
    params: str = ""


@dataclass(frozen=True, slots=True)
class Flavor:
    """A way in which a model can be loaded."""

    name: str
    library_version: str = ""


@dataclass(frozen=True, slots=True)
class Files:
    """A frozen list of files, as artifacts described it."""

    manifest_sha256: str
    file_count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model. `model_name` is the current name of the model.

    `signature` is None if nothing is known, and in lists, which leave it out.
    """

    version_id: str
    workspace: str
    model_id: str
    model_name: str
    version_number: int
    stage: str
    run_id: str
    source: Source
    creator: str
    files: Files
    create_time: int
    update_time: int
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    signature: Signature | None = None
    flavors: tuple[Flavor, ...] = ()
    revision: int = 1

    @property
    def etag(self) -> str:
        """Changes whenever the description or the stage changes."""
        return str(self.revision)


@dataclass(frozen=True, slots=True)
class SnapshotTarget:
    """The version that a snapshot of files is for."""

    version_id: str
    workspace: str
    model_id: str


@dataclass(frozen=True, slots=True)
class SourceRun:
    """A run, as tracking described it."""

    run_id: str
    workspace: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that points at one version of a model."""

    workspace: str
    model_name: str
    alias: str
    version_number: int
    update_time: int


class PromotionState(StrEnum):
    """How far a promotion is."""

    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Promotion:
    """The move of a version from one stage to another. `audit_sequence` is that of its audit record."""

    promotion_id: str
    workspace: str
    model_id: str
    model_name: str
    version_number: int
    from_stage: str
    to_stage: str
    state: PromotionState
    archived_version_numbers: tuple[int, ...]
    creator: str
    reason: str
    create_time: int
    audit_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a metric."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class EvaluationMetric:
    """A metric of an evaluation, with its confidence interval if it has one."""

    name: str
    value: float
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a metric has kept a threshold."""

    metric: str
    passed: bool
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a version was worth on some data. `audit_sequence` is that of its audit record."""

    evaluation_id: str
    workspace: str
    model_id: str
    model_name: str
    version_number: int
    name: str
    run_id: str
    artifact_path: str
    metrics: tuple[EvaluationMetric, ...]
    verdicts: tuple[Verdict, ...]
    dataset_name: str
    dataset_digest: str
    creator: str
    create_time: int
    audit_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a model, or to one of its versions if `version_id` is set.

    `before` and `after` go into the audit record. `payload` goes into the event; its keys are the fields of the event's
    payload in the contract. `new_name` is the name of the model after the change, if the change renamed it.
    """

    action: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    payload: Mapping[str, Value]
    version_id: str = ""
    version_number: int = 0
    new_name: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A change, for programs that follow the registry.

    `position` is its place among the events of its workspace: from 1 without gaps. None until it is given. `payload` is
    JSON.
    """

    event_id: str
    type: str
    workspace: str
    model_id: str
    model_name: str
    version_number: int
    create_time: int
    audit_sequence: int
    payload: str
    position: int | None = None
