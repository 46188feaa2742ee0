"""Who may not see a thing learns nothing of it, by whatever method; who may only read it can't change it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place, WorkspaceNotFound, rest_of
from modelry_server.kernel.errors import FieldInvalid, ModelryError, PermissionMissing
from modelry_server.kernel.ids import new_id
from modelry_server.tracking.domain.metrics import SeriesQuery
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.domain.run_creation import RunDraft
from modelry_server.tracking.entities import Batch, Dataset, DatasetInput, RunStatus
from modelry_server.tracking.errors import DatasetNotFound, ExperimentNotFound, RunNotFound
from tests.parts.judge import HeldJudge, calling
from tests.server.tracking.room import ONCE, Room, a_batch, line, to

READER, STRANGER, OTHER = "reader", "stranger", "other"


@pytest.fixture
def judge() -> HeldJudge:
    """What decides in the room, and remembers what it was asked: a reader, a writer, and nobody else."""
    made = HeldJudge()
    made.give(READER, "reader", at=Place("default"))
    made.give(OTHER, "writer", at=Place("default"))
    return made


@pytest.fixture
def guarded(another_room: Callable[..., Room], judge: HeldJudge) -> Room:
    """A room whose callers have different rights."""
    return another_room(judge=judge)


class Things:
    """What the calls are about."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.experiment_id = room.an_experiment()
        self.name = room.experiments.get(self.experiment_id).name
        self.run_id = room.a_run(self.experiment_id)
        room.runs.log_batch(Batch(self.run_id, tags={"t": "1"}))
        room.experiments.set_tags(self.experiment_id, {"t": "1"})
        self.dataset_id = room.datasets.log(self.run_id, [an_input()])[0].dataset_id


def using(principal_id: str, rpc: str) -> caller.using:
    """Makes somebody the caller of an rpc."""
    return caller.using(calling(principal_id, "tracking", rpc.split()[0]))


def an_input() -> DatasetInput:
    return DatasetInput(Dataset("", "", f"data {new_id()}", "digest"))


Call = Callable[[Things], object]

READS: dict[str, tuple[Call, type[ModelryError]]] = {
    "GetExperiment": (lambda t: t.room.experiments.get(t.experiment_id), ExperimentNotFound),
    "GetExperimentByName": (lambda t: t.room.experiments.get_by_name("default", t.name), WorkspaceNotFound),
    "SearchExperiments": (lambda t: t.room.experiments.search("default", after=None, limit=1), WorkspaceNotFound),
    "GetRun": (lambda t: t.room.runs.get(t.run_id), RunNotFound),
    "SearchRuns": (lambda t: t.room.runs.search("default", after=None, limit=1), WorkspaceNotFound),
    "ReadMetrics": (lambda t: list(t.room.metrics.read(SeriesQuery([t.run_id], []))), RunNotFound),
    "GetDataset": (lambda t: t.room.datasets.get(t.dataset_id), DatasetNotFound),
    "SearchDatasets": (lambda t: t.room.datasets.search("default", after=None, limit=1), WorkspaceNotFound),
}
WRITES: dict[str, tuple[Call, type[ModelryError]]] = {
    "CreateExperiment": (
        lambda t: t.room.experiments.create("default", new_id(), tags={}, request=ONCE),
        WorkspaceNotFound,
    ),
    "UpdateExperiment": (lambda t: t.room.experiments.update(t.experiment_id, "", to(name=t.name)), ExperimentNotFound),
    "DeleteExperiment": (lambda t: t.room.experiments.delete(t.experiment_id), ExperimentNotFound),
    "RestoreExperiment": (lambda t: t.room.experiments.restore(t.experiment_id), ExperimentNotFound),
    "SetExperimentTags": (lambda t: t.room.experiments.set_tags(t.experiment_id, {"t": "1"}), ExperimentNotFound),
    "DeleteExperimentTags": (lambda t: t.room.experiments.delete_tags(t.experiment_id, ["t"]), ExperimentNotFound),
    "CreateRun": (lambda t: t.room.run_creation.create(RunDraft(t.experiment_id), ONCE), ExperimentNotFound),
    "UpdateRun": (lambda t: t.room.runs.update(t.run_id, "", to(name="n")), RunNotFound),
    "FinishRun": (lambda t: t.room.runs.finish(t.run_id, RunStatus.FINISHED, None), RunNotFound),
    "DeleteRun": (lambda t: t.room.runs.delete(t.run_id), RunNotFound),
    "RestoreRun": (lambda t: t.room.runs.restore(t.run_id), RunNotFound),
    "LogBatch": (lambda t: t.room.runs.log_batch(Batch(t.run_id, params={"p": "1"})), RunNotFound),
    "LogBatch of points": (lambda t: t.room.runs.log_batch(a_batch(t.run_id, line("loss", [1]))), RunNotFound),
    "SetRunTags": (lambda t: t.room.runs.set_tags(t.run_id, {"t": "1"}), RunNotFound),
    "DeleteRunTags": (lambda t: t.room.runs.delete_tags(t.run_id, ["t"]), RunNotFound),
    "WriteMetrics": (
        lambda t: t.room.metrics.write(a_batch(t.run_id, line("loss", [1]), writer="w", number=1)),
        RunNotFound,
    ),
    "LogDatasets": (lambda t: t.room.datasets.log(t.run_id, [an_input()]), RunNotFound),
}
BEFORE_THE_REST: dict[str, Call] = {
    "SearchExperiments": lambda t: t.room.experiments.search("default", filter="=", after=None, limit=1),
    "SearchRuns": lambda t: t.room.runs.search("default", filter="=", after=None, limit=1),
    "SearchDatasets": lambda t: t.room.datasets.search("default", filter="=", after=None, limit=1),
    "CreateExperiment": lambda t: t.room.experiments.create("default", "", tags={}, request=ONCE),
    "UpdateExperiment": lambda t: t.room.experiments.update(t.experiment_id, "wrong", to(name="")),
    "SetExperimentTags": lambda t: t.room.experiments.set_tags(t.experiment_id, {}),
    "DeleteExperimentTags": lambda t: t.room.experiments.delete_tags(t.experiment_id, []),
    "CreateRun": lambda t: t.room.run_creation.create(RunDraft(t.experiment_id, name=" "), ONCE),
    "UpdateRun": lambda t: t.room.runs.update(t.run_id, "wrong", to(name="")),
    "FinishRun": lambda t: t.room.runs.finish(t.run_id, RunStatus.RUNNING, -1),
    "LogBatch": lambda t: t.room.runs.log_batch(Batch(t.run_id, params={"": ""})),
    "SetRunTags": lambda t: t.room.runs.set_tags(t.run_id, {}),
    "DeleteRunTags": lambda t: t.room.runs.delete_tags(t.run_id, []),
    "WriteMetrics": lambda t: t.room.metrics.write(Batch(t.run_id)),
    "ReadMetrics": lambda t: t.room.metrics.read(SeriesQuery([t.run_id], [""])),
    "LogDatasets": lambda t: t.room.datasets.log(t.run_id, []),
}


