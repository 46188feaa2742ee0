"""Runs: made once however often asked for, changed by one person at a time, refused whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, RequestIdReused, Unavailable
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import KEPT_MS, Request
from modelry_server.tracking.domain.run_creation import RunDraft
from modelry_server.tracking.entities import Batch, Run, RunStatus
from modelry_server.tracking.errors import (
    ExperimentDeleted,
    ExperimentNotFound,
    ParamConflict,
    RunAlreadyEnded,
    RunDeleted,
    RunExists,
    RunNotFound,
    TagNotFound,
)
from tests.parts.eventually import at_once, of
from tests.server.tracking.room import ONCE, Room, line, points_of, to


def asked(request_id: str, digest: str = "d", subject: str = "ann") -> Request:
    return Request(subject, "CreateRun", request_id, digest)


def test_a_run_has_what_it_was_made_with(room: Room) -> None:
    experiment_id, run_id = room.an_experiment(), new_id()
    new = RunDraft(
        experiment_id=experiment_id,
        name="first try",
        run_id=run_id,
        start_time=1_600_000_000_123,
        description="to see what happens",
        claimed_user="ann",
        params={"lr": "0.1"},
        tags={"team": "blue"},
        metrics=[line("loss", [1, 2])],
    )

    with caller.using(Caller("bob", "0" * 32)):
        created = room.run_creation.create(new, ONCE)

    run = room.runs.get(run_id)
    assert (run.name, run.start_time, run.status) == ("first try", 1_600_000_000_123, RunStatus.RUNNING)
    assert (run.description, run.creator, run.claimed_user) == ("to see what happens", "bob", "ann")
    assert (created.description, created.creator, created.workspace) == (run.description, "bob", "default")
    assert (run.params, run.tags, [each.key for each in run.metrics]) == ({"lr": "0.1"}, {"team": "blue"}, ["loss"])
    assert (run.experiment_id, run.workspace, run.end_time) == (experiment_id, "default", None)
    assert room.points(run_id, "loss") == points_of(line("loss", [1, 2]))


def test_what_is_not_said_of_a_run_has_a_default(room: Room) -> None:
    with caller.using(Caller("bob", "0" * 32)):
        run = room.run_creation.create(RunDraft("0"), ONCE)

    assert (run.creator, run.claimed_user, run.start_time) == ("bob", "bob", room.clock.now())
    assert (bool(run.name), run.description) == (True, "")
    assert len(run.run_id) == 32


def test_a_metric_named_twice_at_the_start_of_a_run_is_one_series(room: Room) -> None:
    run = room.run_creation.create(
        RunDraft("0", metrics=[line("loss", [2, 3]), line("loss", [1, 2]), line("acc", [])]), ONCE
    )

    assert room.points(run.run_id, "loss") == points_of(line("loss", [1, 2, 3]))
    assert [each.key for each in room.runs.get(run.run_id).metrics] == ["loss"]


def test_a_run_id_asked_for_again_is_answered_with_the_run_as_it_is(room: Room) -> None:
    experiment_id, run_id = room.an_experiment(), new_id()
    room.run_creation.create(RunDraft(experiment_id, "first", run_id, params={"lr": "1"}), ONCE)
    room.runs.finish(run_id, RunStatus.FAILED, None)

    again = room.run_creation.create(RunDraft(experiment_id, "second", run_id, params={"lr": "2"}), ONCE)

    assert (again.name, again.status) == ("first", RunStatus.FAILED)
    assert room.runs.get(run_id).params == {"lr": "1"}


def test_a_run_id_is_asked_for_again_when_its_experiment_is_deleted(room: Room) -> None:
    experiment_id = room.an_experiment()
    made = room.run_creation.create(RunDraft(experiment_id), ONCE)
    room.experiments.delete(experiment_id)

    again = room.run_creation.create(RunDraft(experiment_id, run_id=made.run_id), ONCE)

    assert again == room.runs.get(made.run_id, ())


def test_a_run_id_of_another_experiment_is_refused_without_naming_the_experiment(room: Room) -> None:
    here, there, run_id = room.an_experiment(), room.an_experiment(), new_id()
    room.run_creation.create(RunDraft(here, run_id=run_id), ONCE)

    with pytest.raises(RunExists) as caught:
        room.run_creation.create(RunDraft(there, run_id=run_id), ONCE)

    assert caught.value.metadata == {"run_id": run_id}
    assert repr(here) not in caught.value.message


def test_many_processes_that_start_the_same_run_make_one(another_room: Callable[..., Room]) -> None:
    rooms, run_id = [another_room(), another_room()], new_id()
    new = RunDraft("0", run_id=run_id, params={"lr": "1"}, metrics=[line("loss", [1])])

    answers = at_once([lambda n=n: rooms[n % 2].run_creation.create(new, ONCE) for n in range(16)])  # type: ignore[misc]

    assert [each.run_id for each in of(Run, answers)] == [run_id] * 16
    assert rooms[0].stored_points(run_id, "loss") == 1


def test_a_request_that_comes_twice_makes_one_run(room: Room) -> None:
    request = asked(new_id())

    runs = [room.run_creation.create(RunDraft("0", name="once"), request) for _ in range(2)]

    assert runs[0].run_id == runs[1].run_id


def test_a_request_id_with_other_contents_is_refused_for_a_day_and_for_its_caller_only(room: Room) -> None:
    request_id = new_id()
    first = room.run_creation.create(RunDraft("0"), asked(request_id))

    with pytest.raises(RequestIdReused) as caught:
        room.run_creation.create(RunDraft("0", name="other"), asked(request_id, digest="e"))
    other = room.run_creation.create(RunDraft("0"), asked(request_id, digest="e", subject="bob"))
    room.clock.advance(KEPT_MS)
    later = room.run_creation.create(RunDraft("0"), asked(request_id, digest="e"))

    assert caught.value.metadata["request_id"] == request_id
    assert len({first.run_id, other.run_id, later.run_id}) == 3


def test_one_request_at_two_processes_at_once_makes_one_run(another_room: Callable[..., Room]) -> None:
    rooms = [another_room(), another_room()]

    for _ in range(10):
        request = asked(new_id())
        answers = at_once([lambda r=r, q=request: r.run_creation.create(RunDraft("0"), q) for r in rooms])  # type: ignore[misc]
        made = of(Run, answers)
        assert len(made) == 2
        assert len({run.run_id for run in made}) == 1
        assert rooms[0].run_creation.create(RunDraft("0"), request).run_id == made[0].run_id


def test_old_request_ids_are_forgotten(room: Room) -> None:
    room.run_creation.create(RunDraft("0"), asked(new_id()))
    room.clock.advance(KEPT_MS)

    with room.db.write() as tx:
        forgotten = room.requests.forget(tx)
        again = room.requests.forget(tx)

    assert forgotten >= 1
    assert again == 0


def test_a_run_needs_an_experiment_that_is_there_and_in_use(room: Room) -> None:
    deleted = room.an_experiment()
    room.experiments.delete(deleted)

    with pytest.raises(ExperimentDeleted):
        room.run_creation.create(RunDraft(deleted), ONCE)
    with pytest.raises(ExperimentNotFound):
        room.run_creation.create(RunDraft("123456789012345678"), ONCE)


def test_a_run_is_nested_in_one_that_is_there_and_in_its_workspace(room: Room) -> None:
    parent, elsewhere = room.a_run(), room.an_experiment("elsewhere")

    child = room.run_creation.create(RunDraft(room.an_experiment(), parent_run_id=parent), ONCE)
    grandchild = room.run_creation.create(RunDraft("0", parent_run_id=child.run_id), ONCE)

    assert room.runs.get(grandchild.run_id).parent_run_id == child.run_id
    with pytest.raises(RunNotFound):
        room.run_creation.create(RunDraft("0", parent_run_id="0" * 32), ONCE)
    with pytest.raises(RunNotFound):
        room.run_creation.create(RunDraft(elsewhere, parent_run_id=parent), ONCE)


def test_finishing_twice_alike_changes_nothing_and_otherwise_is_refused(room: Room) -> None:
    run_id = room.a_run()

    first = room.runs.finish(run_id, RunStatus.FINISHED, None)
    room.clock.advance(1000)
    again = room.runs.finish(run_id, RunStatus.FINISHED, None)
    with pytest.raises(RunAlreadyEnded) as caught:
        room.runs.finish(run_id, RunStatus.FAILED, None)

    assert again == first == room.runs.get(run_id, parts=())
    assert caught.value.metadata == {"run_id": run_id, "status": "FINISHED", "given": "FAILED"}


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.SCHEDULED])
def test_a_run_ends_with_the_status_of_an_end_only(room: Room, status: RunStatus) -> None:
    with pytest.raises(FieldInvalid) as caught:
        room.runs.finish(room.a_run(), status, None)

    assert "FINISHED, FAILED or KILLED" in caught.value.violations["status"]
    assert status.name in caught.value.violations["status"]


def test_a_run_may_end_at_the_beginning_of_time(room: Room) -> None:
    run_id = room.a_run()

    room.runs.finish(run_id, RunStatus.FINISHED, 0)

    assert room.runs.get(run_id).end_time == 0


def test_a_run_set_running_again_has_no_end_and_can_end_otherwise(room: Room) -> None:
    run_id = room.a_run()
    room.runs.finish(run_id, RunStatus.FINISHED, None)

    running = room.runs.update(run_id, "", to(status=RunStatus.RUNNING))
    ended = room.runs.finish(run_id, RunStatus.KILLED, 7)

    assert (running.status, running.end_time) == (RunStatus.RUNNING, None)
    assert (ended.status, ended.end_time) == (RunStatus.KILLED, 7)


def test_a_run_has_an_end_time_if_and_only_if_it_has_ended(room: Room) -> None:
    run_id = room.a_run()

    for changes in (to(end_time=5), to(status=RunStatus.RUNNING, end_time=9)):
        with pytest.raises(FieldInvalid) as caught:
            room.runs.update(run_id, "", changes, prefix="run.")
        assert list(caught.value.violations) == ["run.end_time"]
    assert room.runs.get(run_id).end_time is None
    now = room.clock.now()
    assert room.runs.update(run_id, "", to(status=RunStatus.FAILED, end_time=None)).end_time == now
    assert room.runs.update(run_id, "", to(end_time=5)).end_time == 5
    assert room.runs.update(run_id, "", to(status=RunStatus.FINISHED)).end_time == 5
    assert room.runs.update(run_id, "", to(status=RunStatus.RUNNING, end_time=None)).end_time is None


def test_a_change_to_what_is_so_already_is_none(room: Room) -> None:
    run_id = room.a_run()
    before = room.runs.get(run_id, ())

    assert room.runs.update(run_id, before.etag, to()) == before
    assert (
        room.runs.update(run_id, before.etag, to(name=before.name, description="", status=RunStatus.RUNNING)) == before
    )


def test_of_two_changes_made_from_the_same_reading_one_is_told_of_the_other(another_room: Callable[..., Room]) -> None:
    rooms = [another_room(), another_room()]
    run_id = rooms[0].a_run()

    for turn in range(5):
        etag = rooms[0].runs.get(run_id).etag
        answers = at_once(
            [
                lambda room=room, name=f"{turn} {n}", etag=etag: room.runs.update(run_id, etag, to(name=name))  # type: ignore[misc]
                for n, room in enumerate(rooms)
            ]
        )
        refused = of(EtagMismatch, answers)
        assert len(refused) == len(of(Run, answers)) == 1
        assert refused[0].metadata["etag"] == rooms[0].runs.get(run_id).etag


def test_a_deleted_run_is_read_but_not_changed_until_it_is_restored(room: Room) -> None:
    run_id = room.a_run()
    deleted = room.runs.delete(run_id)
    again = room.runs.delete(run_id)

    with pytest.raises(RunDeleted):
        room.runs.log_batch(Batch(run_id, params={"lr": "1"}))
    with pytest.raises(RunDeleted):
        room.runs.update(run_id, "", to(name="other"))
    with pytest.raises(RunDeleted):
        room.runs.finish(run_id, RunStatus.FINISHED, None)
    with pytest.raises(RunDeleted):
        room.runs.delete_tags(run_id, ["t"])
    read = room.runs.get(run_id)
    restored = room.runs.restore(run_id)
    room.runs.log_batch(Batch(run_id, params={"lr": "1"}))

    assert deleted == again
    assert (read.delete_time, restored.delete_time) == (room.clock.now(), None)
    assert room.runs.get(run_id).params == {"lr": "1"}


def test_a_param_is_written_once_and_one_conflict_writes_none_of_the_batch(room: Room) -> None:
    run_id = room.a_run()
    room.runs.log_batch(Batch(run_id, params={"lr": "0.1", "seed": "7"}))
    room.runs.log_batch(Batch(run_id, params={"lr": "0.1"}))

    with pytest.raises(ParamConflict, match="so have 1 more: 'seed'") as caught:
        room.runs.log_batch(Batch(run_id, [line("loss", [1])], {"depth": "3", "lr": "0.2", "seed": "8"}, {"t": "1"}))

    assert caught.value.metadata == {"key": "lr", "stored": "0.1", "given": "0.2"}
    run = room.runs.get(run_id)
    assert (run.params, run.tags, run.metrics) == ({"lr": "0.1", "seed": "7"}, {}, [])


@pytest.mark.parametrize(
    ("stored", "given"), [("10", "10.0"), ("0.001", "1e-3"), ("0", "-0.0"), ("inf", "Infinity"), ("1", "+1.")]
)
def test_another_way_to_write_a_number_is_no_conflict(room: Room, stored: str, given: str) -> None:
    run_id = room.a_run()
    room.runs.log_batch(Batch(run_id, params={"a": stored}))
    room.runs.log_batch(Batch(run_id, params={"a": given}))

    assert room.runs.get(run_id).params == {"a": stored}


@pytest.mark.parametrize(
    ("stored", "given"), [("9007199254740993", "9007199254740992"), ("nan", "NaN"), ("1", "True"), ("1e99999", "inf")]
)
def test_other_values_are_a_conflict(room: Room, stored: str, given: str) -> None:
    run_id = room.a_run()
    room.runs.log_batch(Batch(run_id, params={"a": stored}))

    with pytest.raises(ParamConflict):
        room.runs.log_batch(Batch(run_id, params={"a": given}))


def test_keys_that_differ_in_case_or_composition_are_different(room: Room) -> None:
    run_id = room.a_run()
    params = {"lr": "1", "LR": "2", "\u00e9": "3", "e\u0301": "4", "lr ": "5"}

    room.runs.log_batch(Batch(run_id, params=params, tags=params))

    run = room.runs.get(run_id)
    assert (run.params, run.tags) == (params, params)


def test_tags_are_replaced_and_removed_all_or_none(room: Room) -> None:
    run_id = room.a_run()
    room.runs.log_batch(Batch(run_id, tags={"a": "1", "b": "2"}))
    room.runs.log_batch(Batch(run_id, tags={"a": "3"}))

    with pytest.raises(TagNotFound, match="'c'"):
        room.runs.delete_tags(run_id, ["a", "c"])
    before = room.runs.get(run_id).tags
    room.runs.delete_tags(run_id, ["a"])

    assert before == {"a": "3", "b": "2"}
    assert room.runs.get(run_id).tags == {"b": "2"}


def test_everything_that_is_wrong_with_a_run_is_told_at_once_and_nothing_is_written(room: Room) -> None:
    run_id = new_id()
    new = RunDraft(
        "0",
        name=" n ",
        run_id=run_id,
        start_time=-1,
        description="d" * 100_001,
        claimed_user="u" * 251,
        params={"": "1"},
        tags={"t": "v" * 8001},
        metrics=[line("m" * 251, [1])],
    )

    with pytest.raises(FieldInvalid) as caught:
        room.run_creation.create(new, asked("r" * 65))

    assert set(caught.value.violations) == {
        *("name", "start_time", "description", "claimed_user", "request_id"),
        *("params['']", "tags['t']", "metrics[0].key"),
    }
    assert room.leftovers(run_id) == 0


@pytest.mark.parametrize("experiment_id", ["", "x", "-1"])
def test_a_run_needs_the_id_of_an_experiment_and_the_form_of_all_ids_is_checked_first(
    room: Room, experiment_id: str
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        room.run_creation.create(RunDraft(experiment_id, parent_run_id="p"), ONCE)

    assert set(caught.value.violations) == {"experiment_id", "parent_run_id"}


def test_a_description_is_set_changed_and_emptied_and_every_change_is_a_new_etag(room: Room) -> None:
    run_id = room.run_creation.create(RunDraft("0", description="first"), ONCE).run_id
    seen = [room.runs.get(run_id)]

    for text in ("second\nline", ""):
        seen.append(room.runs.update(run_id, seen[-1].etag, to(description=text)))

    assert [run.description for run in seen] == ["first", "second\nline", ""]
    assert len({run.etag for run in seen}) == 3
    assert room.runs.get(run_id, ()).description == ""


def test_parts_that_are_not_named_are_not_read(room: Room) -> None:
    new = RunDraft("0", description="long", params={"p": "1"}, tags={"t": "1"}, metrics=[line("loss", [1])])
    run_id = room.run_creation.create(new, ONCE).run_id

    run = room.runs.get(run_id, ("tags", "name"))

    assert (run.params, run.tags, list(run.metrics), list(run.datasets)) == ({}, {"t": "1"}, [], [])


def test_removing_tags_answers_with_the_run(room: Room) -> None:
    run_id = room.a_run()
    room.runs.log_batch(Batch(run_id, tags={"t": "1"}))

    assert room.runs.delete_tags(run_id, ["t"]).run_id == run_id


def test_a_database_that_went_away_is_unavailable_and_a_read_says_nothing_of_a_change(room: Room) -> None:
    broken = Room("postgresql+psycopg://nobody@127.0.0.1:1/nothing")

    with pytest.raises(Unavailable, match=r"tracking can't be reached, or .*; it failed while it read"):
        broken.runs.get(new_id())
    broken.close()
