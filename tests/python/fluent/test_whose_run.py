"""Whose run it is: threads, pools of threads, tasks of asyncio, the environment, cells of a notebook."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import modelry
from modelry import ActiveRun
from modelry.errors import FailedPrecondition

_PATIENCE_S = 20


@pytest.fixture(autouse=True)
def experiment_id(fluent: None, unique: str) -> str:
    found = modelry.set_experiment(unique)
    assert found is not None
    return found.experiment_id


def parent_of(run: ActiveRun) -> str:
    return modelry.get_run(run.id).parent_run_id


def in_thread(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(_PATIENCE_S)


def test_nested_runs_of_a_pool_are_children_of_the_run_that_is_on_outside() -> None:
    both_are_on = threading.Barrier(2)

    def fold(_: int) -> ActiveRun:
        with modelry.start_run(nested=True) as run:
            both_are_on.wait(_PATIENCE_S)
            with modelry.start_run(nested=True) as deeper:
                both_are_on.wait(_PATIENCE_S)
            assert modelry.get_run(deeper.id).parent_run_id == run.id
            return run

    with modelry.start_run(), modelry.start_run(nested=True) as inner, ThreadPoolExecutor(2) as pool:
        folds = list(pool.map(fold, range(2)))

    assert [parent_of(run) for run in folds] == [inner.id, inner.id]


def test_a_helper_logs_to_the_run_that_all_open_runs_are_nested_in() -> None:
    folds_are_on, measured = threading.Barrier(3), threading.Event()

    def fold(_: int) -> None:
        with modelry.start_run(nested=True):
            folds_are_on.wait(_PATIENCE_S)
            measured.wait(_PATIENCE_S)

    with modelry.start_run() as parent, ThreadPoolExecutor(2) as pool:
        folds = pool.map(fold, range(2))

        def helper() -> None:
            folds_are_on.wait(_PATIENCE_S)
            modelry.log_metric("gpu", 1.0)
            modelry.log_text("busy", "gpu.txt")
            measured.set()

        in_thread(helper)
        list(folds)

    assert modelry.get_run(parent.id).metrics == {"gpu": 1.0}
    assert len(modelry.search_runs(output_format="list")) == 3


def test_what_could_belong_to_several_runs_is_refused_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[ActiveRun | None] = []

    def stranger() -> None:
        with modelry.start_run():
            in_thread(helper)

    def helper() -> None:
        seen.append(modelry.active_run())
        for step in range(3):
            modelry.log_metric("gpu", 1.0, step=step)
        modelry.log_param("a", 1)
        modelry.set_tag("b", 1)

    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        in_thread(stranger)

    assert seen == [None]
    assert len([text for text in caplog.messages if run.id in text and "pass run_id" in text]) == 1
    assert len(modelry.search_runs(output_format="list")) == 2


def test_a_context_that_is_carried_into_a_pool_says_exactly_which_run_it_is() -> None:
    nested: list[ActiveRun] = []

    def fold() -> None:
        with modelry.start_run(nested=True) as run:
            nested.append(run)

    def stranger() -> None:
        with modelry.start_run() as own, ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, fold).result(_PATIENCE_S)
            nested.append(own)

    with modelry.start_run():
        in_thread(stranger)

    assert parent_of(nested[0]) == nested[1].id


def test_each_task_has_a_run_of_its_own() -> None:
    async def job(name: str, mine: asyncio.Event, others: asyncio.Event) -> tuple[str, ActiveRun]:
        with modelry.start_run(run_name=name, nested=True) as run:
            mine.set()
            await others.wait()
            modelry.log_metric(name, 1.0)
            await asyncio.to_thread(modelry.log_metric, f"{name}-thread", 1.0)
        return name, run

    async def main() -> tuple[tuple[str, ActiveRun], ...]:
        first, second = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(job("a", first, second), job("b", second, first))

    found = asyncio.run(main())

    for name, run in found:
        assert modelry.get_run(run.id).metrics == {name: 1.0, f"{name}-thread": 1.0}
        assert parent_of(run) == ""


def test_a_task_works_on_the_run_in_which_it_was_created() -> None:
    async def job(number: int) -> ActiveRun:
        modelry.log_metric(f"before{number}", 1.0)
        with modelry.start_run(nested=True) as run:
            await asyncio.sleep(0)
            modelry.log_metric("inside", number)
        modelry.log_metric(f"after{number}", 1.0)
        return run

    async def main() -> tuple[ActiveRun, tuple[ActiveRun, ...]]:
        with modelry.start_run() as parent:
            return parent, await asyncio.gather(job(1), job(2))

    parent, jobs = asyncio.run(main())

    assert set(modelry.get_run(parent.id).metrics) == {"before1", "before2", "after1", "after2"}
    assert [modelry.get_run(run.id).metrics for run in jobs] == [{"inside": 1.0}, {"inside": 2.0}]
    assert [parent_of(run) for run in jobs] == [parent.id, parent.id]


def test_a_task_logs_nothing_to_the_run_of_a_task_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> ActiveRun:
        is_on, is_done = asyncio.Event(), asyncio.Event()

        async def beside() -> None:
            await is_on.wait()
            modelry.log_metric("stray", 1.0)
            is_done.set()

        async def owner() -> ActiveRun:
            with modelry.start_run() as run:
                is_on.set()
                await is_done.wait()
            return run

        _, run = await asyncio.gather(beside(), owner())
        return run

    with caplog.at_level(logging.WARNING, "modelry"):
        run = asyncio.run(main())

    assert modelry.get_run(run.id).metrics == {}
    assert len(modelry.search_runs(output_format="list")) == 1
    assert [text for text in caplog.messages if "pass run_id" in text]


def test_tasks_that_start_no_run_log_to_one_together() -> None:
    async def job(name: str) -> None:
        modelry.log_metric(name, 1.0)
        await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(job("a"), job("b"))

    asyncio.run(main())
    modelry.end_run()

    (found,) = modelry.search_runs(output_format="list")
    assert (found.metrics, found.status) == ({"a": 1.0, "b": 1.0}, "FINISHED")


def test_a_run_goes_on_in_the_next_cell_of_a_notebook_whose_contexts_are_new() -> None:
    async def cell(work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().create_task(asyncio.sleep(0))
        work()

    async def kernel() -> None:
        for work in (
            lambda: modelry.start_run(run_name="cells"),
            lambda: modelry.log_metric("a", 1.0),
            lambda: modelry.end_run(),
        ):
            await asyncio.get_running_loop().create_task(cell(work), context=contextvars.Context())

    asyncio.run(kernel())

    (found,) = modelry.search_runs(output_format="list")
    assert (found.name, found.metrics, found.status) == ("cells", {"a": 1.0}, "FINISHED")


def test_a_run_that_another_thread_ends_is_active_nowhere() -> None:
    with modelry.start_run() as outer:
        inner = modelry.start_run(nested=True)
        in_thread(inner.end)
        assert modelry.active_run() is outer
        modelry.log_metric("a", 1.0)

    assert modelry.get_run(outer.id).metrics == {"a": 1.0}


def test_the_environment_never_takes_the_place_of_a_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    with modelry.start_run(run_name="parent") as parent:
        monkeypatch.setenv("MODELRY_RUN_ID", parent.id)
        with modelry.start_run(run_name="nested", nested=True) as nested:
            pass
        in_thread(lambda: modelry.start_run(run_name="named", parent_run_id=parent.id).end())
    with modelry.start_run(run_name="later") as later:
        pass

    named = modelry.search_runs(filter_string="name = 'named'", output_format="list")[0]
    assert modelry.get_run(parent.id).name == "parent"
    assert (parent_of(nested), named.parent_run_id) == (parent.id, parent.id)
    assert later.id != parent.id
    assert os.environ["MODELRY_RUN_ID"] == parent.id


def test_a_process_continues_the_run_of_its_environment_once(
    client: modelry.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = client.runs.create(name="given").run_id
    monkeypatch.setenv("MODELRY_RUN_ID", given)
    with modelry.start_run(nested=True) as child:
        pass
    with modelry.start_run() as first:
        pass
    with modelry.start_run() as second:
        pass

    assert parent_of(child) == given
    assert first.id == given
    assert second.id != given


def test_a_task_is_refused_a_second_run_beside_the_one_it_has() -> None:
    async def main() -> None:
        with modelry.start_run(), pytest.raises(FailedPrecondition, match="nested=True"):
            await asyncio.get_running_loop().create_task(job())

    async def job() -> None:
        modelry.start_run()

    asyncio.run(main())
