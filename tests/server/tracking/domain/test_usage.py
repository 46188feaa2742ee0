"""Runs of a workspace against its quota: on both databases, by one process and by several."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import prometheus_client
import pytest

from modelry.api.access import v1 as access
from modelry_server.kernel import caller, quotas
from modelry_server.kernel.access import Place, WorkspaceNotFound
from modelry_server.kernel.errors import FieldInvalid, NotFound, PermissionMissing, QuotaExceeded
from modelry_server.kernel.ids import new_id
from modelry_server.tracking.domain.run_creation import RunDraft
from modelry_server.tracking.errors import RunExists
from modelry_server.tracking.store import usage as store
from tests.parts.eventually import at_once, of
from tests.parts.explained import explained
from tests.parts.judge import HeldJudge, calling
from tests.server.tracking.room import ONCE, Room

Rooms = Callable[..., Room]


@pytest.fixture
def limited(access_address: str) -> Iterator[Callable[[int | None], str]]:
    """Makes workspaces with a quota of runs, or with none."""
    with grpc.insecure_channel(access_address) as channel:
        stub = access.WorkspaceServiceStub(channel)

        def make(most: int | None) -> str:
            given = access.WorkspaceQuotas(run_count=most)
            request = access.CreateWorkspaceRequest(name=f"team-{new_id()}", quotas=given)
            return stub.CreateWorkspace(request).workspace.name

        yield make


def test_the_runs_of_all_experiments_count_and_those_of_other_workspaces_do_not(
    room: Room, limited: Callable[[int | None], str]
) -> None:
    here, there = limited(None), limited(None)
    for workspace in (here, here, there):
        room.a_run(room.an_experiment(workspace))

    assert (room.usage.get(here), room.usage.get(there)) == (2, 1)


def test_usage_is_asked_for_of_a_workspace_that_exists_and_that_the_caller_reads(
    another_room: Rooms, access_address: str
) -> None:
    judge = HeldJudge()
    room = another_room(access=access_address, judge=judge)

    with pytest.raises(FieldInvalid):
        room.usage.get("")
    with pytest.raises(NotFound, match="there is no workspace 'nowhere'"):
        room.usage.get("nowhere")
    with caller.using(calling("ann", "tracking", "GetUsage")):
        with pytest.raises(WorkspaceNotFound):
            room.usage.get("red")
        judge.give("ann", "reader", at=Place("red", "7"))
        with pytest.raises(PermissionMissing):  # what others have there is not for who has a part of it
            room.usage.get("red")
        judge.give("ann", "reader", at=Place("red"))
        assert room.usage.get("red") >= 0


def test_without_a_quota_nothing_is_counted_and_with_one_a_tenth_of_the_room_costs_one_count_and_no_call(
    another_room: Rooms, access_address: str, limited: Callable[[int | None], str]
) -> None:
    room = another_room(access=access_address)
    free, bound = (room.an_experiment(limited(most)) for most in (None, 2000))
    room.a_run(free)
    room.a_run(bound)

    reads, calls = room.db.reads, _asked()
    for experiment in (free, bound):
        for _ in range(50):
            room.a_run(experiment)

    assert room.db.reads - reads <= 1  # if more than five seconds have passed
    assert _asked() - calls <= 2


def test_a_run_id_that_is_taken_is_told_at_the_quota_too(
    another_room: Rooms, access_address: str, limited: Callable[[int | None], str]
) -> None:
    room = another_room(access=access_address)
    workspace = limited(1)
    first, second = room.an_experiment(workspace), room.an_experiment(workspace)
    run_id = room.a_run(first)

    again = room.run_creation.create(RunDraft(first, run_id=run_id), ONCE)
    with pytest.raises(RunExists):
        room.run_creation.create(RunDraft(second, run_id=run_id), ONCE)
    with pytest.raises(QuotaExceeded):
        room.a_run(second)

    assert again.run_id == run_id


@pytest.mark.parametrize("most", [3, 60])
def test_one_process_fills_a_quota_and_two_exceed_it_by_a_tenth_and_what_the_other_has_under_way_at_most(
    another_room: Rooms, access_address: str, limited: Callable[[int | None], str], most: int
) -> None:
    threads = 4
    alone, together = limited(most), limited(most)
    rooms = [another_room(access=access_address) for _ in range(3)]

    _fill(rooms[:1], alone, threads, most)
    _fill(rooms[1:], together, threads, most)

    assert rooms[0].usage.get(alone) == most
    assert most <= rooms[0].usage.get(together) <= most + most // quotas.PART + threads


def test_a_process_that_hears_nothing_of_a_quota_has_none(
    another_room: Rooms, limited: Callable[[int | None], str]
) -> None:
    room = another_room()
    experiment = room.an_experiment(limited(1))

    for _ in range(2):
        room.a_run(experiment)


def test_runs_are_counted_in_an_index(room: Room) -> None:
    plan = explained(room.db, store.RUNS, {"workspace": "red"})

    assert "runs_by_start" in plan
    assert "SCAN" not in plan  # as SQLite says
    assert "Seq Scan" not in plan  # as PostgreSQL says


def _asked() -> float:
    """How often access, which runs in this process, was asked for a workspace."""
    labels = {"rpc": "/modelry.api.access.v1.WorkspaceService/GetWorkspace", "code": "OK"}
    return prometheus_client.REGISTRY.get_sample_value("modelry_rpc_calls_total", labels) or 0


def _fill(rooms: list[Room], workspace: str, threads: int, most: int) -> None:
    """All rooms start runs, on several threads each, until they are refused."""
    experiment = rooms[0].an_experiment(workspace)

    def work(room: Room) -> None:
        for _ in range(most + 1):
            try:
                room.a_run(experiment)
            except QuotaExceeded:
                return

    answers = at_once([lambda room=room: work(room) for room in rooms for _ in range(threads)])  # type: ignore[misc]
    assert of(Exception, answers) == []
