"""The rules of datasets."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from modelry_server.kernel.clock import Clock
from modelry_server.kernel.filter import parse
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import KEY_LENGTH, NAME_LENGTH, Fields, require_room
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.sql.database import Database
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.domain.totals import excess_of_datasets
from modelry_server.tracking.entities import Dataset, DatasetInput
from modelry_server.tracking.errors import DatasetNotFound, RunDeleted, RunNotFound
from modelry_server.tracking.store import datasets as store
from modelry_server.tracking.store import runs as run_store
from modelry_server.tracking.store import search

MOST_INPUTS = 100
DIGEST_LENGTH = 128
SOURCE_LENGTH = 64_000
SCHEMA_LENGTH = 1_000_000
SCHEMA_BYTES = 2 << 20
"""The most that schema and profile take together, so that a dataset with all its fields can be sent."""


class Datasets:
    """Records which datasets runs used, and finds datasets."""

    def __init__(self, db: Database, places: Places, *, workspaces: Workspaces, clock: Clock) -> None:
        self._db = db
        self._places = places
        self._workspaces = workspaces
        self._clock = clock

    def log(self, run_id: str, inputs: Sequence[DatasetInput]) -> list[Dataset]:
        """Adds datasets to a run, all or none. Returns them as they are stored.

        Raises FieldInvalid, RunNotFound, RunDeleted, LimitReached.
        """
        with Fields() as fields:
            fields.id("run_id", run_id)
        self._places.require_runs([run_id])
        with Fields() as fields:
            is_judged = fields.count("inputs", inputs, required=True, most=MOST_INPUTS)
            for index, each in enumerate(inputs if is_judged else ()):
                path = f"inputs[{index}].dataset"
                fields.text(f"{path}.name", each.dataset.name, shortest=1, longest=NAME_LENGTH)
                fields.text(f"{path}.digest", each.dataset.digest, shortest=1, longest=DIGEST_LENGTH)
                fields.text(f"{path}.source_type", each.dataset.source_type, longest=KEY_LENGTH)
                fields.text(f"{path}.source", each.dataset.source, longest=SOURCE_LENGTH, controls=True)
                fields.text(f"{path}.schema", each.dataset.schema, longest=SCHEMA_LENGTH, controls=True)
                fields.text(f"{path}.profile", each.dataset.profile, longest=SCHEMA_LENGTH, controls=True)
                size = len(each.dataset.schema.encode()) + len(each.dataset.profile.encode())
                if size > SCHEMA_BYTES:
                    fields.refuse(path, f"{size} bytes of schema and profile, at most {SCHEMA_BYTES} are allowed")
                fields.text(f"inputs[{index}].context", each.context, longest=KEY_LENGTH)
        with self._db.write() as tx:
            run = run_store.find(tx, run_id, lock=True)
            if run is None:
                raise RunNotFound(run_id)
            if run.delete_time is not None:
                raise RunDeleted(run_id)
            logged: list[Dataset] = []
            for each in inputs:
                new = replace(each.dataset, dataset_id=new_id(), workspace=run.workspace, create_time=self._clock.now())
                dataset = store.add(tx, new)
                store.use(tx, run_id, dataset.dataset_id, each.context)
                logged.append(dataset)
            require_room("inputs", excess_of_datasets(*store.total(tx, run_id)))
            answered = sum(len(dataset.source.encode()) for dataset in logged)
            require_room("inputs", excess_of_datasets(len(logged), answered))  # one may be in the answer many times
        return logged

    def get(self, dataset_id: str) -> Dataset:
        """The dataset with this id: the caller reads its workspace, or an experiment with a run that used it.

        Raises FieldInvalid, DatasetNotFound, PermissionMissing.
        """
        with Fields() as fields:
            fields.id("dataset_id", dataset_id)
        experiment_ids = self._places.parts()
        with self._db.read() as tx:
            workspace, using = store.place(tx, dataset_id, experiment_ids)
        self._places.require_dataset(dataset_id, workspace, using)
        with self._db.read() as tx:
            dataset = store.find(tx, dataset_id)
        if dataset is None:
            raise DatasetNotFound(dataset_id)
        return dataset

    def search(
        self, workspace: str, *, filter: str = "", after: tuple[SortValue, ...] | None, limit: int
    ) -> Iterator[Found[Dataset]]:
        """At most `limit` datasets after a sort key, the newest first, read while they are taken.

        Raises FieldInvalid, FilterSyntax, WorkspaceNotFound, ServiceUnavailable.
        """
        within = self._places.within(workspace)
        node = parse(filter, ("attributes",))
        self._workspaces.require(workspace)
        return self._db.each(
            lambda tx: search.page_of_datasets(tx, workspace, node, within=within, after=after, limit=limit)
        )
