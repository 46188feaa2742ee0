"""When a run is lost, and when it is running again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place
from modelry_server.kernel.authority import FRESH_S, Authority
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.ids import new_id
from modelry_server.tracking.entities import RunStatus
from modelry_server.tracking.store import heartbeats as store
from tests.parts.judge import GivenGrants, HeldJudge, calling
from tests.server.tracking.room import Room, to

PERIOD = 30_000
DAY = 24 * 3_600_000
RUNNING, FINISHED, FAILED, LOST = RunStatus.RUNNING, RunStatus.FINISHED, RunStatus.FAILED, RunStatus.LOST


@pytest.fixture
def at_work(another_room: Callable[..., Room]) -> Room:
    """A room that has watched for heartbeats for long enough to miss them."""
    room = another_room()
    room.heartbeats.find_lost()
    pass_time(room, 10 * PERIOD)
    return room


def pass_time(room: Room, milliseconds: int) -> None:
    """Lets time pass in which the room looks for lost runs, as its job does."""
    for _ in range(0, milliseconds, 5000):
        room.clock.advance(5000)
        room.heartbeats.find_lost()


def a_run_with_a_heartbeat(room: Room, period: int = PERIOD) -> str:
    run_id = room.a_run()
    room.heartbeats.log([run_id], period)
    return run_id


def a_server_that_starts(another_room: Callable[..., Room], now: int) -> Room:
    started = another_room()
    started.clock.advance(now - started.clock.now())
    started.heartbeats = type(started.heartbeats)(
        started.db, started.places, started.allowed, metrics=started.metrics, clock=started.clock, pause_s=60.0
    )
    return started


def status(room: Room, run_id: str) -> RunStatus:
    return room.runs.get(run_id).status


def test_a_run_is_lost_after_two_periods_without_a_heartbeat_and_ended_at_the_last_one(at_work: Room) -> None:
    last = at_work.clock.now()
    run_id = a_run_with_a_heartbeat(at_work)

    pass_time(at_work, 2 * PERIOD)
    in_time = status(at_work, run_id)
    pass_time(at_work, 5000)

    run = at_work.runs.get(run_id)
    assert (in_time, run.status, run.end_time) == (RUNNING, LOST, last)


def test_a_run_with_heartbeats_or_without_any_is_never_lost(at_work: Room) -> None:
    silent, alive = at_work.a_run(), a_run_with_a_heartbeat(at_work)

    for _ in range(20):
        pass_time(at_work, PERIOD)
        at_work.heartbeats.log([alive], PERIOD)

    assert status(at_work, silent) is status(at_work, alive) is RUNNING


def test_the_next_heartbeat_of_a_lost_run_makes_it_running_again(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    before = at_work.runs.get(run_id)
    pass_time(at_work, 3 * PERIOD)
    lost = at_work.runs.get(run_id)

    noted = at_work.heartbeats.log([run_id], PERIOD)
    again = at_work.runs.get(run_id)
    pass_time(at_work, 3 * PERIOD)

    assert (noted.unknown, noted.not_running, noted.deleted) == ([], [], [])
    assert (lost.status, again.status, again.end_time) == (LOST, RUNNING, None)
    assert len({before.etag, lost.etag, again.etag}) == 3
    assert status(at_work, run_id) is LOST


@pytest.mark.parametrize("end", [FINISHED, FAILED, RunStatus.KILLED])
def test_a_lost_run_takes_the_end_that_comes_after_all(at_work: Room, end: RunStatus) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    pass_time(at_work, 3 * PERIOD)

    ended = at_work.runs.finish(run_id, end, 7)
    noted = at_work.heartbeats.log([run_id], PERIOD)

    assert (ended.status, ended.end_time, noted.not_running) == (end, 7, [run_id])
    assert at_work.runs.finish(run_id, end, None).end_time == 7
    assert status(at_work, run_id) is end


def test_a_run_that_has_ended_stays_as_it_ended(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    at_work.runs.finish(run_id, FINISHED, None)

    pass_time(at_work, 3 * PERIOD)

    assert status(at_work, run_id) is FINISHED


def test_who_continues_an_ended_run_without_heartbeats_does_not_lose_it_by_those_of_before(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    at_work.runs.finish(run_id, FINISHED, None)
    at_work.runs.update(run_id, "", to(status=RUNNING))

    pass_time(at_work, 3 * PERIOD)

    assert status(at_work, run_id) is RUNNING


def test_a_run_of_several_processes_is_lost_when_all_of_them_are_silent(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    at_work.heartbeats.log([run_id], 4 * PERIOD)  # of another process
    at_work.heartbeats.log([run_id], PERIOD)

    pass_time(at_work, 8 * PERIOD)
    while_one_may_speak = status(at_work, run_id)
    pass_time(at_work, 5000)

    assert (while_one_may_speak, status(at_work, run_id)) == (RUNNING, LOST)


def test_a_rank_that_ends_leaves_a_lost_run_lost_until_the_others_end(at_work: Room) -> None:
    run_id = at_work.a_run()
    for rank in ("0", "1"):
        at_work.runs.update(run_id, "", to(status=RUNNING), participant=rank)
    at_work.heartbeats.log([run_id], PERIOD)
    pass_time(at_work, 3 * PERIOD)

    one = at_work.runs.finish(run_id, FINISHED, None, "0")
    both = at_work.runs.finish(run_id, FAILED, None, "1")

    assert (one.status, both.status) == (LOST, FAILED)


def test_a_deleted_run_is_left_alone(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    at_work.runs.delete(run_id)
    pass_time(at_work, 3 * PERIOD)

    noted = at_work.heartbeats.log([run_id], PERIOD)
    pass_time(at_work, 3 * PERIOD)

    assert (noted.deleted, status(at_work, run_id)) == ([run_id], RUNNING)


def test_a_server_that_has_started_gives_each_run_its_whole_time_again(
    at_work: Room, another_room: Callable[..., Room]
) -> None:
    short, long = a_run_with_a_heartbeat(at_work), a_run_with_a_heartbeat(at_work, 10 * PERIOD)
    started = a_server_that_starts(another_room, at_work.clock.now() + 100 * PERIOD)

    pass_time(started, 2 * PERIOD)
    at_first = status(started, short)
    pass_time(started, 5000)

    assert (at_first, status(started, short), status(started, long)) == (RUNNING, LOST, RUNNING)


def test_a_pause_of_the_server_gives_each_run_its_whole_time_again(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)

    at_work.clock.advance(3_600_000)
    at_work.heartbeats.find_lost()
    pass_time(at_work, 2 * PERIOD)
    at_first = status(at_work, run_id)
    pass_time(at_work, 5000)

    assert (at_first, status(at_work, run_id)) == (RUNNING, LOST)


def test_a_search_that_takes_long_gives_each_run_its_whole_time_again(
    at_work: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    pass_time(at_work, 10_000)
    lose = store.lose

    def slowly(*given: Any) -> Any:
        at_work.clock.advance(58_000)
        return lose(*given)

    with monkeypatch.context() as patched:
        patched.setattr(store, "lose", slowly)
        at_work.heartbeats.find_lost()
    pass_time(at_work, 5000 + 2 * PERIOD)
    at_first = status(at_work, run_id)
    pass_time(at_work, 5000)

    assert (at_first, status(at_work, run_id)) == (RUNNING, LOST)


@pytest.mark.parametrize("speaks_while_wrong", [True, False])
@pytest.mark.parametrize("speaks_after_it", [True, False])
@pytest.mark.parametrize("there", [0, DAY])
def test_a_run_is_lost_in_time_after_the_clock_was_set_back(
    at_work: Room, there: int, speaks_after_it: bool, speaks_while_wrong: bool
) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    at_work.clock.advance(there)
    at_work.heartbeats.find_lost()
    if speaks_while_wrong:
        at_work.heartbeats.log([run_id], PERIOD)
    at_work.clock.advance(-DAY)
    if speaks_after_it:
        at_work.heartbeats.log([run_id], PERIOD)

    pass_time(at_work, 5000 + 2 * PERIOD)
    at_first = status(at_work, run_id)
    pass_time(at_work, 5000)

    assert (at_first, status(at_work, run_id)) == (RUNNING, LOST)


def test_a_run_whose_process_dies_while_it_is_deleted_is_lost_when_it_is_restored(at_work: Room) -> None:
    last = at_work.clock.now()
    run_id, alive = a_run_with_a_heartbeat(at_work), a_run_with_a_heartbeat(at_work)
    silent = at_work.a_run()
    for each in (run_id, alive, silent):
        at_work.runs.delete(each)
    pass_time(at_work, 5 * PERIOD)
    for each in (run_id, alive, silent):
        at_work.runs.restore(each)

    pass_time(at_work, 2 * PERIOD)
    at_first = status(at_work, run_id)
    at_work.heartbeats.log([alive], PERIOD)
    pass_time(at_work, 5000)

    run = at_work.runs.get(run_id)
    assert (at_first, run.status, run.end_time) == (RUNNING, LOST, last)
    assert status(at_work, alive) is status(at_work, silent) is RUNNING


@pytest.mark.parametrize("when", ["while it is deleted", "after it is restored"])
@pytest.mark.parametrize("what", ["starts", "pauses"])
def test_a_restored_run_is_lost_in_time_also_if_the_server_starts_or_pauses(
    at_work: Room, another_room: Callable[..., Room], what: str, when: str
) -> None:
    last = at_work.clock.now()
    run_id = a_run_with_a_heartbeat(at_work)
    at_work.runs.delete(run_id)
    pass_time(at_work, DAY // 8)
    watching = at_work
    for step in ("while it is deleted", "after it is restored"):
        if step == when and what == "pauses":
            watching.clock.advance(3_600_000)
            watching.heartbeats.find_lost()
        elif step == when:
            watching = a_server_that_starts(another_room, watching.clock.now())
        if step == "while it is deleted":
            watching.runs.restore(run_id)

    pass_time(watching, 2 * PERIOD)
    at_first = status(watching, run_id)
    pass_time(watching, 5000)

    run = watching.runs.get(run_id)
    assert (at_first, run.status, run.end_time) == (RUNNING, LOST, last)


def test_a_run_that_is_restored_under_a_wrong_clock_is_lost_in_time(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    at_work.runs.delete(run_id)
    at_work.clock.advance(DAY)
    at_work.runs.restore(run_id)
    at_work.heartbeats.find_lost()
    at_work.clock.advance(-DAY)

    pass_time(at_work, 5000 + 2 * PERIOD)
    at_first = status(at_work, run_id)
    pass_time(at_work, 5000)

    assert (at_first, status(at_work, run_id)) == (RUNNING, LOST)


def test_a_run_of_several_processes_has_the_longest_wait_after_a_pause(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work, 4 * PERIOD)
    pass_time(at_work, PERIOD)
    at_work.heartbeats.log([run_id], PERIOD)
    at_work.clock.advance(3_600_000)
    at_work.heartbeats.find_lost()

    pass_time(at_work, 8 * PERIOD)
    at_first = status(at_work, run_id)
    pass_time(at_work, 5000)

    assert (at_first, status(at_work, run_id)) == (RUNNING, LOST)


def test_two_servers_look_at_once_and_each_run_is_lost_once(at_work: Room, another_room: Callable[..., Room]) -> None:
    other = another_room()
    other.heartbeats.find_lost()
    pass_time(other, 10 * PERIOD)
    runs = [a_run_with_a_heartbeat(at_work) for _ in range(3)]

    for _ in range(13):
        pass_time(at_work, 5000)
        pass_time(other, 5000)

    assert [at_work.runs.get(run_id).revision for run_id in runs] == [2, 2, 2]


def test_only_the_server_says_that_a_run_is_lost(at_work: Room) -> None:
    run_id = a_run_with_a_heartbeat(at_work)
    with pytest.raises(FieldInvalid, match="only the server"):
        at_work.runs.update(run_id, "", to(status=LOST))
    with pytest.raises(FieldInvalid, match="LOST is not the status of a run that has ended"):
        at_work.runs.finish(run_id, LOST, None)
    pass_time(at_work, 3 * PERIOD)

    renamed = at_work.runs.update(run_id, "", to(name="n", status=LOST))

    assert (renamed.name, renamed.status) == ("n", LOST)


def test_a_lost_run_can_be_set_to_running_or_to_an_end_by_an_update(at_work: Room) -> None:
    runs = [a_run_with_a_heartbeat(at_work) for _ in range(2)]
    last = at_work.clock.now()
    pass_time(at_work, 3 * PERIOD)

    running, failed = (
        at_work.runs.update(run_id, "", to(status=to_be)) for run_id, to_be in zip(runs, (RUNNING, FAILED), strict=True)
    )

    assert (running.status, running.end_time, failed.status, failed.end_time) == (RUNNING, None, FAILED, last)


def test_heartbeats_say_which_runs_they_were_not_noted_for(at_work: Room) -> None:
    alive, ended, deleted, unknown = at_work.a_run(), at_work.a_run(), at_work.a_run(), new_id()
    at_work.runs.finish(ended, FINISHED, None)
    at_work.runs.delete(deleted)

    noted = at_work.heartbeats.log([unknown, ended, alive, deleted, alive], PERIOD)

    assert (noted.unknown, noted.not_running, noted.deleted) == ([unknown], [ended], [deleted])


def test_no_run_is_lost_while_access_is_silent_and_each_has_two_periods_from_when_callers_are_let_in(
    another_room: Callable[..., Room], caplog: pytest.LogCaptureFixture
) -> None:
    judge = Authority(GivenGrants(), clock=lambda: room.clock.now() / 1000)
    room = another_room(judge=judge)

    def hear(milliseconds: int) -> None:
        for _ in range(0, milliseconds, 1000):
            room.clock.advance(1000)
            judge.heard()
            if room.clock.now() % 5000 == 0:
                room.heartbeats.find_lost()

    room.heartbeats.find_lost()
    hear(10 * PERIOD)
    run_id = a_run_with_a_heartbeat(room)
    pass_time(room, 10 * PERIOD)
    while_away = status(room, run_id)
    hear(2 * PERIOD)
    in_time = status(room, run_id)
    hear(10_000)

    assert (while_away, in_time, status(room, run_id)) == (RUNNING, RUNNING, LOST)
    said = [each.modelry_fields["cause"] for each in caplog.records if each.message == "heartbeats.wait"]  # type: ignore[attr-defined]
    assert said == ["access does not answer, so callers are refused"]


def test_a_silence_of_access_between_two_searches_counts_too(another_room: Callable[..., Room]) -> None:
    judge = Authority(GivenGrants(), clock=lambda: room.clock.now() / 1000)
    room = another_room(judge=judge)
    judge.heard()
    room.heartbeats.find_lost()
    room.clock.advance(5000)
    judge.heard()
    room.heartbeats.find_lost()
    run_id = a_run_with_a_heartbeat(room, 3000)

    room.clock.advance(round(FRESH_S * 1000) + 1000)
    judge.heard()
    room.clock.advance(1000)
    judge.heard()
    room.heartbeats.find_lost()

    assert status(room, run_id) is RUNNING


@pytest.mark.parametrize(
    ("run_ids", "period", "field"),
    [
        ([], PERIOD, "run_ids"),
        (["x"], PERIOD, "run_ids[0]"),
        (["0" * 32] * 1001, PERIOD, "run_ids"),
        (["0" * 32], 999, "period"),
        (["0" * 32], 3_600_001, "period"),
        (["0" * 32], -1, "period"),
    ],
)
def test_what_can_be_no_heartbeat_is_refused(at_work: Room, run_ids: list[str], period: int, field: str) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        at_work.heartbeats.log(run_ids, period)

    assert list(refusal.value.violations) == [field]


def test_a_run_that_a_caller_may_only_read_or_not_see_takes_nothing_from_its_others(
    another_room: Callable[..., Room],
) -> None:
    judge = HeldJudge()
    room = another_room(judge=judge)
    own, other, unseen = room.an_experiment(), room.an_experiment(), room.an_experiment()
    own_run, other_run, unseen_run = room.a_run(own), room.a_run(other), room.a_run(unseen)
    judge.give("bob", "writer", at=Place("default", own))
    judge.give("bob", "reader", at=Place("default", other))
    room.heartbeats.find_lost()
    pass_time(room, 10 * PERIOD)

    with caller.using(calling("bob", "tracking", "LogHeartbeats")):
        for _ in range(5):
            noted = room.heartbeats.log([own_run, other_run, unseen_run], PERIOD)
            pass_time(room, PERIOD)
        alone = room.heartbeats.log([other_run], PERIOD)

    assert status(room, own_run) is RUNNING
    assert (noted.denied, noted.unknown) == ([other_run], [unseen_run])
    assert (alone.denied, alone.unknown) == ([other_run], [])