@pytest.mark.parametrize("rpc", [*READS, *WRITES])
def test_who_may_not_read_hears_what_it_would_hear_if_nothing_were_there(guarded: Room, rpc: str) -> None:
    call, error = (READS | WRITES)[rpc]
    things = Things(guarded)

    with using(STRANGER, rpc), pytest.raises(error):
        call(things)


@pytest.mark.parametrize("rpc", BEFORE_THE_REST)
def test_who_may_not_read_hears_nothing_about_the_rest_of_its_request(guarded: Room, rpc: str) -> None:
    things = Things(guarded)

    with using(STRANGER, rpc), pytest.raises((READS | WRITES)[rpc][1]):
        BEFORE_THE_REST[rpc](things)
    with pytest.raises(ModelryError):
        BEFORE_THE_REST[rpc](things)


@pytest.mark.parametrize("rpc", READS)
def test_who_may_read_reads(guarded: Room, rpc: str) -> None:
    things = Things(guarded)

    with using(READER, rpc):
        READS[rpc][0](things)


@pytest.mark.parametrize("rpc", WRITES)
def test_who_may_only_read_is_told_which_permission_is_missing_and_nothing_is_written(guarded: Room, rpc: str) -> None:
    things = Things(guarded)
    before = guarded.runs.get(things.run_id), guarded.experiments.get(things.experiment_id)

    with using(READER, rpc), pytest.raises(PermissionMissing) as caught:
        WRITES[rpc][0](things)

    assert caught.value.metadata["permission"] == calling(READER, "tracking", rpc.split()[0]).permission
    assert (guarded.runs.get(things.run_id), guarded.experiments.get(things.experiment_id)) == before


@pytest.mark.parametrize("rpc", [*READS, *WRITES])
def test_every_method_asks_for_the_permission_of_its_rpc_at_the_place_of_the_thing(
    guarded: Room, judge: HeldJudge, rpc: str
) -> None:
    things = Things(guarded)
    judge.asked.clear()

    with using(OTHER, rpc):
        (READS | WRITES)[rpc][0](things)

    at_workspace = Place("default")
    is_of_workspace = rpc.startswith("Search") or rpc in ("CreateExperiment", "GetDataset")
    places = {at_workspace if is_of_workspace else Place("default", things.experiment_id)}
    if rpc == "GetDataset":  # whoever reads the whole workspace
        places.add(rest_of("default"))
    needed = calling(OTHER, "tracking", rpc.split()[0]).permission
    assert set(judge.asked) == {(OTHER, needed, place) for place in places}


