from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import Tracking, line, points_of
from tests.parts.refusal import refused

NOBODY = "0" * 32


def test_a_run_lives_from_its_start_to_its_end(tracking: Tracking) -> None:
    experiment_id = tracking.an_experiment()
    started = tracking.runs.CreateRun(
        api.CreateRunRequest(
            experiment_id=experiment_id,
            name="first try",
            start_time=Timestamp(seconds=1_600_000_000),
            description="to see what happens",
            claimed_user="ann",
            params={"lr": "0.1"},
            tags={"team": "blue"},
            metrics=[line("loss", [1])],
        ),
        metadata=(("modelry-subject", "bob"),),
    ).run
    tracking.runs.LogBatch(
        api.LogBatchRequest(
            run_id=started.run_id, params={"seed": "7"}, tags={"team": "red"}, metrics=[line("loss", [2])]
        )
    )
    ended = tracking.runs.FinishRun(api.FinishRunRequest(run_id=started.run_id)).run

    run = tracking.run(started.run_id)

    assert (run.name, run.experiment_id, run.workspace) == ("first try", experiment_id, "default")
    assert (run.description, run.creator, run.claimed_user) == ("to see what happens", "bob", "ann")
    assert (started.description, started.creator) == ("to see what happens", "bob")
    assert (dict(run.params), dict(run.tags)) == ({"lr": "0.1", "seed": "7"}, {"team": "red"})
    assert [(each.key, each.point_count) for each in run.metrics] == [("loss", 2)]
    assert (started.status, ended.status, run.status) == (
        api.RUN_STATUS_RUNNING,
        api.RUN_STATUS_FINISHED,
        api.RUN_STATUS_FINISHED,
    )
    assert run.start_time.seconds == 1_600_000_000
    assert run.end_time.ToMilliseconds() > 1_700_000_000_000
    assert (started.etag != run.etag, ended.etag == run.etag) == (True, True)


def test_a_run_without_anything_has_a_name_and_the_caller_as_its_user(tracking: Tracking) -> None:
    request = api.CreateRunRequest(experiment_id="0")

    run = tracking.runs.CreateRun(request, metadata=(("modelry-subject", "ann"),)).run

    assert (run.creator, run.claimed_user, run.lifecycle) == ("ann", "ann", common.LIFECYCLE_ACTIVE)
    assert (bool(run.name), run.description) == (True, "")


def test_a_change_from_an_old_reading_is_refused(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    etag = tracking.run(run_id).etag
    changed = tracking.runs.UpdateRun(api.UpdateRunRequest(run=api.Run(run_id=run_id, name="a", etag=etag))).run

    refusal = refused(tracking.runs.UpdateRun, api.UpdateRunRequest(run=api.Run(run_id=run_id, name="b", etag=etag)))

    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", changed.etag)
    assert tracking.run(run_id).name == "a"


def test_ending_twice_alike_changes_nothing_and_otherwise_is_refused(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    first = tracking.runs.FinishRun(api.FinishRunRequest(run_id=run_id)).run

    again = tracking.runs.FinishRun(api.FinishRunRequest(run_id=run_id, status=api.RUN_STATUS_FINISHED)).run
    refusal = refused(tracking.runs.FinishRun, api.FinishRunRequest(run_id=run_id, status=api.RUN_STATUS_FAILED))

    assert first == again
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "RUN_ALREADY_ENDED")
    assert "FINISHED" in refusal.message


def test_a_deleted_run_is_found_by_those_who_ask_for_it_and_comes_back(tracking: Tracking) -> None:
    experiment_id = tracking.an_experiment()
    run_id = tracking.a_run(experiment_id)
    deleted = tracking.runs.DeleteRun(api.DeleteRunRequest(run_id=run_id)).run

    def found(lifecycle: common.LifecycleFilter.ValueType) -> int:
        request = api.SearchRunsRequest(workspace="default", experiment_ids=[experiment_id], lifecycle=lifecycle)
        return len(tracking.runs.SearchRuns(request).runs)

    assert (deleted.lifecycle, deleted.HasField("delete_time")) == (common.LIFECYCLE_DELETED, True)
    wanted = (
        common.LIFECYCLE_FILTER_UNSPECIFIED,
        common.LIFECYCLE_FILTER_ACTIVE,
        common.LIFECYCLE_FILTER_DELETED,
        common.LIFECYCLE_FILTER_ANY,
    )
    assert [found(each) for each in wanted] == [0, 0, 1, 1]
    refusal = refused(tracking.runs.LogBatch, api.LogBatchRequest(run_id=run_id, tags={"a": "1"}))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "RUN_DELETED")
    tracking.runs.RestoreRun(api.RestoreRunRequest(run_id=run_id))
    assert [found(each) for each in wanted] == [1, 1, 0, 1]


