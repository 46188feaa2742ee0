"""Batches of many writers: grouped into few transactions, each there once, each refused alone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DeadlinePassed
from modelry_server.kernel.jobs import Job, JobLoop
from modelry_server.kernel.sql.sqlite import Sqlite
from modelry_server.tracking import instruments
from modelry_server.tracking.domain.run_creation import RunDraft
from modelry_server.tracking.entities import Batch
from modelry_server.tracking.errors import BatchGap, ParamConflict, RunDeleted, RunNotFound
from modelry_server.tracking.store import runs as run_store
from tests.parts.eventually import at_once, eventually, of
from tests.server.tracking.room import ONCE, Room, a_batch, line, points_of

NOBODY = "0" * 32


@contextmanager
def held_up(room: Room, writers: int) -> Iterator[None]:
    """Keeps the first of some writers waiting for the database until all of them have come."""
    gate, holding, waiting = threading.Event(), threading.Event(), room.ingest
    with ThreadPoolExecutor(1) as pool:

        def hold() -> None:
            with room.db.write():
                holding.set()
                gate.wait(20)

        if isinstance(room.db.backend, Sqlite):
            pool.submit(hold)
            assert holding.wait(20)
        yield
        eventually(lambda: len(waiting._waiting) >= writers - 1 or not isinstance(room.db.backend, Sqlite))
        gate.set()


def commits() -> tuple[float, float]:
    """How many groups there were, and how many batches were in them."""
    found = {sample.name: sample.value for each in instruments.group_batches.collect() for sample in each.samples}
    return found["modelry_tracking_group_batches_count"], found["modelry_tracking_group_batches_sum"]


@pytest.fixture
def patient(another_room: Callable[..., Room]) -> Room:
    """The room with a second's patience for batches that come too early."""
    return another_room(gap_wait_s=5)


def test_what_many_threads_send_at_once_is_written_in_few_transactions_and_all_there(room: Room) -> None:
    run_id, writers = room.a_run(), 32
    groups, batches = commits()

    with ThreadPoolExecutor(writers) as pool, held_up(room, writers):
        sent = [
            pool.submit(
                room.metrics.write, a_batch(run_id, line("loss", range(w * 10, w * 10 + 10)), writer=f"w{w}", number=1)
            )
            for w in range(writers)
        ]

    assert [each.result() for each in sent] == [1] * writers
    assert room.points(run_id, "loss") == points_of(line("loss", range(320)))
    assert commits()[1] - batches == writers
    assert commits()[0] - groups < writers


def test_one_thread_after_the_other_is_served_when_no_group_forms(room: Room) -> None:
    run_id = room.a_run()

    for number in range(1, 30):
        assert room.metrics.write(a_batch(run_id, line("loss", [number]), writer="w", number=number)) == number

    assert room.points(run_id, "loss") == points_of(line("loss", range(1, 30)))


def test_a_group_takes_no_more_points_than_it_may(another_room: Callable[..., Room]) -> None:
    room, writers = another_room(group_points=30), 12
    run_id = room.a_run()
    groups, _ = commits()

    with ThreadPoolExecutor(writers) as pool, held_up(room, writers):
        sent = [
            pool.submit(room.metrics.write, a_batch(run_id, line(f"k{w}", range(20)), writer=f"w{w}", number=1))
            for w in range(writers)
        ]

    assert [each.result() for each in sent] == [1] * writers
    assert commits()[0] - groups == writers


