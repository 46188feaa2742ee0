"""The nouns of the registry. Times are milliseconds since the epoch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | Mapping[str, "Value"] | Sequence["Value"] | None
"""What a record holds of a change: anything that JSON can."""
DEFAULT_WORKSPACE = "default"
"""The workspace that a request means when it names none; it is always there."""


def canonical(value: Mapping[str, Value]) -> str:
    """A value as JSON that is always the same: keys sorted, no white space, characters as they are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Stage(StrEnum):
    """Where a version stands on its way; in this order."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


IN_USE = (Stage.STAGING, Stage.PRODUCTION)
"""The stages of versions that somebody relies on."""


@dataclass(frozen=True, slots=True)
class Model:
    """A name under which versions are numbered.

    `sequence` and `digest` are those of its last audit record: the end of the chain.
    """

    model_id: str
    workspace: str
    name: str
    description: str
    create_time: int
    update_time: int
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    last_version: int = 0
    revision: int = 1
    sequence: int = 0
    digest: str = ""

    @property
    def etag(self) -> str:
        """Changes with each change of name or description."""
        return str(self.revision)


@dataclass(frozen=True, slots=True)
class Files:
    """A frozen list of files: what artifacts said of a snapshot."""

    manifest_sha256: str
    file_count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model. `model` is the model's name at present; `model_id` stays."""

    version_id: str
    model_id: str
    workspace: str
    model: str
    number: int
    stage: Stage
    run_id: str
    source: str
    description: str
    user: str
    files: Files
    create_time: int
    update_time: int
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    revision: int = 1

    @property
    def etag(self) -> str:
        """Changes with each change of description or stage."""
        return str(self.revision)


@dataclass(frozen=True, slots=True)
class SourceRun:
    """What tracking said of a run."""

    run_id: str
    workspace: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that points at one version of a model."""

    workspace: str
    model: str
    alias: str
    number: int
    update_time: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """A version's move from one stage to another. `sequence` is that of its audit record."""

    sequence: int
    number: int
    from_stage: Stage
    to_stage: Stage
    archived_numbers: tuple[int, ...]
    user: str
    reason: str
    create_time: int


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a model, or to one of its versions if `number` is not 0: the content of an audit record."""

    action: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    number: int = 0


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change, who made it, and its place in the chain of the model. `before` and `after` are JSON objects."""

    sequence: int
    model_id: str
    workspace: str
    model: str
    number: int
    action: str
    user: str
    create_time: int
    before: str
    after: str
    reason: str
    peer: str
    previous_digest: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A change, for programs that follow the registry. `cursor` is its place in the order of all; `payload` is JSON."""

    cursor: int
    workspace: str
    model: str
    number: int
    type: str
    create_time: int
    payload: str
