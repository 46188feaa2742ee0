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
    """Whether a thing is in use. The numbers are those of the contract."""

    ACTIVE = 1
    DELETED = 2


class LifecycleFilter(enum.IntEnum):
    """Which things a search finds. The numbers are those of the contract."""

    ACTIVE = 1
    DELETED = 2
    ANY = 3


class RunStatus(enum.IntEnum):
    """The state of a run. The numbers are those of the contract."""

    RUNNING = 1
    SCHEDULED = 2
    FINISHED = 3
    FAILED = 4
    KILLED = 5
    LOST = 6

    @property
    def ended(self) -> bool:
        """Whether the run is over, as far as is known."""
        return self in (*ENDS, RunStatus.LOST)

    @property
    def final(self) -> bool:
        """Whether somebody has said how the run ended: a lost one may go on, or be ended."""
        return self in ENDS


ENDS = (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)
"""The statuses with which a client ends a run."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """Groups the runs that answer one question."""

    experiment_id: str
    workspace: str
    name: str
    create_time: int
    update_time: int
    delete_time: int | None = None
    description: str = ""
    creator: str = ""
    revision: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def lifecycle(self) -> Lifecycle:
        """Active or deleted."""
        return Lifecycle.ACTIVE if self.delete_time is None else Lifecycle.DELETED

    @property
    def etag(self) -> str:
        """Changes whenever name, description or lifecycle change."""
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
    """A summary of a series, for lists. `min_*` and `max_*` are those without NaN; None if all values are NaN.

    A tuple, since a page of runs has thousands of them, and tuples are made in a fifth of the time.
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
    """A dataset that runs used. In a workspace, the same name and digest are the same dataset."""

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
    """A dataset, and what a run used it for."""

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
    description: str = ""
    creator: str = ""
    claimed_user: str = ""
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
        """Changes whenever name, description, status or lifecycle change."""
        return str(self.revision)


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """What became of the heartbeats of some runs: the ids of those for which they had no effect."""

    unknown: Sequence[str]
    not_running: Sequence[str]
    deleted: Sequence[str]
    denied: Sequence[str]


PARTS = ("params", "tags", "metrics", "datasets", "description")
"""The parts of a run that are read only for those who want them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call adds to a run. `writer_id` is empty and `number` is 0 if the batch is not a numbered one."""

    run_id: str
    metrics: Sequence[MetricColumns] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    writer_id: str = ""
    number: int = 0

    @property
    def points(self) -> int:
        """The number of points."""
        return sum(len(columns) for columns in self.metrics)

    @property
    def only_points(self) -> bool:
        """Whether it is not numbered and has neither params nor tags."""
        return not (self.writer_id or self.params or self.tags)


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to find, and in which order.

    `experiment_ids` are those of the experiments to search; None: all of the workspace. `deleted_ids` are those of the
    deleted ones among them.
    """

    workspace: str
    experiment_ids: Sequence[str] | None
    deleted_ids: Collection[str]
    lifecycle: LifecycleFilter
    filter: Node | None
    order: Sequence[OrderKey]
