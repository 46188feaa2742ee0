"""Where runs and experiments lie, and whether the caller may do there what it asks for.

Neither ever moves to another workspace or experiment. So a place is read once and kept: the hot path, which writes to
the same runs over and over, judges its caller without a look at the database.

Who may not see a thing must not tell by the time of the answer that it is there. So memory never refuses anybody: what
the caller may not do at a place that is kept is looked up like what is not known here. And nothing else is read, and no
row is locked, before the caller was judged.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from modelry_server.kernel.access import Access, Place, Within, rest_of
from modelry_server.kernel.errors import ModelryError
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking.entities import Experiment, Run
from modelry_server.tracking.errors import DatasetNotFound, ExperimentNotFound, RunNotFound
from modelry_server.tracking.store import experiments as experiment_store
from modelry_server.tracking.store import runs as run_store

MOST_KEPT = 32_768
"""How many places of runs are kept, and of experiments: about 10 MiB. The oldest are read again."""


class Places:
    """Judges the current caller at the places of runs and experiments: by the permission of its rpc, unless another one
    is named.

    What the caller can't see is reported exactly like what does not exist.
    """

    def __init__(self, db: Database, access: Access, *, most_kept: int = MOST_KEPT) -> None:
        self._db = db
        self._access = access
        self._runs = _Known(run_store.places, most_kept)
        self._experiments = _Known(experiment_store.places, most_kept)

    def require_workspace(self, workspace: str) -> None:
        """Judges at a workspace, without asking whether it exists.

        Raises FieldInvalid if none is named, WorkspaceNotFound, PermissionMissing.
        """
        _require_named(workspace)
        self._access.require(Place(workspace))

    def require_naming(self, experiment: Experiment) -> None:
        """Judges whether the caller may take another name for an experiment: names belong to the whole workspace.

        Raises PermissionMissing.
        """
        unseen = partial(ExperimentNotFound, experiment.experiment_id)
        self._access.require(Place(experiment.workspace), unseen=unseen)

    def within(self, workspace: str) -> Within:
        """The part of a workspace that a list may show. Raises FieldInvalid, WorkspaceNotFound, PermissionMissing."""
        _require_named(workspace)
        return self._access.within(workspace)

    def require_runs(self, run_ids: Sequence[str], *, permission: str | None = None) -> None:
        """Judges at the places of runs, also of deleted ones. Raises RunNotFound, PermissionMissing."""
        self._require(self._runs, run_ids, RunNotFound, permission)

    def require_experiments(self, experiment_ids: Sequence[str], *, permission: str | None = None) -> None:
        """Judges at experiments, also deleted ones. Raises ExperimentNotFound, PermissionMissing."""
        self._require(self._experiments, experiment_ids, ExperimentNotFound, permission)

    def workspace_of(self, experiment_id: str) -> str:
        """The workspace of an experiment for which the caller was judged before. Raises ExperimentNotFound."""
        place = self._experiments.kept(experiment_id)
        if place is None:
            place = self._experiments.read(self._db, [experiment_id]).get(experiment_id)
        if place is None:
            raise ExperimentNotFound(experiment_id)
        return place.workspace

    def sees_experiment(self, workspace: str, experiment_id: str) -> bool:
        """Whether the caller has any role at an experiment, which is in that workspace."""
        return self._access.sees(Place(workspace, experiment_id))

    def parts(self) -> Collection[str]:
        """The experiments for which the caller has the permission apart from that for a whole workspace."""
        return self._access.parts().experiment_ids

    def require_dataset(self, dataset_id: str, workspace: str, experiment_ids: Iterable[str]) -> None:
        """Judges at a dataset of a workspace, which runs of these experiments used; it does not exist if that is empty.

        Raises DatasetNotFound, PermissionMissing.
        """
        if not any(self._access.allows(Place(workspace, each)) for each in experiment_ids):
            place = rest_of(workspace) if workspace else None
            self._access.require(place, unseen=partial(DatasetNotFound, dataset_id))

    def allowed_runs(self, run_ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Of the runs that the caller can see, those with the permission and those without it."""
        allowed, others = self._sorted(self._runs, run_ids, None)
        places = self._runs.read(self._db, others)
        denied: list[str] = []
        for run_id, place in places.items():
            if self._access.allows(place):
                allowed.append(run_id)
            elif self._access.sees(place):
                denied.append(run_id)
        return allowed, denied

    def note_run(self, run: Run) -> None:
        """Keeps the place of a run that was just created: its points come next."""
        self._runs.note({run.run_id: Place(run.workspace, run.experiment_id)})

    def _require(
        self, known: "_Known", ids: Sequence[str], missing: Callable[[str], ModelryError], permission: str | None
    ) -> None:
        _, others = self._sorted(known, ids, permission)
        places = known.read(self._db, others)
        for each in others:
            self._access.require(places.get(each), permission=permission, unseen=partial(missing, each))

    def _sorted(self, known: "_Known", ids: Sequence[str], permission: str | None) -> tuple[list[str], list[str]]:
        """Those where the caller has the permission for all that is kept here, and the others."""
        allowed: list[str] = []
        others: list[str] = []
        for each in ids:
            place = known.kept(each)
            is_allowed = place is not None and self._access.allows(place, permission=permission)
            (allowed if is_allowed else others).append(each)
        return allowed, others


def _require_named(workspace: str) -> None:
    with Fields() as fields:
        if not workspace:
            fields.refuse("workspace", "is required")


class _Known:
    """The places that were read last, by id."""

    def __init__(self, read: Callable[[Transaction, Collection[str]], dict[str, Place]], most: int) -> None:
        self._read = read
        self._most = most
        self._places: dict[str, Place] = {}
        self._lock = threading.Lock()

    def kept(self, thing_id: str) -> Place | None:
        """The place of a thing, if it is kept."""
        return self._places.get(thing_id)

    def read(self, db: Database, ids: Collection[str]) -> Mapping[str, Place]:
        """The places of those that exist, as the database has them. They are kept."""
        if not ids:
            return {}
        with db.read() as tx:
            places = self._read(tx, ids)
        self.note(places)
        return places

    def note(self, places: Mapping[str, Place]) -> None:
        """Keeps places, in place of the oldest ones."""
        with self._lock:
            self._places |= places
            while len(self._places) > self._most:
                del self._places[next(iter(self._places))]
