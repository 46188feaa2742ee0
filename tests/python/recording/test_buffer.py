from __future__ import annotations

import argparse
import enum
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from modelry._sdk.recording.buffer import FULL, KEYS_PER_BATCH, POINTS_PER_BATCH, Buffer
from modelry._sdk.spooling.queued import CREATE_RUN, LOG_BATCH, WRITE_METRICS, QueuedRequest
from modelry.api.tracking import v1 as tracking

RUN_ID = "0" * 32


class Hostile:
    """A value of another library that raises what it likes, also where it is shown."""

    def __float__(self) -> float:
        raise LookupError("no")

    def __repr__(self) -> str:
        raise LookupError("no")


class Colour(enum.Enum):
    RED = 1


class Word(enum.StrEnum):
    RED = "red"


@dataclass
class Config:
    depth: int


class Pairs(Mapping[Any, int]):
    """A mapping with a key that can't be hashed."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def __getitem__(self, key: Any) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return iter([self._key])

    def __len__(self) -> int:
        return 1


class Listener:
    def __init__(self) -> None:
        self.woken: list[bool] = []
        self.refused: list[str] = []

    def wake(self, buffer: Buffer, urgent: bool) -> None:
        self.woken.append(urgent)

    def refuse(self, kind: str, key: str, text: str) -> None:
        self.refused.append(text)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def buffer(listener: Listener) -> Buffer:
    return Buffer(RUN_ID, listener.wake, listener.refuse)


def take(buffer: Buffer) -> list[QueuedRequest]:
    queue: deque[QueuedRequest] = deque()
    buffer.move_to(queue)
    return list(queue)


def batches(requests: Iterable[QueuedRequest]) -> list[tracking.WriteMetricsRequest]:
    return [tracking.WriteMetricsRequest.FromString(each.content) for each in requests if each.method == WRITE_METRICS]


def points(requests: Iterable[QueuedRequest]) -> list[tuple[str, int, float]]:
    return [
        (columns.key, step, value)
        for batch in batches(requests)
        for columns in batch.metrics
        for step, value in zip(columns.steps, columns.values, strict=True)
    ]


def test_points_come_out_as_columns_in_a_numbered_batch(buffer: Buffer) -> None:
    buffer.log_metric("loss", 0.5, 3, 1_000)
    buffer.log_metric("loss", 0.25, None, 2_000)
    first = take(buffer)
    buffer.log_metric("loss", 0.125, 4, 3_000)
    second = take(buffer)

    assert points(first) == [("loss", 3, 0.5), ("loss", 0, 0.25)]
    assert points(second) == [("loss", 4, 0.125)]
    assert [batch.batch_number for batch in batches([*first, *second])] == [1, 2]
    assert len({batch.writer_id for batch in batches([*first, *second])}) == 1


@pytest.mark.parametrize(
    ("key", "value", "step"),
    [
        ("a", "0.5x", 1),
        ("a", b"1", 1),
        ("a", Hostile(), 1),
        ("a", None, 1),
        ("a", [1.0, 2.0], 1),
        ("a", 1.0, "1"),
        ("a", 1.0, 1.5),
        ("a", 1.0, 2**63),
        ("", 1.0, 1),
        ("k" * 251, 1.0, 1),
    ],
)
def test_what_is_no_point_is_refused_and_leaves_the_columns_whole(
    buffer: Buffer, listener: Listener, key: str, value: float, step: int
) -> None:
    buffer.log_metric("a", 1.0, 1)
    buffer.log_metric(key, value, step)
    buffer.log_metric("a", 2.0, 2)

    assert points(take(buffer)) == [("a", 1, 1.0), ("a", 2, 2.0)]
    assert len(listener.refused) == 1


def test_numbers_of_other_libraries_are_numbers(buffer: Buffer) -> None:
    import numpy as np

    buffer.log_metric("a", np.float32(0.5), np.int64(3))  # type: ignore[arg-type]
    buffer.log_metric("a", True, 4.0)  # type: ignore[arg-type]

    assert points(take(buffer)) == [("a", 3, 0.5), ("a", 4, 1.0)]


def test_one_element_and_a_numeric_text_are_numbers(buffer: Buffer, listener: Listener) -> None:
    import numpy as np

    for step, value in enumerate([np.array([0.25]), np.array([[2]]), np.array(3.5), "0.9", " 1e3 "]):
        buffer.log_metric("a", value, step)  # type: ignore[arg-type]
    for wrong in (np.array([1.0, 2.0]), np.complex64(1), np.array([1j])):
        buffer.log_metric("b", wrong)  # type: ignore[arg-type]

    assert points(take(buffer)) == [("a", 0, 0.25), ("a", 1, 2.0), ("a", 2, 3.5), ("a", 3, 0.9), ("a", 4, 1000.0)]
    assert [text[:10] for text in listener.refused] == ["metric 'b'"] * 3


def test_a_time_is_milliseconds_or_a_datetime_and_nothing_else(buffer: Buffer, listener: Listener) -> None:
    import numpy as np

    for timestamp in (5, 6.5, datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)):
        buffer.log_metric("a", 1.0, 0, timestamp)
    for wrong in ("now", math.nan, math.inf, [1], np.datetime64("NaT")):
        buffer.log_metric("a", 1.0, 0, wrong)  # type: ignore[arg-type]

    (batch,) = batches(take(buffer))
    assert list(batch.metrics[0].times_ms) == [5, 6, 7000]
    assert "milliseconds since 1970 or a datetime" in listener.refused[0]
    assert [text for text in listener.refused if "time 'now'" in text]


def test_nan_infinity_and_negative_zero_are_values(buffer: Buffer) -> None:
    for value in (math.nan, math.inf, -math.inf, -0.0, 5e-324):
        buffer.log_metric("a", value)

    values = [value for _, _, value in points(take(buffer))]

    assert [value.hex() for value in values] == ["nan", "inf", "-inf", "-0x0.0p+0", "0x0.0000000000001p-1022"]


def test_many_points_are_split_into_batches_within_the_limits(buffer: Buffer) -> None:
    count = 2 * POINTS_PER_BATCH + 7
    for step in range(count):
        buffer.log_metric("a", 0.5, step)
    for number in range(KEYS_PER_BATCH + 1):
        buffer.log_metric(f"key{number}", 0.5)
    taken = take(buffer)

    assert sum(request.points for request in taken) == count + KEYS_PER_BATCH + 1
    assert max(request.points for request in taken) <= POINTS_PER_BATCH
    assert max(len(batch.metrics) for batch in batches(taken)) <= KEYS_PER_BATCH
    assert max(len(request.content) for request in taken) < 1 << 20
    assert [batch.batch_number for batch in batches(taken)] == list(range(1, len(taken) + 1))
    assert [step for key, step, _ in points(taken) if key == "a"] == list(range(count))


def test_it_wakes_the_recorder_at_the_first_entry_and_when_it_is_full(buffer: Buffer, listener: Listener) -> None:
    for step in range(FULL + 5):
        buffer.log_metric("a", 0.5, step)

    assert listener.woken == [False, True]


def test_params_and_tags_travel_together_after_the_points(buffer: Buffer) -> None:
    buffer.log_params({"lr": 0.1})
    buffer.log_metric("a", 1.0)
    buffer.set_tags({"colour": "red"})
    buffer.set_tags({"colour": "blue", "b": "\udc80"})
    taken = take(buffer)

    texts = tracking.LogBatchRequest.FromString(taken[1].content)
    assert [request.method for request in taken] == [WRITE_METRICS, LOG_BATCH]
    assert (dict(texts.params), dict(texts.tags)) == ({"lr": "0.1"}, {"colour": "blue", "b": "\\udc80"})


@pytest.mark.parametrize("key", [7, 0.5, None, ("a", 1), ["a"], Colour.RED, Word.RED, "\udc80"])
def test_a_key_of_any_type_is_the_same_text_in_metrics_params_and_tags(
    buffer: Buffer, listener: Listener, key: Any
) -> None:
    buffer.log_metrics({key: 1.0} if key.__hash__ else Pairs(key), 0, None)
    buffer.log_params({key: 1} if key.__hash__ else Pairs(key))
    buffer.set_tags({key: 1} if key.__hash__ else Pairs(key))
    taken = take(buffer)

    texts = tracking.LogBatchRequest.FromString(taken[1].content)
    (name,) = texts.params
    assert (list(texts.tags), [point[0] for point in points(taken)]) == ([name], [name])
    assert listener.refused == []


def test_what_cant_be_shown_or_has_no_keys_raises_nothing(buffer: Buffer, listener: Listener) -> None:
    buffer.log_params({"hostile": Hostile()})
    buffer.log_params(5)  # type: ignore[arg-type]
    buffer.set_tags(["a"])  # type: ignore[arg-type]
    buffer.log_metrics("a", 0, None)  # type: ignore[arg-type]

    (texts,) = [tracking.LogBatchRequest.FromString(request.content) for request in take(buffer)]
    assert "Hostile that can't be shown" in texts.params["hostile"]
    assert [text.split(" must be a mapping")[0] for text in listener.refused] == ["params", "tags", "metrics"]


def test_configuration_objects_are_params_by_their_members(buffer: Buffer) -> None:
    buffer.log_params(argparse.Namespace(lr=0.1, layers=[1, 2]))  # type: ignore[arg-type]
    buffer.log_params(Config(depth=3))  # type: ignore[arg-type]
    (texts,) = [tracking.LogBatchRequest.FromString(request.content) for request in take(buffer)]

    assert dict(texts.params) == {"lr": "0.1", "layers": "[1, 2]", "depth": "3"}


@pytest.mark.parametrize("unit", [1_000, 1_000_000, 1_000_000_000])
def test_a_time_in_another_unit_is_taken_in_that_unit_and_told_once(
    buffer: Buffer, caplog: pytest.LogCaptureFixture, unit: int
) -> None:
    moment = 1_700_000_000_123
    with caplog.at_level(logging.WARNING, "modelry"):
        for step in range(3):
            buffer.log_metric("a", 1.0, step, moment * unit // 1_000_000 if unit > 1_000 else moment / 1_000)
    (batch,) = batches(take(buffer))

    assert list(batch.metrics[0].times_ms) == [moment] * 3
    assert len(caplog.messages) == (0 if unit == 1_000_000 else 1)


def test_a_time_may_be_a_date_or_that_of_another_library(buffer: Buffer) -> None:
    import numpy as np
    import pandas as pd

    moment = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
    naive = np.datetime64(moment.replace(tzinfo=None))
    for given in (moment, naive, naive.astype("datetime64[ns]"), pd.Timestamp(moment), np.float64(moment.timestamp())):
        buffer.log_metric("a", 1.0, 0, given)  # type: ignore[arg-type]
    buffer.log_metric("b", 1.0, 0, date(2026, 3, 4))  # type: ignore[arg-type]
    (batch,) = batches(take(buffer))

    assert list(batch.metrics[0].times_ms) == [int(moment.timestamp() * 1000)] * 5
    assert list(batch.metrics[1].times_ms) == [int(datetime(2026, 3, 4).timestamp() * 1000)]  # noqa: DTZ001


def test_a_time_of_numpy_has_its_unit_and_needs_no_warning(buffer: Buffer, caplog: pytest.LogCaptureFixture) -> None:
    import numpy as np

    with caplog.at_level(logging.WARNING, "modelry"):
        buffer.log_metric("a", 1.0, 0, np.datetime64("2026-01-02T03:04:05.5", "ns"))  # type: ignore[arg-type]
    (batch,) = batches(take(buffer))

    assert list(batch.metrics[0].times_ms) == [1_767_323_045_500]
    assert caplog.messages == []


def test_a_param_with_two_values_is_sent_twice_so_that_the_server_refuses_the_second(buffer: Buffer) -> None:
    buffer.log_params({"lr": 0.1})
    buffer.log_params({"lr": 0.2})
    sent = [tracking.LogBatchRequest.FromString(request.content) for request in take(buffer)]

    assert [dict(texts.params) for texts in sent] == [{"lr": "0.1"}, {"lr": "0.2"}]


def test_large_params_are_split_so_that_no_message_is_over_a_mebibyte_and_a_param(buffer: Buffer) -> None:
    buffer.log_params({f"p{number}": "x" * 6000 for number in range(1000)})
    taken = take(buffer)

    assert len(taken) > 1
    assert max(len(request.content) for request in taken) < (1 << 20) + 20_000


def test_a_renewed_buffer_is_empty_and_another_writer(buffer: Buffer) -> None:
    buffer.log_metric("a", 1.0)
    before = batches(take(buffer))[0].writer_id
    buffer.log_metric("a", 2.0)
    buffer.renew()
    nothing = take(buffer)
    buffer.log_metric("a", 3.0)
    batch = batches(take(buffer))[0]

    assert nothing == []
    assert batch.writer_id != before
    assert batch.batch_number == 1


class Interrupting:
    """A number during whose conversion something happens, as a signal may come at any time."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    def __float__(self) -> float:
        self._happens()
        return 9.0

    def __index__(self) -> int:
        self._happens()
        return 9


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["value", "step", "timestamp"])
def test_an_interrupted_point_leaves_the_others_whole(buffer: Buffer, place: str) -> None:
    arguments: dict[str, Any] = {"value": 2.0, "step": 2, "timestamp": 2, place: Interrupting(interrupt)}
    buffer.log_metric("a", 1.0, 1)
    with pytest.raises(KeyboardInterrupt):
        buffer.log_metric("a", **arguments)
    buffer.log_metric("a", 3.0, 3)

    assert points(take(buffer)) == [("a", 1, 1.0), ("a", 3, 3.0)]