def test_a_batch_that_can_not_be_written_fails_alone(room: Room) -> None:
    good, deleted, conflicting = room.a_run(), room.a_run(), room.a_run()
    room.runs.delete(deleted)
    room.runs.log_batch(Batch(conflicting, params={"lr": "0.1"}))
    batches = [
        a_batch(good, line("loss", [1])),
        Batch(conflicting, [line("loss", [1])], params={"lr": "0.2"}, tags={"t": "1"}),
        a_batch(NOBODY, line("loss", [2])),
        a_batch(deleted, line("loss", [3])),
        a_batch(good, line("loss", [4]), writer="w", number=2),
        a_batch(good, line("loss", [5])),
    ]

    with ThreadPoolExecutor(len(batches)) as pool, held_up(room, len(batches)):
        sent = [pool.submit(room.ingest.write, batch) for batch in batches]

    failed = [type(each.exception()) for each in sent]
    assert failed == [type(None), ParamConflict, RunNotFound, RunDeleted, BatchGap, type(None)]
    assert room.points(good, "loss") == points_of(line("loss", [1, 5]))
    assert room.points(conflicting, "loss") == []
    assert room.runs.get(conflicting).tags == {}
    assert room.points(deleted, "loss") == []


def test_a_batch_that_spoils_the_transaction_of_its_group_fails_alone(room: Room) -> None:
    run_id = room.a_run()
    poison = Batch(run_id, tags={"t": object()})  # type: ignore[dict-item]
    batches = [a_batch(run_id, line("loss", [step])) for step in range(8)]

    with ThreadPoolExecutor(9) as pool, held_up(room, 9):
        spoilt = pool.submit(room.ingest.write, poison)
        sent = [pool.submit(room.ingest.write, batch) for batch in batches]

    assert spoilt.exception() is not None
    assert [each.exception() for each in sent] == [None] * 8
    assert room.points(run_id, "loss") == points_of(line("loss", range(8)))


@contextmanager
def at_its_jobs(room: Room) -> Iterator[None]:
    """A block in which the database of a room does its background jobs, as in a server."""
    jobs = JobLoop([Job(name, *job) for name, job in room.db.background_jobs().items()])
    jobs.start()
    try:
        yield
    finally:
        jobs.stop()


def tag(room: Room, run_id: str, key: str, wait_s: float | None) -> float:
    """Sets a tag for a caller who waits so long. Gives how long it took, until it was done or refused."""
    begun = time.monotonic()
    deadline = None if wait_s is None else begun + wait_s
    try:
        with caller.using(caller.Caller("ada", "0" * 32, deadline=deadline)):
            room.ingest.write(Batch(run_id, tags={key: "1"}))
    except DeadlinePassed:
        return -(time.monotonic() - begun)
    return time.monotonic() - begun


def in_turn(pool: ThreadPoolExecutor, room: Room, run_id: str, waits: Sequence[float | None]) -> list[Future[float]]:
    """Sets a tag for each caller, one after the other; the first one leads, and the others wait behind it."""
    sent = []
    for at, wait_s in enumerate(waits):
        sent.append(pool.submit(tag, room, run_id, f"t{at}", wait_s))
        eventually(lambda at=at: room.ingest._led and len(room.ingest._waiting) == at)  # type: ignore[misc]
    return sent


def test_each_batch_that_waits_behind_a_lock_ends_at_its_own_deadline(another_room: Callable[..., Room]) -> None:
    """The first one leads, alone; its successor leads two that outlive it."""
    room, other = another_room(), another_room()
    run_id, waits = room.a_run(), [0.8, 1.6, 1.2, None, 2.0, 0.5]
    with at_its_jobs(room), ThreadPoolExecutor(len(waits)) as pool, other.db.write() as tx:
        run_store.lock(tx, {run_id})
        sent = in_turn(pool, room, run_id, waits)
        hasty = [each for each, wait_s in zip(sent, waits, strict=True) if wait_s is not None]
        took = [each.result(10) for each in hasty]
        patient = next(each for each in sent if each not in hasty)
        assert not patient.done()
    assert patient.result(10) > 0

    late = [-took - wait_s for took, wait_s in zip(took, filter(None, waits), strict=True)]
    assert 0 <= min(late) <= max(late) < 0.4, late
    assert room.runs.get(run_id).tags == {"t3": "1"}


