from __future__ import annotations

from typing import Any

from modelry._sdk.spooling import queued
from modelry._sdk.spooling.numbering import Numbering, split, subjects_of
from modelry._sdk.spooling.queued import LOG_BATCH, WRITE_METRICS, QueuedRequest
from modelry.api.tracking import v1 as tracking


def a_batch(number: int, *keys: str, writer: str = "w") -> QueuedRequest:
    message = tracking.WriteMetricsRequest(run_id="r", writer_id=writer, batch_number=number)
    for key in keys or ("a",):
        message.metrics.add(key=key, steps=[number], times_ms=[0], values=[0.5])
    return QueuedRequest(WRITE_METRICS, message.SerializeToString(), points=len(keys))


def names(requests: list[QueuedRequest]) -> list[tuple[str, int]]:
    read = [tracking.WriteMetricsRequest.FromString(request.content) for request in requests]
    return [(message.writer_id, message.batch_number) for message in read]


def test_without_a_refusal_nothing_is_renumbered() -> None:
    batch = a_batch(4)

    Numbering().apply(batch)

    assert names([batch]) == [("w", 4)]


def test_after_a_refusal_the_rest_goes_on_under_another_writer() -> None:
    numbering = Numbering()
    rest = [a_batch(6), a_batch(7), a_batch(1, writer="other")]

    numbering.succeed(a_batch(5), "after")
    for batch in rest:
        numbering.apply(batch)

    (first, one), (second, two), other = names(rest)
    assert first == second != "w"
    assert (one, two) == (1, 2)
    assert other == ("other", 1)


def test_who_sends_the_same_again_arrives_at_the_same_names() -> None:
    once, again = Numbering(), Numbering()
    outcomes = []
    for numbering in (once, again):
        numbering.succeed(a_batch(5), "after")
        batch = a_batch(6)
        numbering.apply(batch)
        outcomes.append(names([batch]))

    assert outcomes[0] == outcomes[1]


def test_a_name_says_which_batch_is_the_first_of_a_new_writer() -> None:
    """Else two batches could get one number of one writer, and the server would take the second for the first."""
    names_of_one = []
    for why in ("after", "from"):
        numbering, later = Numbering(), a_batch(6)
        numbering.succeed(a_batch(5), why)
        numbering.apply(later)
        names_of_one += names([later])
    for why in ("part 0", "alone"):
        batch = a_batch(5)
        Numbering().isolate(batch, why)
        names_of_one += names([batch])

    assert len(set(names_of_one)) == 4


def test_a_second_refusal_begins_a_third_writer_for_what_comes_of_the_first() -> None:
    numbering = Numbering()
    numbering.succeed(a_batch(5), "after")
    refused, later = a_batch(6), a_batch(7)
    numbering.apply(refused)

    numbering.succeed(refused, "after")
    numbering.apply(later)

    writer, number = names([later])[0]
    assert writer not in {"w", names([refused])[0][0]}
    assert number == 1


def test_a_refused_batch_is_split_by_metric_and_only_the_last_part_ends_it() -> None:
    batch = a_batch(1, "a", "b", "c")
    batch.end = 77

    parts = split(batch)

    messages = [tracking.WriteMetricsRequest.FromString(part.content) for part in parts]
    assert [[columns.key for columns in message.metrics] for message in messages] == [["a"], ["b"], ["c"]]
    assert [part.end for part in parts] == [0, 0, 77]
    assert split(a_batch(1, "a")) == []


def test_refused_params_and_tags_are_split_one_by_one() -> None:
    message = tracking.LogBatchRequest(run_id="r", params={"p": "1"}, tags={"t": "2"})

    parts = split(QueuedRequest(LOG_BATCH, message.SerializeToString()))

    read = [tracking.LogBatchRequest.FromString(part.content) for part in parts]
    assert [(dict(each.params), dict(each.tags)) for each in read] == [({"p": "1"}, {}), ({}, {"t": "2"})]


def _request(rpc: Any, **fields: Any) -> QueuedRequest:
    return QueuedRequest(rpc.path, rpc.request(run_id="r", **fields).SerializeToString())


def _update(*paths: str) -> QueuedRequest:
    request = tracking.UpdateRunRequest(run=tracking.Run(run_id="r"))
    request.update_mask.paths.extend(paths)
    return QueuedRequest(queued.UPDATE_RUN, request.SerializeToString())


def test_requests_have_the_subjects_of_which_the_later_one_wins() -> None:
    rpcs = tracking.rpcs
    status = {"status", "end_time"}

    assert subjects_of(_request(rpcs.LOG_BATCH, params={"a": "1"}, tags={"b": "2"})) == {"param a", "tag b"}
    assert subjects_of(_request(rpcs.DELETE_RUN_TAGS, keys=["b", "c"])) == {"tag b", "tag c"}
    assert subjects_of(_update("name", "description")) == {"name", "description"}
    assert subjects_of(_update("*")) == subjects_of(_update()) == {"name", "description"} | status
    assert subjects_of(_request(rpcs.FINISH_RUN)) == status
    assert subjects_of(_request(rpcs.WRITE_METRICS)) == subjects_of(_request(rpcs.LOG_DATASETS)) == set()