def test_a_signal_handler_logs_ends_and_takes_inside_an_unfinished_call(buffer: Buffer) -> None:
    taken: list[QueuedRequest] = []

    def handler() -> None:
        buffer.log_metric("a", 5.0, 5)
        buffer.log_params({"why": "signal"})
        buffer.add(QueuedRequest("finish", b""), urgent=True)
        taken.extend(take(buffer))

    buffer.log_metric("a", 1.0, 1)
    buffer.log_metric("a", Interrupting(handler), 9)  # type: ignore[arg-type]

    assert points(taken[:1]) == [("a", 1, 1.0), ("a", 5, 5.0)]
    assert [request.method for request in taken] == [WRITE_METRICS, LOG_BATCH, "finish"]
    assert points(take(buffer)) == [("a", 9, 9.0)]


def test_a_wake_that_is_interrupted_is_made_up_for_by_the_next_entry(listener: Listener) -> None:
    woken: list[bool] = []

    def wake(_: Buffer, urgent: bool) -> None:
        woken.append(urgent)
        if len(woken) == 1:
            raise KeyboardInterrupt

    buffer = Buffer(RUN_ID, wake, listener.refuse)
    with pytest.raises(KeyboardInterrupt):
        buffer.log_metric("a", 1.0, 1)
    buffer.log_metric("a", 2.0, 2)

    assert woken == [False, False]
    assert points(take(buffer)) == [("a", 1, 1.0), ("a", 2, 2.0)]