def test_a_group_that_a_deadline_has_ended_is_tried_again_without_newcomers(another_room: Callable[..., Room]) -> None:
    room, other = another_room(), another_room()
    run_id, (groups, batches) = room.a_run(), commits()
    with at_its_jobs(room), ThreadPoolExecutor(4) as pool:
        with other.db.write() as tx:
            run_store.lock(tx, {run_id})
            sent = in_turn(pool, room, run_id, [0.3, 0.8, None])
            assert sent[0].result(10) < 0  # then the other two are a group
            eventually(lambda: not room.ingest._waiting)
            sent.append(pool.submit(tag, room, run_id, "t3", None))
            assert sent[1].result(10) < 0
            eventually(lambda: len(room.ingest._waiting) == 1)
        assert [each.result(10) > 0 for each in sent[2:]] == [True, True]

    assert room.runs.get(run_id).tags == {"t2": "1", "t3": "1"}
    assert (commits()[0] - groups, commits()[1] - batches) == (3, 3)


def test_whatever_deadlines_end_each_batch_is_there_exactly_if_its_caller_was_told_so(
    another_room: Callable[..., Room],
) -> None:
    room, other = another_room(), another_room()
    run_id, callers, each, stop = room.a_run(), 12, 8, threading.Event()
    dice = random.Random(7)
    waits = [[dice.choice([None, dice.random() / 20, dice.random() / 2]) for _ in range(each)] for _ in range(callers)]

    def hold_up() -> None:
        while not stop.wait(0.05):
            with other.db.write() as tx:
                run_store.lock(tx, {run_id})
                stop.wait(0.4)

    def write(number: int) -> list[tuple[str, float | None, float]]:
        return [
            (f"{number}-{at}", wait_s, tag(room, run_id, f"{number}-{at}", wait_s))
            for at, wait_s in enumerate(waits[number])
        ]

    with at_its_jobs(room), ThreadPoolExecutor(callers + 1) as pool:
        holding = pool.submit(hold_up)
        told = [answer for sent in [pool.submit(write, n) for n in range(callers)] for answer in sent.result(60)]
        stop.set()
        holding.result(10)

    done = {key for key, _, took in told if took > 0}
    assert set(room.runs.get(run_id).tags) == done
    assert 0 < len(done) < len(told)
    assert max(abs(took) - wait_s for _, wait_s, took in told if wait_s is not None) < 0.3


def test_batches_that_come_in_any_order_wait_for_each_other(patient: Room) -> None:
    run_id = patient.a_run()

    with ThreadPoolExecutor(4) as pool:
        later = [
            pool.submit(patient.metrics.write, a_batch(run_id, line("loss", [n]), writer="w", number=n))
            for n in (4, 3, 2)
        ]
        eventually(lambda: patient.ingest._gaps)
        first = patient.metrics.write(a_batch(run_id, line("loss", [1]), writer="w", number=1))

    assert first >= 1
    assert [each.result() >= n for each, n in zip(later, (4, 3, 2), strict=True)] == [True] * 3
    assert patient.points(run_id, "loss") == points_of(line("loss", [1, 2, 3, 4]))


def test_a_batch_whose_predecessor_another_process_commits_goes_on(
    patient: Room, another_room: Callable[..., Room]
) -> None:
    run_id, other = patient.a_run(), another_room()

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(patient.metrics.write, a_batch(run_id, line("loss", [2]), writer="w", number=2))
        eventually(lambda: patient.ingest._gaps)
        other.metrics.write(a_batch(run_id, line("loss", [1]), writer="w", number=1))

    assert second.result() == 2


def test_a_gap_is_refused_with_the_number_that_is_durable_and_writes_nothing(room: Room) -> None:
    run_id = room.a_run()
    room.metrics.write(a_batch(run_id, line("loss", [1]), writer="w", number=1))

    with pytest.raises(BatchGap) as caught:
        room.metrics.write(a_batch(run_id, line("loss", [3]), writer="w", number=3))

    assert caught.value.metadata == {"batch_number": "3", "durable_batch_number": "1"}
    assert room.points(run_id, "loss") == points_of(line("loss", [1]))


