"""Runs that several processes of a job share."""

from __future__ import annotations

from typing import Any

from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import Tracking
from tests.parts.refusal import refused

RUNNING, FINISHED, FAILED, KILLED = (
    api.RUN_STATUS_RUNNING,
    api.RUN_STATUS_FINISHED,
    api.RUN_STATUS_FAILED,
    api.RUN_STATUS_KILLED,
)


def shared(tracking: Tracking, *participants: str) -> str:
    run_id = new_id()
    first = api.CreateRunRequest(experiment_id="0", run_id=run_id, participant=participants[0])
    tracking.runs.CreateRun(first)
    for participant in participants[1:]:
        join(tracking, run_id, participant)
    return run_id


def join(tracking: Tracking, run_id: str, participant: str) -> None:
    tracking.runs.UpdateRun(api.UpdateRunRequest(run=api.Run(run_id=run_id, status=RUNNING), participant=participant))


def finish(tracking: Tracking, run_id: str, participant: str = "", status: Any = FINISHED) -> Any:
    request = api.FinishRunRequest(run_id=run_id, status=status, participant=participant)
    return tracking.runs.FinishRun(request).run.status


def test_a_shared_run_ends_with_its_last_participant(tracking: Tracking) -> None:
    run_id = shared(tracking, "0", "1", "2")

    seen = [finish(tracking, run_id, each) for each in ("1", "0", "0", "2", "2")]

    assert seen == [RUNNING, RUNNING, RUNNING, FINISHED, FINISHED]
    assert tracking.run(run_id).HasField("end_time")


def test_a_shared_run_ends_as_the_worst_of_its_participants_did(tracking: Tracking) -> None:
    for statuses, expected in (
        ((FAILED, KILLED, FINISHED), FAILED),
        ((FINISHED, KILLED, FINISHED), KILLED),
        ((FINISHED, FINISHED, FAILED), FAILED),
    ):
        run_id = shared(tracking, "0", "1", "2")
        for number, status in enumerate(statuses):
            last = finish(tracking, run_id, str(number), status)
        assert last == expected
        assert finish(tracking, run_id, "0", statuses[0]) == expected  # repeated after a lost answer


def test_a_participant_that_begins_again_takes_its_own_place(tracking: Tracking) -> None:
    run_id = shared(tracking, "0", "1")
    finish(tracking, run_id, "1", FAILED)
    join(tracking, run_id, "1")

    assert finish(tracking, run_id, "0") == RUNNING
    assert finish(tracking, run_id, "1") == FINISHED


def test_who_continues_a_run_that_has_ended_does_not_wait_for_those_of_before(tracking: Tracking) -> None:
    run_id = shared(tracking, "0", "1")
    assert finish(tracking, run_id, status=KILLED) == KILLED
    join(tracking, run_id, "0")

    assert finish(tracking, run_id, "0") == FINISHED


def test_without_a_participant_the_run_ends_for_all(tracking: Tracking) -> None:
    run_id = shared(tracking, "0", "1")

    assert finish(tracking, run_id) == FINISHED
    refusal = refused(tracking.runs.FinishRun, api.FinishRunRequest(run_id=run_id, participant="1", status=FAILED))
    assert refusal.reason == "RUN_ALREADY_ENDED"


def test_what_can_be_no_participant_is_refused(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    for rpc, request in (
        (tracking.runs.CreateRun, api.CreateRunRequest(experiment_id="0", participant="p" * 251)),
        (tracking.runs.FinishRun, api.FinishRunRequest(run_id=run_id, participant="a\0")),
        (
            tracking.runs.UpdateRun,
            api.UpdateRunRequest(run=api.Run(run_id=run_id, status=FINISHED), participant="0"),
        ),
    ):
        refusal = refused(rpc, request)
        assert (refusal.reason, list(refusal.violations)) == ("FIELD_INVALID", ["participant"])