def test_a_run_id_chosen_by_the_client_makes_one_run_however_often_asked_for(tracking: Tracking) -> None:
    experiment_id, run_id = tracking.an_experiment(), new_id()
    request = api.CreateRunRequest(experiment_id=experiment_id, run_id=run_id, metrics=[line("loss", [1])])

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: tracking.runs.CreateRun(request).run.run_id, range(16)))
    refusal = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id="0", run_id=run_id))

    assert set(made) == {run_id}
    assert tracking.run(run_id).metrics[0].point_count == 1
    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "RUN_EXISTS")
    assert "experiment_id" not in refusal.metadata


def test_a_request_sent_twice_makes_one_run_and_with_another_body_is_refused(tracking: Tracking) -> None:
    request = api.CreateRunRequest(experiment_id="0", name="a", request_id=new_id())

    made = [tracking.runs.CreateRun(request).run for _ in range(2)]
    request.name = "b"
    refusal = refused(tracking.runs.CreateRun, request)
    other = tracking.runs.CreateRun(request, metadata=(("modelry-subject", "somebody else"),)).run

    assert made[0].run_id == made[1].run_id != other.run_id
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    assert list(refusal.violations) == ["request_id"]


def test_a_request_that_found_the_run_of_its_id_is_remembered_too(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    request = api.CreateRunRequest(experiment_id="0", run_id=run_id, request_id=new_id())

    found = [tracking.runs.CreateRun(request).run.run_id for _ in range(2)]
    request.run_id = new_id()
    refusal = refused(tracking.runs.CreateRun, request)

    assert found == [run_id] * 2
    assert refusal.reason == "REQUEST_ID_REUSED"


def test_a_request_sent_many_times_at_once_makes_one_run(tracking: Tracking) -> None:
    request = api.CreateRunRequest(experiment_id="0", request_id=new_id())

    def ask(_: int) -> str:
        try:
            return tracking.runs.CreateRun(request).run.run_id
        except Exception as error:
            assert "REQUEST_IN_FLIGHT" in repr(error) or "being worked on" in str(error)  # noqa: PT017
            return ""

    with ThreadPoolExecutor(12) as pool:
        made = set(pool.map(ask, range(12))) - {""}

    assert made == {tracking.runs.CreateRun(request).run.run_id}


def test_a_run_is_nested_within_its_workspace_only(tracking: Tracking) -> None:
    parent, elsewhere = tracking.a_run(), tracking.an_experiment(tracking.a_workspace())

    child = tracking.runs.CreateRun(api.CreateRunRequest(experiment_id="0", parent_run_id=parent)).run
    stranger = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id=elsewhere, parent_run_id=parent))
    orphan = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id="0", parent_run_id=NOBODY))

    assert child.parent_run_id == parent
    assert [(each.code, each.reason) for each in (stranger, orphan)] == [("NOT_FOUND", "RUN_NOT_FOUND")] * 2
    found = tracking.runs.SearchRuns(
        api.SearchRunsRequest(workspace="default", filter=f"parent_run_id = '{parent}'")
    ).runs
    assert [run.run_id for run in found] == [child.run_id]