def test_threads_that_log_while_it_is_taken_lose_and_double_nothing(buffer: Buffer) -> None:
    count, taken = 20_000, list[QueuedRequest]()

    def log(key: str) -> None:
        for step in range(count):
            buffer.log_metric(key, 0.5, step)

    with ThreadPoolExecutor(3) as pool:
        logging = [pool.submit(log, key) for key in ("a", "b", "b")]
        while not all(each.done() for each in logging):
            taken += take(buffer)
    taken += take(buffer)

    found = points(taken)
    assert [step for key, step, _ in found if key == "a"] == list(range(count))
    assert sorted(step for key, step, _ in found if key == "b") == sorted([*range(count), *range(count)])


def test_a_point_comes_after_the_start_and_before_the_end_whenever_it_is_taken(listener: Listener) -> None:
    for _ in range(200):
        buffer, taken = Buffer(RUN_ID, listener.wake, listener.refuse), list[QueuedRequest]()

        def log(buffer: Buffer = buffer) -> None:
            buffer.add(QueuedRequest(CREATE_RUN, b""))
            buffer.log_metric("a", 1.0, 1)
            buffer.add(QueuedRequest("finish", b""))

        thread = threading.Thread(target=log)
        thread.start()
        while thread.is_alive():
            taken += take(buffer)
        taken += take(buffer)

        assert [request.method for request in taken] == [CREATE_RUN, WRITE_METRICS, "finish"]
