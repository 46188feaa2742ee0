"""The nouns of tracking. Times are milliseconds since the epoch."""

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modelry_server.kernel.filter import Node, OrderKey

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Lifecycle(enum.IntEnum):
    """Whether a thing is in use; the numbers are the contract's."""

    ACTIVE = 1
    DELETED = 2
    ANY = 3


class RunStatus(enum.IntEnum):
    """How a run stands; the numbers are the contract's."""

    RUNNING = 1
    SCHEDULED = 2
    FINISHED = 3
    FAILED = 4
    KILLED = 5

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)


@dataclass(frozen=True, slots=True)
class Experiment:
    """Holds the runs of one question."""

    experiment_id: str
    workspace: str
    name: str
    create_time: int
    update_time: int
    delete_time: int | None = None
    revision: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def lifecycle(self) -> Lifecycle:
        """Active or deleted."""
        return Lifecycle.ACTIVE if self.delete_time is None else Lifecycle.DELETED

    @property
    def etag(self) -> str:
        """Changes with each change."""
        return str(self.revision)


@dataclass(frozen=True, slots=True, eq=False)
class MetricColumns:
    """Points of one metric: three columns of equal length."""

    key: str
    steps: Ints
    times: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)


class MetricSummary(NamedTuple):
    """What lists know of a series; `min_*` and `max_*` leave NaN out and are None when nothing else is there.

    A tuple, since a page of runs has thousands and these are made in a fifth of the time.
    """

    key: str
    point_count: int
    first_step: int
    first_time: int
    first_value: float
    last_step: int
    last_time: int
    last_value: float
    min_value: float | None
    min_step: int | None
    max_value: float | None
    max_step: int | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that runs used; name and digest make it."""

    dataset_id: str
    workspace: str
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    create_time: int = 0


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset as a run used it."""

    dataset: Dataset
    context: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of training code."""

    run_id: str
    experiment_id: str
    workspace: str
    name: str
    status: RunStatus
    start_time: int
    end_time: int | None = None
    delete_time: int | None = None
    parent_run_id: str = ""
    user: str = ""
    revision: int = 1
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[MetricSummary] = ()
    datasets: Sequence[DatasetInput] = ()

    @property
    def lifecycle(self) -> Lifecycle:
        """Active or deleted."""
        return Lifecycle.ACTIVE if self.delete_time is None else Lifecycle.DELETED

    @property
    def etag(self) -> str:
        """Changes with each change of the run itself."""
        return str(self.revision)


PARTS = ("params", "tags", "metrics", "datasets")
"""The parts of a run that a reader may leave out."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call adds to a run. `writer_id` and `number` are those of a numbered batch; otherwise empty and 0."""

    run_id: str
    metrics: Sequence[MetricColumns] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    writer_id: str = ""
    number: int = 0

    @property
    def points(self) -> int:
        """How many points it has."""
        return sum(len(columns) for columns in self.metrics)

    @property
    def only_points(self) -> bool:
        """Whether it is not numbered and has neither params nor tags."""
        return not (self.writer_id or self.params or self.tags)


@dataclass(frozen=True, slots=True)
class RunQuery:
    """What runs to find, in what order.

    No experiment ids: in all experiments of the workspace. `deleted_ids` are those of them that are deleted.
    """

    workspace: str
    experiment_ids: Sequence[str]
    deleted_ids: Collection[str]
    lifecycle: Lifecycle
    filter: Node | None
    order: Sequence[OrderKey]