def test_a_param_logged_with_another_value_is_refused_with_both_and_writes_nothing(tracking: Tracking) -> None:
    run_id = tracking.a_run(params={"lr": "0.1"})
    tracking.runs.LogBatch(api.LogBatchRequest(run_id=run_id, params={"lr": "0.1"}))
    batch = api.LogBatchRequest(
        run_id=run_id, params={"depth": "3", "lr": "0.2"}, tags={"t": "1"}, metrics=[line("loss", [1])]
    )

    refusal = refused(tracking.runs.LogBatch, batch)

    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "PARAM_CONFLICT")
    assert refusal.metadata == {"key": "lr", "stored": "0.1", "given": "0.2"}
    assert "'0.1'" in refusal.message
    assert "'0.2'" in refusal.message
    run = tracking.run(run_id)
    assert (dict(run.params), dict(run.tags), len(run.metrics)) == ({"lr": "0.1"}, {}, 0)


def test_of_many_values_for_a_param_one_is_kept_and_the_others_are_told_which(tracking: Tracking) -> None:
    run_id = tracking.a_run()

    def log(value: int) -> str:
        request = api.LogBatchRequest(run_id=run_id, params={"lr": str(value)})
        try:
            tracking.runs.LogBatch(request)
        except Exception:
            return refused(tracking.runs.LogBatch, request).metadata["stored"]
        return str(value)

    with ThreadPoolExecutor(16) as pool:
        told = set(pool.map(log, range(16)))

    assert told == {tracking.run(run_id).params["lr"]}


def test_tags_are_set_all_or_none_and_others_stay(tracking: Tracking) -> None:
    run_id = tracking.a_run(tags={"a": "1", "b": "2"})
    wanted = {"b": "3", "c": "4"}

    refusal = refused(tracking.runs.SetRunTags, api.SetRunTagsRequest(run_id=run_id, tags={**wanted, "": "x"}))
    before = dict(tracking.run(run_id).tags)
    answers = [tracking.runs.SetRunTags(api.SetRunTagsRequest(run_id=run_id, tags=wanted)).run for _ in range(2)]

    assert (refusal.code, refusal.reason, before) == ("INVALID_ARGUMENT", "FIELD_INVALID", {"a": "1", "b": "2"})
    assert [answer.run_id for answer in answers] == [run_id, run_id]
    assert dict(tracking.run(run_id).tags) == {"a": "1", "b": "3", "c": "4"}


def test_a_deleted_run_and_no_tags_at_all_are_refused(tracking: Tracking) -> None:
    run_id = tracking.a_run()

    nothing = refused(tracking.runs.SetRunTags, api.SetRunTagsRequest(run_id=run_id))
    tracking.runs.DeleteRun(api.DeleteRunRequest(run_id=run_id))
    deleted = refused(tracking.runs.SetRunTags, api.SetRunTagsRequest(run_id=run_id, tags={"a": "1"}))

    assert (nothing.reason, deleted.reason) == ("FIELD_INVALID", "RUN_DELETED")


def test_tags_are_removed_all_or_none(tracking: Tracking) -> None:
    run_id = tracking.a_run(tags={"a": "1", "b": "2"})

    refusal = refused(tracking.runs.DeleteRunTags, api.DeleteRunTagsRequest(run_id=run_id, keys=["a", "c"]))
    before = dict(tracking.run(run_id).tags)
    answer = tracking.runs.DeleteRunTags(api.DeleteRunTagsRequest(run_id=run_id, keys=["a"])).run

    assert (refusal.code, refusal.reason, refusal.metadata["key"]) == ("NOT_FOUND", "TAG_NOT_FOUND", "c")
    assert before == {"a": "1", "b": "2"}
    assert (answer.run_id, dict(tracking.run(run_id).tags)) == (run_id, {"b": "2"})