def test_batches_that_wait_for_a_predecessor_leave_room_for_it(another_room: Callable[..., Room]) -> None:
    room = another_room(gap_wait_s=5)
    run_id, answering = room.a_run(), 16

    with ThreadPoolExecutor(answering) as pool:
        early = [
            pool.submit(room.metrics.write, a_batch(run_id, line("loss", [n]), writer="w", number=n))
            for n in range(2, answering + 2)
        ]
        first = pool.submit(room.metrics.write, a_batch(run_id, line("loss", [1]), writer="w", number=1))

        assert first.result(4) >= 1
        refused = [each.exception(30) for each in early]
    assert {type(each) for each in refused} <= {type(None), BatchGap}


def test_a_batch_that_comes_twice_is_answered_and_dropped(room: Room) -> None:
    run_id = room.a_run()
    batches = [a_batch(run_id, line("loss", [n]), writer="w", number=n) for n in (1, 2, 3)]
    for batch in batches:
        room.metrics.write(batch)

    again = [room.metrics.write(batch) for batch in batches]

    assert again == [3, 3, 3]
    assert room.stored_points(run_id, "loss") == 3


def test_a_batch_that_comes_to_two_processes_at_once_is_there_once(another_room: Callable[..., Room]) -> None:
    rooms = [another_room(), another_room()]
    runs = [rooms[0].a_run() for _ in range(15)]

    for run_id in runs:
        batch = a_batch(run_id, line("loss", range(50)), writer="w", number=1)
        answers = at_once([lambda room=room, batch=batch: room.metrics.write(batch) for room in rooms])  # type: ignore[misc]
        assert answers == [1, 1]

    assert [rooms[0].stored_points(run_id, "loss") for run_id in runs] == [50] * len(runs)


def test_writers_of_one_run_number_their_batches_each_for_itself(room: Room) -> None:
    runs = [room.a_run(), room.a_run()]

    for run_id in runs:
        for writer in ("a", "b"):
            assert room.metrics.write(a_batch(run_id, line(writer, [1]), writer=writer, number=1)) == 1


def test_a_param_that_two_processes_log_with_two_values_gets_one(another_room: Callable[..., Room]) -> None:
    rooms, keys = [another_room(), another_room()], [f"p{n}" for n in range(12)]
    run_id = rooms[0].a_run()

    acknowledged: dict[str, set[str]] = {key: set() for key in keys}
    for key in keys:
        answers = at_once(
            [
                lambda key=key, value=value: rooms[value % 2].runs.log_batch(Batch(run_id, params={key: str(value)}))  # type: ignore[misc]
                for value in range(4)
            ]
        )
        assert len(of(ParamConflict, answers)) == 3
        acknowledged[key] = {str(value) for value, answer in enumerate(answers) if answer is None}

    stored = rooms[0].runs.get(run_id).params
    assert {key: {value} for key, value in stored.items()} == acknowledged


def test_many_params_in_opposite_order_from_two_processes_block_nobody(another_room: Callable[..., Room]) -> None:
    rooms = [another_room(), another_room()]
    runs = [rooms[0].a_run(), rooms[0].a_run()]

    def write(room: Room, order: list[str], value: int) -> None:
        for number in range(20):
            for run_id in order:
                room.runs.log_batch(
                    Batch(run_id, [line("loss", [number])], {f"p{number}": "same"}, {"last": str(value)})
                )

    answers = at_once([lambda: write(rooms[0], runs, 0), lambda: write(rooms[1], runs[::-1], 1)])

    assert answers == [None, None]
    assert [len(rooms[0].runs.get(run_id).params) for run_id in runs] == [20, 20]


def test_the_first_points_of_a_new_run_are_there_or_the_run_is_not(room: Room) -> None:
    with pytest.raises(Exception, match="no experiment"):
        room.run_creation.create(RunDraft("999999", run_id="a" * 32, metrics=[line("loss", [1])]), ONCE)

    with pytest.raises(RunNotFound):
        room.runs.get("a" * 32)
    assert room.leftovers("a" * 32) == 0
