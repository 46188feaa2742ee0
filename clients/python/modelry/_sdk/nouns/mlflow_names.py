"""What MLflow calls the parts of our types, so that code written for MLflow goes on running.

These are read-only views: the types themselves have one name for each thing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol, Self, TypeVar

VIEW_TYPES = {1: "ACTIVE", 2: "DELETED", 3: "ANY"}
"""MLflow's `ViewType`, by number."""


def _name_for(ours: str) -> Any:
    """A read-only attribute that is another name for one of ours."""
    return property(lambda thing: getattr(thing, ours), doc=f"MLflow's name for `{ours}`.")


def _lower_case(ours: str) -> Any:
    return property(lambda thing: getattr(thing, ours).lower(), doc=f"`{ours}` in lower case, as MLflow writes it.")


def _milliseconds(ours: str) -> Any:
    def read(thing: object) -> int | None:
        time: datetime | None = getattr(thing, ours)
        return None if time is None else round(time.timestamp() * 1000)

    return property(read, doc=f"`{ours}` in milliseconds since 1970, as MLflow has it.")


class _RunIdentity:
    __slots__ = ()
    run_id: str
    name: str

    id: str = _name_for("run_id")
    run_name: str = _name_for("name")

    @property
    def artifact_uri(self) -> str:
        """What the URIs of the files of the run begin with: `runs:/<run_id>`."""
        return f"runs:/{self.run_id}"

    @property
    def info(self) -> Self:
        """The run itself, for code that reads `run.info.run_id`."""
        return self


class RunNames(_RunIdentity):
    """MLflow's names for a run that was read."""

    __slots__ = ()

    user_id: str = _name_for("claimed_user")
    lifecycle_stage: str = _lower_case("lifecycle")

    @property
    def data(self) -> Self:
        """The run itself, for code that reads `run.data.metrics`."""
        return self


Read = TypeVar("Read", covariant=True)


class _Readable(Protocol[Read]):
    def read(self) -> Read: ...


class ActiveRunNames(_RunIdentity):
    """MLflow's names for the run that `start_run` gives."""

    @property
    def data(self: _Readable[Read]) -> Read:
        """What `read` returns, for code that reads `run.data.metrics`."""
        return self.read()


class ExperimentNames:
    """MLflow's names for an experiment."""

    __slots__ = ()

    lifecycle_stage: str = _lower_case("lifecycle")
    creation_time: int | None = _milliseconds("create_time")
    last_update_time: int | None = _milliseconds("update_time")


class ModelNames:
    """MLflow's names for a registered model."""

    __slots__ = ()

    creation_timestamp: int | None = _milliseconds("create_time")
    last_updated_timestamp: int | None = _milliseconds("update_time")


class VersionNames:
    """MLflow's names for a version."""

    __slots__ = ()

    name: str = _name_for("model_name")
    version: int = _name_for("version_number")
    current_stage: str = _name_for("stage")
    status: str = _name_for("state")
    user_id: str = _name_for("creator")
    creation_timestamp: int | None = _milliseconds("create_time")
    last_updated_timestamp: int | None = _milliseconds("update_time")