def test_text_of_every_script_comes_back_as_it_was(tracking: Tracking) -> None:
    text = "\u0645\u0631\u062d\u0628\u0627 \u65e5\u672c \U0001f600 e\u0301 \u202e \\ % ' \" \t\n\x01"
    run_id = tracking.a_run(name="\u65e5\u672c \U0001f600", params={"\u00e9": text}, tags={"e\u0301": text})

    run = tracking.run(run_id)

    assert (run.name, dict(run.params), dict(run.tags)) == (
        "\u65e5\u672c \U0001f600",
        {"\u00e9": text},
        {"e\u0301": text},
    )


def test_values_at_their_limits_are_taken(tracking: Tracking) -> None:
    run_id = tracking.a_run(
        name="\u65e5" * 500,
        description="\u65e5" * 100_000,
        claimed_user="u" * 250,
        request_id=new_id() * 2,
        params={"\u65e5" * 250: "\u65e5" * 6000, **{f"p{n}": "" for n in range(999)}},
        tags={"k" * 250: "v" * 8000},
    )

    run = tracking.run(run_id)

    assert (len(run.name), len(run.claimed_user), len(run.params), len(run.tags["k" * 250])) == (500, 250, 1000, 8000)
    assert len(run.description) == 100_000


Ask = Callable[[Tracking, str], tuple[Any, Any]]


def create(**fields: Any) -> Ask:
    return lambda tracking, run_id: (tracking.runs.CreateRun, api.CreateRunRequest(**({"experiment_id": "0"} | fields)))


def update(**fields: Any) -> Ask:
    paths = FieldMask(paths=[name for name in fields if name != "run_id"])
    return lambda tracking, run_id: (
        tracking.runs.UpdateRun,
        api.UpdateRunRequest(run=api.Run(**({"run_id": run_id} | fields)), update_mask=paths),
    )


def log(**fields: Any) -> Ask:
    return lambda tracking, run_id: (tracking.runs.LogBatch, api.LogBatchRequest(**({"run_id": run_id} | fields)))


def finish(**fields: Any) -> Ask:
    return lambda tracking, run_id: (tracking.runs.FinishRun, api.FinishRunRequest(**({"run_id": run_id} | fields)))


def remove(**fields: Any) -> Ask:
    return lambda tracking, run_id: (
        tracking.runs.DeleteRunTags,
        api.DeleteRunTagsRequest(**({"run_id": run_id} | fields)),
    )


def search(**fields: Any) -> Ask:
    return lambda tracking, run_id: (
        tracking.runs.SearchRuns,
        api.SearchRunsRequest(**({"workspace": "default"} | fields)),
    )


