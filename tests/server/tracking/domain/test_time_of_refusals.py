"""That a thing exists does not show in the time that its refusal takes, also not where its place is in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place
from modelry_server.kernel.ids import new_id
from modelry_server.tracking.entities import Batch
from tests.parts.judge import HeldJudge, calling
from tests.parts.timing import ratio
from tests.server.tracking.room import Room, line

ABSENT_EXPERIMENT = "987654321"
CALLS: dict[str, Callable[[Room, str, str], object]] = {
    "GetRun": lambda room, experiment_id, run_id: room.runs.get(run_id),
    "UpdateRun": lambda room, experiment_id, run_id: room.runs.update(run_id, "", dict),
    "LogBatch": lambda room, experiment_id, run_id: room.runs.log_batch(Batch(run_id, params={"a": "b"})),
    "GetExperiment": lambda room, experiment_id, run_id: room.experiments.get(experiment_id),
}


@pytest.mark.parametrize("rpc", CALLS)
def test_a09_what_is_not_seen_takes_as_long_as_what_is_not_there(another_room: Callable[..., Room], rpc: str) -> None:
    judge = HeldJudge()
    room = another_room(judge=judge)
    judge.give("bob", "writer", at=Place("default", room.an_experiment()))
    experiment_id = room.an_experiment()
    run_id = room.a_run(experiment_id)  # its place is kept
    room.runs.log_batch(Batch(run_id, [line(f"m{number}", [1]) for number in range(300)], {"p": "x" * 5000}))
    room.runs.get(run_id)
    call, absent = CALLS[rpc], new_id()

    with caller.using(calling("bob", "tracking", rpc)):
        found = ratio(lambda: call(room, experiment_id, run_id), lambda: call(room, ABSENT_EXPERIMENT, absent))

    assert 0.75 < found < 1.33
