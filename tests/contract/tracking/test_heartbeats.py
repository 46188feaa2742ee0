"""Runs whose processes say that they are alive, or go silent."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import Tracking
from tests.parts.eventually import eventually
from tests.parts.refusal import refused


def heartbeat(tracking: Tracking, *run_ids: str, seconds: int = 1) -> api.LogHeartbeatsResponse:
    return tracking.runs.LogHeartbeats(api.LogHeartbeatsRequest(run_ids=run_ids, period=Duration(seconds=seconds)))


def is_lost(tracking: Tracking, run_id: str) -> bool:
    return tracking.run(run_id).status == api.RUN_STATUS_LOST


def test_a_silent_run_is_lost_and_running_again_by_its_next_heartbeat(tracking: Tracking) -> None:
    run_id, other = tracking.a_run(), tracking.a_run()
    heartbeat(tracking, run_id)

    eventually(lambda: is_lost(tracking, run_id))
    lost = tracking.run(run_id)
    found = api.SearchRunsRequest(workspace="default", filter=f"status = 'LOST' AND run_id = '{run_id}'")
    listed = [run.run_id for run in tracking.runs.SearchRuns(found).runs]
    heartbeat(tracking, run_id, seconds=3600)
    again = tracking.run(run_id)

    assert lost.start_time.ToMilliseconds() <= lost.end_time.ToMilliseconds() <= lost.start_time.ToMilliseconds() + 5000
    assert listed == [run_id]
    assert (again.status, again.HasField("end_time")) == (api.RUN_STATUS_RUNNING, False)
    assert tracking.run(other).status == api.RUN_STATUS_RUNNING


def test_a_lost_run_is_ended_by_who_ends_it(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    heartbeat(tracking, run_id)
    eventually(lambda: is_lost(tracking, run_id))

    ended = tracking.runs.FinishRun(api.FinishRunRequest(run_id=run_id, status=api.RUN_STATUS_FAILED)).run

    assert ended.status == api.RUN_STATUS_FAILED
    assert list(heartbeat(tracking, run_id).not_running_run_ids) == [run_id]


def test_a_heartbeat_without_a_period_has_one_of_half_a_minute(tracking: Tracking) -> None:
    run_id, unknown = tracking.a_run(), new_id()

    answer = tracking.runs.LogHeartbeats(api.LogHeartbeatsRequest(run_ids=[run_id, unknown]))

    assert (list(answer.unknown_run_ids), list(answer.not_running_run_ids)) == ([unknown], [])


def test_a_period_that_can_be_none_is_refused(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    for period in (Duration(), Duration(seconds=3601), Duration(seconds=-1), Duration(seconds=1, nanos=-1)):
        request = api.LogHeartbeatsRequest(run_ids=[run_id], period=period)
        refusal = refused(tracking.runs.LogHeartbeats, request)
        assert (refusal.reason, list(refusal.violations)) == ("FIELD_INVALID", ["period"])
