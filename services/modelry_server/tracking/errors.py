"""The errors of tracking: one class for each reason."""

from collections.abc import Sequence

from modelry_server.kernel.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from modelry_server.kernel.requests.fields import shown

_NAMED = 20
"""The most params with a conflict that a message names beside the first."""


class ExperimentNotFound(NotFound):
    """There is no such experiment, or the caller can't see it."""

    reason = "EXPERIMENT_NOT_FOUND"

    def __init__(self, experiment_id: str) -> None:
        super().__init__(
            f"there is no experiment with the id {shown(experiment_id)}",
            kind="experiment",
            name=experiment_id,
            experiment=experiment_id,
        )


class ExperimentNameNotFound(NotFound):
    """The workspace has no experiment with this name."""

    reason = "EXPERIMENT_NOT_FOUND"

    def __init__(self, workspace: str, name: str) -> None:
        super().__init__(
            f"there is no experiment {shown(name)} in the workspace {shown(workspace)}",
            kind="experiment",
            name=name,
            experiment=name,
            workspace=workspace,
        )


class ExperimentExists(AlreadyExists):
    """The workspace has an experiment with this name."""

    reason = "EXPERIMENT_EXISTS"

    def __init__(self, name: str, experiment_id: str, lifecycle: str) -> None:
        advice = "restore it or choose another name" if lifecycle == "deleted" else "use it or choose another name"
        super().__init__(
            f"the name {shown(name)} is taken by experiment {experiment_id}, which is {lifecycle}; {advice}",
            name=name,
            experiment_id=experiment_id,
            lifecycle=lifecycle,
        )


class ExperimentDeleted(FailedPrecondition):
    """The experiment is deleted."""

    reason = "EXPERIMENT_DELETED"

    def __init__(self, experiment_id: str) -> None:
        super().__init__(f"experiment {experiment_id} is deleted; restore it first", experiment_id=experiment_id)


class RunNotFound(NotFound):
    """There is no such run, or the caller can't see it."""

    reason = "RUN_NOT_FOUND"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {shown(run_id)}", kind="run", name=run_id, run_id=run_id)


class RunExists(AlreadyExists):
    """A run of another experiment has the run id. Which experiment is not told: the caller may not see it."""

    reason = "RUN_EXISTS"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"a run of another experiment has the run_id {run_id} already; choose another run_id", run_id=run_id
        )


class RunDeleted(FailedPrecondition):
    """The run is deleted."""

    reason = "RUN_DELETED"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is deleted; restore it first", run_id=run_id)


class RunAlreadyEnded(FailedPrecondition):
    """The run has ended already, with another status."""

    reason = "RUN_ALREADY_ENDED"

    def __init__(self, run_id: str, status: str, given: str) -> None:
        super().__init__(
            f"run {run_id} has ended already with status {status}, so it can't end with {given}; to change the status, "
            "update the run",
            run_id=run_id,
            status=status,
            given=given,
        )


class ParamConflict(AlreadyExists):
    """A param was logged again with another value; params are write-once."""

    reason = "PARAM_CONFLICT"

    def __init__(self, key: str, stored: str, given: str, others: Sequence[str] = ()) -> None:
        more = f"; so have {len(others)} more: {', '.join(map(shown, others[:_NAMED]))}" if others else ""
        super().__init__(
            f"param {shown(key)} has the value {shown(stored)} and can't be changed to {shown(given)}{more}; params "
            "are write-once: use another key, a tag, or a new run",
            key=key,
            stored=stored,
            given=given,
        )


class BatchGap(Aborted):
    """A numbered batch arrived, but an earlier one is missing."""

    reason = "BATCH_GAP"

    def __init__(self, number: int, durable: int) -> None:
        super().__init__(
            f"batch {number} can't be written: the last committed batch of this writer is {durable}; send batch "
            f"{durable + 1} and the following ones",
            batch_number=number,
            durable_batch_number=durable,
        )


class DatasetNotFound(NotFound):
    """There is no such dataset, or the caller can't see it."""

    reason = "DATASET_NOT_FOUND"

    def __init__(self, dataset_id: str) -> None:
        super().__init__(
            f"there is no dataset {shown(dataset_id)}", kind="dataset", name=dataset_id, dataset_id=dataset_id
        )


class TagNotFound(NotFound):
    """There is no tag with this key."""

    reason = "TAG_NOT_FOUND"

    def __init__(self, owner: str, keys: list[str]) -> None:
        named = ", ".join(shown(key) for key in keys)
        super().__init__(f"{owner} has no tag {named}; nothing was removed", kind="tag", name=keys[0], key=keys[0])