@pytest.mark.parametrize(
    ("ask", "field", "said"),
    [
        (create(experiment_id=""), "experiment_id", "''"),
        (create(experiment_id="x"), "experiment_id", "'x'"),
        (create(experiment_id="-1"), "experiment_id", "'-1'"),
        (create(experiment_id="9" * 30), "experiment_id", "whole number"),
        (create(name="n" * 501), "name", "501 characters, at most 500"),
        (create(name=" n"), "name", "white space"),
        (create(name="a\0b"), "name", "control"),
        (create(name="a\nb"), "name", "control"),
        (create(run_id="x"), "run_id", "'x'"),
        (create(run_id="A" * 32), "run_id", "lower-case"),
        (create(run_id="../../etc/passwd"), "run_id", "'../../etc/passwd'"),
        (create(parent_run_id="x"), "parent_run_id", "'x'"),
        (create(start_time=Timestamp(seconds=-1)), "start_time", "1970 to 9999"),
        (create(start_time=Timestamp(seconds=2**62)), "start_time", "1970 to 9999"),
        (create(start_time=Timestamp(seconds=10, nanos=1_999_999_999)), "start_time", "1999999999"),
        (update(end_time=Timestamp(seconds=10, nanos=-1)), "run.end_time", "-1"),
        (create(claimed_user="u" * 251), "claimed_user", "251"),
        (create(description="d" * 100_001), "description", "100001"),
        (create(params={"": "v"}), "params['']", "1 to 250"),
        (create(params={"k" * 251: "v"}), f"params['{'k' * 40}']", "251"),
        (create(params={"k": "v" * 6001}), "params['k']", "6001"),
        (create(params={str(n): "" for n in range(1001)}), "params", "1001"),
        (create(tags={"k": "v" * 8001}), "tags['k']", "8001"),
        (create(tags={"a\0": "v"}), "tags['a\\x00']", "control"),
        (create(tags={"a": "\0"}), "tags['a']", "control"),
        (create(metrics=[line("k" * 251, [1])]), "metrics[0].key", "251"),
        (create(request_id="r" * 65), "request_id", "65"),
        (update(run_id="x"), "run.run_id", "'x'"),
        (update(name=""), "run.name", "1 to 500"),
        (update(name="n" * 501), "run.name", "501"),
        (update(description="d" * 100_001), "run.description", "100001"),
        (update(status=77), "run.status", "77 is not a status that this server knows; use one of RUNNING"),
        (update(status=0), "run.status", "RUNNING"),
        (update(end_time=Timestamp(seconds=-(2**40))), "run.end_time", "1970 to 9999"),
        (update(end_time=Timestamp(seconds=2**45)), "run.end_time", "1970 to 9999"),
        (update(creator="u"), "update_mask", "'creator'"),
        (update(claimed_user="u"), "update_mask", "allowed: description, end_time, name, status"),
        (finish(run_id="x"), "run_id", "'x'"),
        (finish(status=api.RUN_STATUS_RUNNING), "status", "FINISHED, FAILED or KILLED"),
        (finish(status=99), "status", "99 is not a status that this server knows"),
        (finish(end_time=Timestamp(seconds=2**50)), "end_time", "1970 to 9999"),
        (log(run_id="x"), "run_id", "'x'"),
        (log(params={"k": "v" * 6001}), "params['k']", "it begins 'vvv"),
        (log(tags={"k" * 300: "v"}), f"tags['{'k' * 40}']", "300"),
        (log(tags={str(n): "" for n in range(1001)}), "tags", "1001"),
        (log(metrics=[line(str(n), [1]) for n in range(1001)]), "metrics", "1001"),
        (remove(run_id="x", keys=["a"]), "run_id", "'x'"),
        (remove(keys=[]), "keys", "1 to 1000"),
        (remove(keys=["k"] * 1001), "keys", "1001"),
        (remove(keys=["a", ""]), "keys[1]", "1 to 250"),
        (search(experiment_ids=["1"] * 101), "experiment_ids", "101"),
        (search(experiment_ids=["0", "x"]), "experiment_ids[1]", "'x'"),
        (search(workspace=""), "workspace", "is required"),
        (search(lifecycle=9), "lifecycle", "9 is not known to this server; use one of LIFECYCLE_FILTER_ACTIVE"),
        (search(page_size=-1), "page_size", "-1"),
        (search(order_by=["start_time"] * 9), "order_by", "9"),
        (search(read_mask=FieldMask(paths=["metrics", "secrets"])), "read_mask", "'secrets'"),
        (search(filter="name = 'a' AND"), "filter", "column 15"),
        (search(filter="name = " + "x" * 100_000), "filter", ""),
        (search(filter="user = 'ann'"), "filter", "run_id, name, status, creator, claimed_user, start_time, end_time"),
        (search(order_by=["metrics.acc UP"]), "order_by[0]", "UP"),
    ],
)
def test_a_field_outside_its_limits_is_refused_by_its_path_with_value_and_rule(
    tracking: Tracking, ask: Ask, field: str, said: str
) -> None:
    run_id = tracking.a_run(name="as it was")
    before = tracking.run(run_id)

    refusal = refused(*ask(tracking, run_id))

    assert (refusal.code, refusal.domain) == ("INVALID_ARGUMENT", "modelry.dev")
    assert refusal.reason in ("FIELD_INVALID", "FILTER_SYNTAX")
    assert list(refusal.violations) == [field]
    assert said in refusal.violations[field]
    assert tracking.run(run_id) == before


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: (t.runs.GetRun, api.GetRunRequest(run_id=NOBODY)),
        lambda t: (t.runs.UpdateRun, api.UpdateRunRequest(run=api.Run(run_id=NOBODY, name="n"))),
        lambda t: (t.runs.FinishRun, api.FinishRunRequest(run_id=NOBODY)),
        lambda t: (t.runs.DeleteRun, api.DeleteRunRequest(run_id=NOBODY)),
        lambda t: (t.runs.RestoreRun, api.RestoreRunRequest(run_id=NOBODY)),
        lambda t: (t.runs.LogBatch, api.LogBatchRequest(run_id=NOBODY, tags={"a": "1"})),
        lambda t: (t.runs.DeleteRunTags, api.DeleteRunTagsRequest(run_id=NOBODY, keys=["a"])),
    ],
)
def test_a_run_that_is_not_there_is_named(tracking: Tracking, ask: Callable[[Tracking], tuple[Any, Any]]) -> None:
    refusal = refused(*ask(tracking))

    assert (refusal.code, refusal.reason, refusal.resource) == ("NOT_FOUND", "RUN_NOT_FOUND", ("run", NOBODY))


