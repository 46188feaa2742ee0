"""Who has a role at a part of a workspace finds that part, and no trace of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place, WorkspaceNotFound
from modelry_server.kernel.authority import Grants
from modelry_server.kernel.errors import ModelryError, PermissionMissing
from modelry_server.kernel.ids import new_id
from modelry_server.tracking.domain.run_creation import RunDraft
from modelry_server.tracking.entities import Batch, Dataset, DatasetInput, LifecycleFilter
from modelry_server.tracking.errors import (
    DatasetNotFound,
    ExperimentNameNotFound,
    ExperimentNotFound,
)
from tests.parts.judge import HeldJudge, calling
from tests.server.tracking.room import ONCE, Room, line, to

LOSS = line("loss", [1])


@dataclass
class Part:
    """An experiment with two runs that used a dataset."""

    experiment_id: str
    name: str
    run_ids: list[str]
    dataset_id: str


@dataclass
class World:
    """A workspace with three experiments, and another workspace with one."""

    room: Room
    judge: HeldJudge
    workspace: str
    mine: Part
    hidden: Part
    other: Part
    elsewhere: Part


def a_part(room: Room, workspace: str) -> Part:
    experiment_id = room.an_experiment(workspace)
    run_ids = [room.a_run(experiment_id) for _ in range(2)]
    for run_id in run_ids:
        room.runs.log_batch(Batch(run_id, [LOSS], {"lr": "1"}, {"team": "risk"}))
    data = DatasetInput(Dataset("", "", f"data {new_id()}", "digest"))
    (dataset,) = room.datasets.log(run_ids[0], [data])
    return Part(experiment_id, room.experiments.get(experiment_id).name, run_ids, dataset.dataset_id)


@pytest.fixture
def world(another_room: Callable[..., Room]) -> World:
    """The things that callers look for, of whom nobody has a role yet."""
    judge = HeldJudge()
    room = another_room(judge=judge)
    parts = (a_part(room, workspace) for workspace in (*["default"] * 3, "elsewhere"))
    return World(room, judge, "default", *parts)


def using(rpc: str, who: str = "bob") -> caller.using:
    return caller.using(calling(who, "tracking", rpc))


def runs(world: World, workspace: str = "", **options: object) -> set[str]:
    """The runs that Bob finds."""
    with using("SearchRuns"):
        found = world.room.runs.search(workspace or world.workspace, after=None, limit=100, **options)  # type: ignore[arg-type]
        return {each.item.run_id for each in found}


def experiments(world: World, **options: object) -> set[str]:
    """The experiments that Bob finds."""
    with using("SearchExperiments"):
        found = world.room.experiments.search(world.workspace, after=None, limit=100, **options)  # type: ignore[arg-type]
        return {each.item.experiment_id for each in found}


def datasets(world: World) -> set[str]:
    """The datasets that Bob finds."""
    with using("SearchDatasets"):
        found = world.room.datasets.search(world.workspace, after=None, limit=100)
        return {each.item.dataset_id for each in found}


def raised(call: Callable[[], object]) -> ModelryError:
    with pytest.raises(ModelryError) as caught:
        call()
    return caught.value


def alike(one: ModelryError, other: ModelryError, *names: str) -> bool:
    """Whether two errors say the same, but for the names of what they are about."""

    def told(error: ModelryError) -> str:
        text = f"{type(error)} {error.reason} {error.message} {error.metadata}"
        for name in names:
            text = text.replace(repr(name), "?").replace(name, "?")
        return text

    return told(one) == told(other)


@pytest.mark.parametrize("orders", [[], ["metrics.loss DESC"], ["metrics.none"], ["params.lr"]])
@pytest.mark.parametrize("filter", ["", "metrics.loss = 1", "params.lr = '1' AND tags.team = 'risk'"])
def test_a03_runs_of_other_experiments_are_not_found(world: World, orders: list[str], filter: str) -> None:
    world.judge.give("bob", "reader", at=Place(world.workspace, world.mine.experiment_id))

    assert runs(world, order_by=orders, filter=filter) == {*world.mine.run_ids}
    world.judge.give("bob", "reader", at=Place(world.workspace, world.other.experiment_id))
    assert runs(world, order_by=orders, filter=filter) == {*world.mine.run_ids, *world.other.run_ids}
    world.judge.give("bob", "reader", at=Place(world.workspace))
    all_three = [part.experiment_id for part in (world.mine, world.hidden, world.other)]
    assert len(runs(world, experiment_ids=all_three, order_by=orders, filter=filter)) == 6


def test_deleted_runs_and_experiments_are_found_in_the_part_only(world: World) -> None:
    world.judge.give("bob", "reader", at=Place(world.workspace, world.mine.experiment_id))
    world.judge.give("bob", "reader", at=Place(world.workspace, world.other.experiment_id))
    for part in (world.mine, world.hidden):
        world.room.runs.delete(part.run_ids[0])
    for part in (world.hidden, world.other):
        world.room.experiments.delete(part.experiment_id)

    assert runs(world) == {world.mine.run_ids[1]}
    assert runs(world, lifecycle=LifecycleFilter.DELETED) == {world.mine.run_ids[0], *world.other.run_ids}
    assert runs(world, lifecycle=LifecycleFilter.ANY) == {*world.mine.run_ids, *world.other.run_ids}
    assert experiments(world) == {world.mine.experiment_id}
    assert experiments(world, lifecycle=LifecycleFilter.DELETED) == {world.other.experiment_id}


def test_a10_pages_have_the_part_only_and_are_judged_anew(world: World) -> None:
    world.judge.give("bob", "reader", at=Place(world.workspace, world.mine.experiment_id))
    with using("SearchRuns"):
        (first,) = world.room.runs.search(world.workspace, after=None, limit=1)
        (second,) = world.room.runs.search(world.workspace, after=first.key, limit=10)
    assert {first.item.run_id, second.item.run_id} == {*world.mine.run_ids}

    world.judge.take_all("bob")
    world.judge.give("bob", "reader", at=Place(world.workspace, world.hidden.experiment_id))

    with using("SearchRuns"):
        after = [each.item.run_id for each in world.room.runs.search(world.workspace, after=first.key, limit=10)]
    assert {*after} <= {*world.hidden.run_ids}


def test_an_experiment_of_others_is_named_in_vain(world: World) -> None:
    world.judge.give("bob", "reader", at=Place(world.workspace, world.mine.experiment_id))
    hidden, absent = world.hidden.experiment_id, "987654321"

    def named(experiment_id: str) -> ModelryError:
        return raised(lambda: runs(world, experiment_ids=[world.mine.experiment_id, experiment_id]))

    assert isinstance(named(hidden), ExperimentNotFound)
    assert alike(named(hidden), named(absent), hidden, absent)
    assert alike(named(world.elsewhere.experiment_id), named(absent), world.elsewhere.experiment_id, absent)
    assert runs(world, experiment_ids=[world.mine.experiment_id]) == {*world.mine.run_ids}
    world.judge.give("bob", "runs.write", at=Place(world.workspace, hidden))
    assert isinstance(named(hidden), PermissionMissing)


def test_a_role_at_an_experiment_of_another_workspace_shows_nothing_of_it(world: World) -> None:
    world.judge.give("bob", "admin", at=Place(world.workspace, world.elsewhere.experiment_id))

    assert runs(world) == set()
    assert experiments(world) == set()
    assert datasets(world) == set()
    with using("GetExperiment"), pytest.raises(ExperimentNotFound):
        world.room.experiments.get(world.elsewhere.experiment_id)
    with using("GetDataset"), pytest.raises(DatasetNotFound):
        world.room.datasets.get(world.elsewhere.dataset_id)
    assert isinstance(raised(lambda: runs(world, "elsewhere")), WorkspaceNotFound)


def test_whoever_has_a_role_at_a_model_only_finds_nothing_here(world: World) -> None:
    world.judge.give("bob", "admin", at=Place(world.workspace, model_id=new_id()))

    assert (runs(world), experiments(world), datasets(world)) == (set(), set(), set())


def test_who_has_no_role_hears_that_there_is_no_workspace_and_a_wrong_role_says_so(world: World) -> None:
    for search in (runs, experiments, datasets):
        assert isinstance(raised(partial(search, world)), WorkspaceNotFound)
    world.judge.give("bob", "models.read", at=Place(world.workspace))
    for search in (runs, experiments, datasets):
        assert isinstance(raised(partial(search, world)), PermissionMissing)


def test_datasets_are_those_that_runs_of_the_part_used(world: World) -> None:
    world.judge.give("bob", "reader", at=Place(world.workspace, world.mine.experiment_id))
    shared = DatasetInput(Dataset("", "", f"data {new_id()}", "digest"))
    for part in (world.hidden, world.mine):
        (dataset,) = world.room.datasets.log(part.run_ids[1], [shared])

    assert datasets(world) == {world.mine.dataset_id, dataset.dataset_id}
    with using("GetDataset"):
        assert world.room.datasets.get(dataset.dataset_id) == world.room.datasets.get(dataset.dataset_id)
        hidden, absent = world.hidden.dataset_id, new_id()
        errors = [raised(partial(world.room.datasets.get, each)) for each in (hidden, absent)]
    assert alike(errors[0], errors[1], hidden, absent)
    assert isinstance(errors[0], DatasetNotFound)


def test_an_experiment_that_is_not_seen_is_not_found_by_name(world: World) -> None:
    def named(name: str) -> ModelryError:
        with using("GetExperimentByName"):
            return raised(lambda: world.room.experiments.get_by_name(world.workspace, name))

    hidden, absent = world.hidden.name, f"experiment {new_id()}"
    assert isinstance(named(hidden), WorkspaceNotFound)
    assert alike(named(hidden), named(absent), hidden, absent)

    world.judge.give("bob", "reader", at=Place(world.workspace, world.mine.experiment_id))

    assert isinstance(named(hidden), ExperimentNameNotFound)
    assert alike(named(hidden), named(absent), hidden, absent)
    with using("GetExperimentByName"):
        found = world.room.experiments.get_by_name(world.workspace, world.mine.name)
    assert found.experiment_id == world.mine.experiment_id


def test_a09_names_that_are_taken_are_no_way_to_find_out(world: World) -> None:
    world.judge.give("bob", "writer", at=Place(world.workspace, world.mine.experiment_id))
    for name in (world.hidden.name, f"experiment {new_id()}"):
        with using("CreateExperiment"), pytest.raises(PermissionMissing):
            world.room.experiments.create(world.workspace, name, tags={}, request=ONCE)
        with using("UpdateExperiment"), pytest.raises(PermissionMissing):
            world.room.experiments.update(world.mine.experiment_id, "", to(name=name))

    with using("UpdateExperiment"):
        changed = world.room.experiments.update(world.mine.experiment_id, "", to(description="Words."))
    assert (changed.name, changed.description) == (world.mine.name, "Words.")


def test_more_experiments_than_a_statement_takes_placeholders(world: World) -> None:
    many = {(world.workspace, str(10_000_000 + number)): frozenset({"runs.read"}) for number in range(40_000)}
    mine = {(world.workspace, world.mine.experiment_id): frozenset({"runs.read"})}
    world.judge.hold("bob", Grants(experiments={**many, **mine}))

    assert runs(world, order_by=["metrics.loss"]) == {*world.mine.run_ids}
    assert experiments(world) == {world.mine.experiment_id}
    assert datasets(world) == {world.mine.dataset_id}


def test_a_run_is_created_where_the_caller_may_and_nowhere_else(world: World) -> None:
    world.judge.give("bob", "writer", at=Place(world.workspace, world.mine.experiment_id))

    with using("CreateRun"):
        made = world.room.run_creation.create(RunDraft(world.mine.experiment_id), ONCE)
        with pytest.raises(ExperimentNotFound):
            world.room.run_creation.create(RunDraft(world.hidden.experiment_id), ONCE)

    assert made.run_id in runs(world)