def test_a_parent_that_the_caller_may_not_see_is_not_found(another_room: Callable[..., Room]) -> None:
    judge = HeldJudge()
    room = another_room(judge=judge)
    experiment_id, other = room.an_experiment(), room.an_experiment()
    parent = room.a_run(other)
    judge.give("bob", "writer", at=Place("default", experiment_id))
    draft = RunDraft(experiment_id, parent_run_id=parent)

    with using("bob", "CreateRun"), pytest.raises(RunNotFound):
        room.run_creation.create(draft, ONCE)
    judge.give("bob", "runs.write", at=Place("default", other))
    with using("bob", "CreateRun"), pytest.raises(PermissionMissing, match=r"runs\.read"):
        room.run_creation.create(draft, ONCE)
    judge.give("bob", "runs.read", at=Place("default", other))
    with using("bob", "CreateRun"):
        assert room.run_creation.create(draft, ONCE).parent_run_id == parent


def test_the_place_of_a_run_that_another_process_created_is_its_experiment(
    another_room: Callable[..., Room], judge: HeldJudge
) -> None:
    writing, judging = another_room(), another_room(judge=judge)
    experiment_id = writing.an_experiment("risk")
    run_id = writing.a_run(experiment_id)

    judging.places.require_runs([run_id])
    judging.places.require_experiments([experiment_id])

    assert [place for _, _, place in judge.asked] == [Place("risk", experiment_id)] * 2


def test_a_batch_that_another_thread_commits_is_judged_as_its_own_caller(guarded: Room) -> None:
    run_id = guarded.a_run()

    def write(number: int) -> bool:
        with using(READER if number % 2 else OTHER, "WriteMetrics"):
            try:
                return guarded.metrics.write(a_batch(run_id, line("loss", [number]), writer=f"{number}", number=1)) == 1
            except PermissionMissing:
                return False

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(40)))

    assert written == [number % 2 == 0 for number in range(40)]
    assert [step for step, _, _ in guarded.points(run_id, "loss")] == list(range(0, 40, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda room: room.experiments.create("", new_id(), tags={}, request=ONCE),
        lambda room: room.experiments.get_by_name("", "x"),
        lambda room: room.experiments.search("", after=None, limit=1),
        lambda room: room.runs.search("", after=None, limit=1),
        lambda room: room.datasets.search("", after=None, limit=1),
    ],
)
def test_a_request_without_a_workspace_is_refused(room: Room, call: Callable[[Room], object]) -> None:
    with pytest.raises(FieldInvalid) as caught:
        call(room)

    assert caught.value.violations == {"workspace": "is required"}


def test_the_place_of_a_run_is_read_once(room: Room, another_room: Callable[..., Room]) -> None:
    other, run_id = another_room(), room.a_run()

    for number in range(1, 6):
        other.metrics.write(a_batch(run_id, line("loss", [number]), writer="w", number=number))
        other.runs.log_batch(a_batch(run_id, line("loss", [number])))

    assert other.db.reads == 1


def test_a_run_that_was_created_here_needs_no_reading_at_all(another_room: Callable[..., Room]) -> None:
    room = another_room()
    experiment_id = room.an_experiment()

    runs = [room.a_run(experiment_id) for _ in range(3)]
    for run_id in runs:
        room.metrics.write(a_batch(run_id, line("loss", [1]), writer="w", number=1))

    assert room.db.reads == 1  # the place of the experiment


def test_places_beyond_the_limit_are_read_again(room: Room) -> None:
    runs = [room.a_run() for _ in range(6)]
    places = Places(room.db, room.places._access, most_kept=2)

    for _ in range(2):
        places.require_runs(runs)
        for run_id in runs:
            places.require_runs([run_id])

    assert len(places._runs._places) == 2


def test_a_run_that_does_not_exist_yet_is_found_once_it_does(room: Room, another_room: Callable[..., Room]) -> None:
    other, run_id = another_room(), new_id()

    with pytest.raises(RunNotFound):
        other.runs.log_batch(a_batch(run_id, line("loss", [1])))
    room.run_creation.create(RunDraft("0", run_id=run_id), ONCE)
    other.runs.log_batch(a_batch(run_id, line("loss", [1])))

    assert len(room.points(run_id, "loss")) == 1


def test_what_a_stream_was_let_in_for_is_noted_also_where_the_place_is_kept(guarded: Room) -> None:
    experiment_id = guarded.an_experiment()
    run_id = guarded.a_run(experiment_id)
    who = replace(calling(READER, "tracking", "ReadMetrics"), judged=[])

    with caller.using(who):
        guarded.metrics.read(SeriesQuery([run_id], []))

    assert who.judged == [("runs.read", Place("default", experiment_id))]
