"""Datasets: name and digest make one, however often it is logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.filter import FilterSyntax
from modelry_server.kernel.ids import new_id
from modelry_server.tracking.entities import Dataset, DatasetInput
from modelry_server.tracking.errors import DatasetNotFound, RunDeleted, RunNotFound
from tests.parts.eventually import at_once
from tests.server.tracking.room import Room


def an_input(name: str = "", digest: str = "d1", *, context: str = "training", **fields: Any) -> DatasetInput:
    return DatasetInput(Dataset("", "", name or f"data {new_id()}", digest, **fields), context)


def test_a_dataset_is_found_by_its_run_and_by_its_id(room: Room) -> None:
    run_id = room.a_run()
    used = an_input(source_type="s3", source="s3://bucket/x", schema='{"a": 1}', profile='{"rows": 2}')

    [logged] = room.datasets.log(run_id, [used])

    assert room.datasets.get(logged.dataset_id) == logged
    assert (logged.name, logged.schema, logged.profile) == (used.dataset.name, '{"a": 1}', '{"rows": 2}')
    assert (logged.workspace, logged.create_time) == ("default", room.clock.now())
    [found] = room.runs.get(run_id).datasets
    assert (found.dataset.dataset_id, found.dataset.source, found.context) == (
        logged.dataset_id,
        "s3://bucket/x",
        "training",
    )


def test_the_same_name_and_digest_is_the_same_dataset_in_every_run(room: Room) -> None:
    runs, used = [room.a_run(), room.a_run()], an_input(source="first")
    other = an_input(used.dataset.name, source="second", context="test")

    logged = [room.datasets.log(run_id, [each])[0] for run_id in runs for each in (used, other, used)]

    assert len({each.dataset_id for each in logged}) == 1
    assert {each.source for each in logged} == {"first"}
    assert [each.context for each in room.runs.get(runs[0]).datasets] == ["test", "training"]


def test_another_digest_is_another_dataset(room: Room) -> None:
    used = an_input(digest="d1")

    logged = room.datasets.log(room.a_run(), [used, an_input(used.dataset.name, "d2")])

    assert logged[0].dataset_id != logged[1].dataset_id


def test_many_processes_that_log_the_same_dataset_make_one(another_room: Callable[..., Room]) -> None:
    rooms, used = [another_room(), another_room()], an_input()
    runs = [rooms[0].a_run() for _ in range(8)]

    answers = at_once(
        [
            lambda n=n, run_id=run_id: rooms[n % 2].datasets.log(run_id, [used])[0].dataset_id  # type: ignore[misc]
            for n, run_id in enumerate(runs)
        ]
    )

    assert len(set(answers)) == 1


def test_a_mistake_in_one_writes_none_and_every_mistake_is_named(room: Room) -> None:
    run_id, good = room.a_run(), an_input()
    bad = DatasetInput(Dataset("", "", "", "", "t" * 251, "s" * 100_001, "s" * 1_000_001, "p" * 1_000_001), "c" * 251)

    with pytest.raises(FieldInvalid) as caught:
        room.datasets.log(run_id, [good, bad])

    paths = {f"inputs[1].dataset.{name}" for name in ("name", "digest", "source_type", "source", "schema", "profile")}
    assert set(caught.value.violations) == {*paths, "inputs[1].context"}
    assert room.runs.get(run_id).datasets == []
    found = room.datasets.search("default", filter=f"name = '{good.dataset.name}'", after=None, limit=10)
    assert list(found) == []


def test_a_run_that_is_not_there_or_deleted_uses_nothing(room: Room) -> None:
    deleted = room.a_run()
    room.runs.delete(deleted)

    with pytest.raises(RunNotFound):
        room.datasets.log("0" * 32, [an_input()])
    with pytest.raises(RunDeleted):
        room.datasets.log(deleted, [an_input()])
    with pytest.raises(DatasetNotFound):
        room.datasets.get("0" * 32)


@pytest.mark.parametrize("count", [0, 101])
def test_the_number_of_inputs_has_a_limit(room: Room, count: int) -> None:
    with pytest.raises(FieldInvalid) as caught:
        room.datasets.log(room.a_run(), [an_input() for _ in range(count)])

    assert "100" in caught.value.violations["inputs"]


def test_datasets_are_found_the_newest_first_page_by_page(room: Room) -> None:
    prefix = new_id()
    run_id = room.a_run()
    logged = [room.datasets.log(run_id, [an_input(f"{prefix} {n}", source_type="local")])[0] for n in range(7)]

    found: list[str] = []
    after = None
    filter = f"name LIKE '{prefix}%' AND source_type = 'local'"
    while page := list(room.datasets.search("default", filter=filter, after=after, limit=3)):
        found += [each.item.dataset_id for each in page]
        after = page[-1].key

    assert found == [each.dataset_id for each in reversed(logged)]


def test_what_a_dataset_does_not_have_can_not_be_asked_for(room: Room) -> None:
    with pytest.raises(FilterSyntax, match="digest"):
        list(room.datasets.search("default", filter="colour = 'red'", after=None, limit=10))
