"""Where runs and experiments lie, and whether the caller may do there what it asks for.

Neither ever moves to another workspace or experiment. So a place is read once and kept: the hot path, which writes to
the same runs over and over, judges its caller without a look at the database.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from modelry_server.kernel.access import Access, Permission, Place
from modelry_server.kernel.errors import ModelryError
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking.entities import Experiment, Run
from modelry_server.tracking.errors import ExperimentNotFound, RunNotFound
from modelry_server.tracking.store import experiments as experiment_store
from modelry_server.tracking.store import runs as run_store

MOST_KEPT = 32_768
"""How many places of runs are kept, and of experiments: about 10 MiB. The oldest are read again."""

READ, WRITE = Permission.READ, Permission.WRITE


class Places:
    """Judges the current caller at the places of runs and experiments.

    What the caller can't see is reported exactly like what does not exist.
    """

    def __init__(self, db: Database, access: Access, *, most_kept: int = MOST_KEPT) -> None:
        self._db = db
        self._access = access
        self._runs = _Known(run_store.places, most_kept)
        self._experiments = _Known(experiment_store.places, most_kept)

    def require_workspace(
        self, permission: Permission, workspace: str, *, unseen: Callable[[], ModelryError] | None = None
    ) -> None:
        """Judges at a workspace, without asking whether it exists.

        Raises FieldInvalid if none is named, PermissionMissing, and what `unseen` makes, by default WorkspaceNotFound.
        """
        with Fields() as fields:
            if not workspace:
                fields.refuse("workspace", "is required")
        self._access.require(permission, Place(workspace), unseen=unseen)

    def require_runs(self, permission: Permission, run_ids: Sequence[str]) -> None:
        """Judges at the places of runs, also of deleted ones. Raises RunNotFound, PermissionMissing."""
        places = self._runs.of(self._db, run_ids)
        for run_id in run_ids:
            if run_id not in places:
                raise RunNotFound(run_id)
            self._access.require(permission, places[run_id], unseen=partial(RunNotFound, run_id))

    def allowed_runs(self, permission: Permission, run_ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Of the runs that the caller can see, those with the permission and those without it."""
        places = self._runs.of(self._db, run_ids)
        seen = [run_id for run_id, place in places.items() if self._access.allows(READ, place)]
        allowed = [run_id for run_id in seen if self._access.allows(permission, places[run_id])]
        return allowed, [run_id for run_id in seen if run_id not in allowed]

    def require_experiment(self, permission: Permission, experiment_id: str) -> None:
        """Judges at an experiment, also a deleted one. Raises ExperimentNotFound, PermissionMissing."""
        place = self._experiments.of(self._db, [experiment_id]).get(experiment_id)
        if place is None:
            raise ExperimentNotFound(experiment_id)
        self._access.require(permission, place, unseen=partial(ExperimentNotFound, experiment_id))

    def judge_run(self, permission: Permission, run: Run) -> None:
        """Judges at a run that has been read. Raises RunNotFound, PermissionMissing."""
        place = Place(run.workspace, run.experiment_id)
        self._access.require(permission, place, unseen=partial(RunNotFound, run.run_id))

    def judge_experiment(
        self, permission: Permission, experiment: Experiment, *, unseen: Callable[[], ModelryError] | None = None
    ) -> None:
        """Judges at an experiment that has been read. Raises what `unseen` makes, by default ExperimentNotFound."""
        place = Place(experiment.workspace, experiment.experiment_id)
        unseen = unseen or partial(ExperimentNotFound, experiment.experiment_id)
        self._access.require(permission, place, unseen=unseen)

    def note_run(self, run: Run) -> None:
        """Keeps the place of a run that was just created: its points come next."""
        self._runs.note({run.run_id: Place(run.workspace, run.experiment_id)})


class _Known:
    """The places that were read last, by id."""

    def __init__(self, read: Callable[[Transaction, Collection[str]], dict[str, Place]], most: int) -> None:
        self._read = read
        self._most = most
        self._places: dict[str, Place] = {}
        self._lock = threading.Lock()

    def of(self, db: Database, ids: Collection[str]) -> Mapping[str, Place]:
        """The places of those that exist."""
        kept = self._places
        found = {each: place for each in ids if (place := kept.get(each)) is not None}
        missing = [each for each in ids if each not in found]
        if missing:
            with db.read() as tx:
                read = self._read(tx, missing)
            self.note(read)
            found |= read
        return found

    def note(self, places: Mapping[str, Place]) -> None:
        """Keeps places, in place of the oldest ones."""
        with self._lock:
            self._places |= places
            while len(self._places) > self._most:
                del self._places[next(iter(self._places))]
