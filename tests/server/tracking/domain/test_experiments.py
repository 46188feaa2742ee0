"""Experiments: one for each name, changed by one person at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from modelry_server.kernel.caller import Caller, using
from modelry_server.kernel.errors import (
    EtagMismatch,
    FieldInvalid,
    LimitReached,
    NotFound,
    RequestIdReused,
    ServiceUnavailable,
    Unavailable,
)
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.tracking.entities import Experiment, Lifecycle
from modelry_server.tracking.errors import (
    ExperimentDeleted,
    ExperimentExists,
    ExperimentNameNotFound,
    TagNotFound,
)
from tests.parts.eventually import at_once, of
from tests.server.tracking.room import ONCE, Room, to


def name() -> str:
    return f"experiment {new_id()}"


def test_an_experiment_has_what_it_was_made_with(room: Room) -> None:
    called = name()

    made = room.experiments.create("default", called, tags={"team": "blue"}, request=ONCE)

    found = room.experiments.get(made.experiment_id)
    assert found == made == room.experiments.get_by_name("default", called)
    assert (found.name, found.tags, found.workspace) == (called, {"team": "blue"}, "default")
    assert found.create_time == found.update_time == room.clock.now()
    assert found.experiment_id.isdigit()


def test_the_experiment_0_is_there_from_the_beginning(room: Room) -> None:
    assert (room.experiments.get("0").name, room.experiments.get("0").workspace) == ("Default", "default")


def test_a_taken_name_is_refused_and_says_whose_it_is(room: Room) -> None:
    called = name()
    first = room.experiments.create("default", called, tags={}, request=ONCE)

    with pytest.raises(ExperimentExists) as caught:
        room.experiments.create("default", called, tags={}, request=ONCE)

    assert caught.value.metadata == {"name": called, "experiment_id": first.experiment_id, "lifecycle": "active"}


def test_one_request_at_two_processes_at_once_makes_one_experiment(another_room: Callable[..., Room]) -> None:
    rooms = [another_room(), another_room()]

    for allow_existing in (False, True) * 5:
        called, again = name(), Request("ada", "CreateExperiment", new_id(), "digest")
        answers = at_once(
            [
                lambda room=room, called=called, again=again, allow=allow_existing: room.experiments.create(  # type: ignore[misc]
                    "default", called, tags={}, request=again, allow_existing=allow
                )
                for room in rooms * 2
            ]
        )
        assert len({made.experiment_id for made in of(Experiment, answers)}) == 1
        assert len(of(Experiment, answers)) == 4, answers


def test_all_tags_of_an_experiment_together_have_a_limit(room: Room) -> None:
    made = room.experiments.create("default", name(), tags={f"a{n}": "x" * 8000 for n in range(20)}, request=ONCE)

    with pytest.raises(LimitReached) as reached:
        room.experiments.set_tags(made.experiment_id, {f"b{n}": "x" * 8000 for n in range(13)})
    with pytest.raises(FieldInvalid) as caught:
        room.experiments.create("default", name(), tags={f"a{n}": "x" * 8000 for n in range(33)}, request=ONCE)

    assert (reached.value.metadata["field"], list(caught.value.violations)) == ("tags", ["tags"])
    assert room.experiments.get(made.experiment_id) == made


def test_tags_change_the_time_of_the_last_change_but_not_the_etag(room: Room) -> None:
    made = room.experiments.create("default", name(), tags={}, request=ONCE)

    room.clock.advance(5)
    labelled = room.experiments.set_tags(made.experiment_id, {"a": "b"})
    room.clock.advance(5)
    assert room.experiments.set_tags(made.experiment_id, {"a": "b"}) == labelled
    bare = room.experiments.delete_tags(made.experiment_id, ["a"])

    assert (labelled.update_time, labelled.etag, labelled.tags) == (made.update_time + 5, made.etag, {"a": "b"})
    assert (bare.update_time, bare.etag, bare.tags) == (made.update_time + 10, made.etag, {})
    assert room.experiments.get(made.experiment_id) == bare


def test_a_deleted_experiment_keeps_its_name_also_from_those_who_would_take_what_is_there(room: Room) -> None:
    called = name()
    first = room.experiments.create("default", called, tags={}, request=ONCE)
    room.experiments.delete(first.experiment_id)

    with pytest.raises(ExperimentExists, match="restore it"):
        room.experiments.create("default", called, tags={}, request=ONCE, allow_existing=True)


def test_many_who_take_what_is_there_get_the_same_experiment(another_room: Callable[..., Room]) -> None:
    rooms, called = [another_room(), another_room()], name()

    answers = at_once(
        [
            lambda n=n: rooms[n % 2].experiments.create(
                "default", called, tags={"n": str(n)}, request=ONCE, allow_existing=True
            )  # type: ignore[misc]
            for n in range(32)
        ]
    )

    made = of(Experiment, answers)
    assert len(made) == 32
    assert len({each.experiment_id for each in made}) == 1
    assert len(rooms[0].experiments.get(made[0].experiment_id).tags) == 1


def test_names_that_differ_in_case_or_composition_are_different(room: Room) -> None:
    prefix = name()

    ids = {
        room.experiments.create("default", prefix + end, tags={}, request=ONCE).experiment_id
        for end in ("x", "X", "\u00e9", "e\u0301")
    }

    assert len(ids) == 4


def test_a_request_that_comes_twice_makes_one_experiment_and_with_other_contents_is_refused(room: Room) -> None:
    called, request_id = name(), new_id()
    request, other = (Request("ann", "CreateExperiment", request_id, digest) for digest in ("a", "b"))

    made = [room.experiments.create("default", called, tags={}, request=request) for _ in range(2)]

    assert made[0] == made[1]
    with pytest.raises(RequestIdReused):
        room.experiments.create("default", name(), tags={}, request=other)


def test_renaming_moves_the_name_and_changes_the_etag(room: Room) -> None:
    old, new = name(), name()
    made = room.experiments.create("default", old, tags={}, request=ONCE)

    renamed = room.experiments.update(made.experiment_id, made.etag, to(name=new))

    assert renamed.etag != made.etag
    assert room.experiments.get_by_name("default", new) == renamed
    with pytest.raises(ExperimentNameNotFound):
        room.experiments.get_by_name("default", old)
    with pytest.raises(EtagMismatch) as caught:
        room.experiments.update(made.experiment_id, made.etag, to(name=old))
    assert caught.value.metadata == {"given": made.etag, "etag": renamed.etag}


def test_renaming_to_a_taken_name_is_refused_and_to_its_own_is_fine(room: Room) -> None:
    first, second = (room.experiments.create("default", name(), tags={}, request=ONCE) for _ in range(2))

    with pytest.raises(ExperimentExists):
        room.experiments.update(first.experiment_id, "", to(name=second.name))

    assert room.experiments.update(first.experiment_id, "", to(name=first.name)).name == first.name


def test_two_who_rename_to_the_same_name_at_once_do_not_both_get_it(another_room: Callable[..., Room]) -> None:
    rooms = [another_room(), another_room()]

    for _ in range(10):
        both = [rooms[0].experiments.create("default", name(), tags={}, request=ONCE) for _ in range(2)]
        wanted = name()
        answers = at_once(
            [
                lambda room=room, e=e, w=wanted: room.experiments.update(e.experiment_id, "", to(name=w))  # type: ignore[misc]
                for room, e in zip(rooms, both, strict=True)
            ]
        )
        assert len(of(Experiment, answers)) == 1
        assert of((ExperimentExists, Unavailable), answers)


def test_a_deleted_experiment_is_read_but_not_changed_until_it_is_restored(room: Room) -> None:
    made = room.experiments.create("default", name(), tags={"t": "1"}, request=ONCE)
    deleted = room.experiments.delete(made.experiment_id)

    assert room.experiments.delete(made.experiment_id) == deleted
    assert room.experiments.get(made.experiment_id).lifecycle is Lifecycle.DELETED
    with pytest.raises(ExperimentDeleted):
        room.experiments.update(made.experiment_id, "", to(name=name()))
    with pytest.raises(ExperimentDeleted):
        room.experiments.set_tags(made.experiment_id, {"t": "2"})
    with pytest.raises(ExperimentDeleted):
        room.experiments.delete_tags(made.experiment_id, ["t"])
    restored = room.experiments.restore(made.experiment_id)
    assert room.experiments.restore(made.experiment_id) == restored
    assert (restored.lifecycle, restored.tags) == (Lifecycle.ACTIVE, {"t": "1"})


def test_the_log_says_who_deleted_and_restored_what(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    experiment_id = room.an_experiment()
    run_id = room.a_run(experiment_id)
    caplog.set_level(logging.INFO, "modelry")

    for subject, both in (("ada", ("delete", "delete")), ("bob", ("restore", "restore"))):
        with using(Caller(subject, "0" * 32)):
            for act in both:  # the second changes nothing
                getattr(room.runs, act)(run_id)
                getattr(room.experiments, act)(experiment_id)

    said = [(each.getMessage(), each.modelry_fields) for each in caplog.records]  # type: ignore[attr-defined]
    assert said == [
        ("run.deleted", {"run_id": run_id, "subject": "ada"}),
        ("experiment.deleted", {"experiment_id": experiment_id, "subject": "ada"}),
        ("run.restored", {"run_id": run_id, "subject": "bob"}),
        ("experiment.restored", {"experiment_id": experiment_id, "subject": "bob"}),
    ]


def test_tags_are_replaced_and_removed_all_or_none(room: Room) -> None:
    made = room.experiments.create("default", name(), tags={"a": "1", "b": "2"}, request=ONCE)

    room.experiments.set_tags(made.experiment_id, {"a": "3"})
    with pytest.raises(TagNotFound, match="'c'"):
        room.experiments.delete_tags(made.experiment_id, ["a", "c"])
    before = room.experiments.get(made.experiment_id).tags
    after = room.experiments.delete_tags(made.experiment_id, ["a", "a"]).tags

    assert (before, after) == ({"a": "3", "b": "2"}, {"b": "2"})


@pytest.mark.parametrize("number", ["-1", "x", "", "1.0", "१", "01", "00", "1" * 19])
def test_an_id_that_is_no_number_is_refused_with_its_value(room: Room, number: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        room.experiments.get(number)

    assert repr(number) in caught.value.violations["experiment_id"]


def test_a_workspace_that_access_knows_can_hold_experiments_and_another_is_refused_as_access_refused_it(
    room: Room,
) -> None:
    called = name()

    made = room.experiments.create("blue", called, tags={}, request=ONCE)

    assert (made.workspace, room.experiments.get_by_name("blue", called)) == ("blue", made)
    with pytest.raises(ExperimentNameNotFound):
        room.experiments.get_by_name("red", called)
    with pytest.raises(NotFound, match="'green'") as caught:
        room.experiments.create("green", called, tags={}, request=ONCE)
    assert caught.value.reason == "WORKSPACE_NOT_FOUND"


def test_a_workspace_that_nobody_can_ask_about_names_who_is_missing(another_room: Callable[..., Room]) -> None:
    with pytest.raises(ServiceUnavailable) as caught:
        another_room().experiments.create("blue", name(), tags={}, request=ONCE)

    assert caught.value.metadata["service"] == "access"