def test_a_batch_with_a_mistake_in_its_last_entry_writes_nothing(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    broken = api.MetricColumns(key="acc", steps=[1], times_ms=[], values=[1])

    refusal = refused(
        tracking.runs.LogBatch,
        api.LogBatchRequest(run_id=run_id, params={"a": "1"}, tags={"b": "2"}, metrics=[line("loss", [1]), broken]),
    )

    assert list(refusal.violations) == ["metrics[1]"]
    run = tracking.run(run_id)
    assert (len(run.params), len(run.tags), len(run.metrics)) == (0, 0, 0)
    assert tracking.points(run_id, "loss") == []


def test_a_hundred_mistakes_are_told_within_what_a_client_receives(tracking: Tracking) -> None:
    tags = {f"\u65e5\u672c{n}" + "\x01\u8a9e" * 100: "v" for n in range(1000)}

    refusal = refused(tracking.runs.LogBatch, api.LogBatchRequest(run_id=tracking.a_run(), tags=tags))

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert refusal.violations


def test_values_as_long_as_they_may_be_are_refused_within_what_a_client_receives(tracking: Tracking) -> None:
    run_id = tracking.a_run(params={"\u65e5" * 250: "\u65e5" * 6000})

    refusal = refused(
        tracking.runs.LogBatch, api.LogBatchRequest(run_id=run_id, params={"\u65e5" * 250: "\u8a9e" * 6000})
    )

    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "PARAM_CONFLICT")
    assert refusal.metadata["stored"].startswith("\u65e5")


def test_a_message_over_the_limit_is_refused_and_the_connection_goes_on(tracking: Tracking) -> None:
    run_id = tracking.a_run()

    refusal = refused(tracking.runs.LogBatch, api.LogBatchRequest(run_id=run_id, tags={"t": "x" * (5 << 20)}))

    assert refusal.code == "RESOURCE_EXHAUSTED"
    assert tracking.run(run_id).run_id == run_id


def test_what_the_loop_logged_is_what_a_reader_gets_while_the_run_goes_on(tracking: Tracking) -> None:
    run_id = tracking.a_run()

    for step in range(1, 31):
        tracking.metrics.WriteMetrics(
            api.WriteMetricsRequest(run_id=run_id, writer_id="loop", batch_number=step, metrics=[line("loss", [step])])
        )
        assert tracking.points(run_id, "loss") == points_of(line("", range(1, step + 1)))
