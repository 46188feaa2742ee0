"""What a message holds is counted in its bytes, as the parser would find it."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import ListValue, Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import KEYS_PER_CALL
from modelry_server.kernel.transport import wire
from modelry_server.kernel.transport.limits.gate import Gate
from modelry_server.kernel.transport.messages import MESSAGE_BYTES, parsed
from modelry_server.kernel.transport.wire import MOST_FIELDS, MOST_NUMBERS, MOST_OF_RUN, Counted, count
from modelry_server.tracking.domain import metrics, totals

ANY = 1 << 30
BATCH = tracking.LogBatchRequest
EMPTY_ITEM = b"\x12\x00"  # of LogBatchRequest.metrics
GROUP = b"\x7b\x7c"  # begins and ends


def arrived(kind: Any, content: bytes) -> Any:
    return parsed(Gate("large", 1, 1, 1, MESSAGE_BYTES), kind.FromString, content)


def refused(kind: Any, content: bytes) -> str:
    with pytest.raises(FieldInvalid) as caught:
        arrived(kind, content)
    assert list(caught.value.violations) == ["message"]
    return caught.value.violations["message"]


def expected(message: Any) -> Counted:
    """What a message holds, found in the parsed one."""
    fields = numbers = 0
    for field, value in message.ListFields():
        is_map = field.message_type and field.message_type.GetOptions().map_entry
        if is_map:
            fields += 3 * len(value)
            inner = value.values() if field.message_type.fields_by_name["value"].message_type else ()
        elif not field.is_repeated:
            fields += 1
            inner = (value,) if field.message_type else ()
        elif field.is_packed:
            fields += 1
            numbers += 0 if field.type == FieldDescriptor.TYPE_DOUBLE else len(value)
            inner = ()
        else:
            fields += len(value)
            inner = value if field.message_type else ()
        for each in inner:
            found = expected(each)
            fields, numbers = fields + found.fields, numbers + found.numbers
    return Counted(fields, numbers)


TEXTS = st.text(max_size=300)
LABELS = st.dictionaries(TEXTS, TEXTS, max_size=5)
NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50)
COLUMNS = st.builds(
    tracking.MetricColumns, key=TEXTS, steps=NUMBERS, times_ms=NUMBERS, values=st.lists(st.floats(), max_size=50)
)
TIMES = st.builds(Timestamp, seconds=st.integers(0, 2**33), nanos=st.integers(0, 999_999_999))
DATASETS = st.builds(tracking.Dataset, name=TEXTS, digest=TEXTS, create_time=TIMES)
INPUTS = st.builds(tracking.DatasetInput, dataset=DATASETS, context=TEXTS)
SUMMARIES = st.builds(tracking.MetricSummary, key=TEXTS, last_value=st.floats(), min_step=st.integers(-(2**63), 0))
RUNS = st.builds(
    tracking.Run,
    params=LABELS,
    metrics=st.lists(SUMMARIES, max_size=5),
    datasets=st.lists(INPUTS, max_size=5),
    end_time=TIMES,
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
)


def structure(content: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(content)
    return made


@given(
    st.one_of(
        st.builds(BATCH, run_id=TEXTS, metrics=st.lists(COLUMNS, max_size=5), params=LABELS, tags=LABELS),
        st.builds(tracking.UpdateRunRequest, run=RUNS),
        st.builds(tracking.ReadMetricsRequest, run_ids=st.lists(TEXTS), max_points=st.integers(0, 2**31 - 1)),
        st.dictionaries(TEXTS, VALUES, max_size=4).map(structure),
    )
)
def test_what_is_counted_is_what_the_message_holds(message: Any) -> None:
    content = message.SerializeToString()

    found = expected(message)

    assert count(message.DESCRIPTOR, content, ANY, ANY) == found
    assert count(message.DESCRIPTOR, content, *found) == found
    if found.fields:
        assert count(message.DESCRIPTOR, content, found.fields - 1, ANY).fields == found.fields  # it ends there
    if found.numbers:
        assert count(message.DESCRIPTOR, content, ANY, found.numbers - 1).numbers > found.numbers - 1


@given(st.binary(max_size=60), st.integers(0, 60))
def test_what_the_parser_takes_is_counted_or_has_a_group(content: bytes, cut: int) -> None:
    valid = BATCH(metrics=[tracking.MetricColumns(key="a", steps=[-1])], params={"a": "b"}).SerializeToString()
    mixed = valid[:cut] + content + valid[cut:]
    try:
        parsed_ = BATCH.FromString(mixed)
    except DecodeError:
        return

    try:
        found = count(BATCH.DESCRIPTOR, mixed, ANY, ANY)
    except DecodeError as error:
        if not re.fullmatch("a field has wire type [34]", str(error)):
            raise
    else:
        assert found.fields >= len(parsed_.metrics) + len(parsed_.params) + len(parsed_.tags)


@pytest.mark.parametrize(
    ("content", "fields", "numbers"),
    [
        (b"", 0, 0),
        (b"\x12\x02\x0a\x00", 2, 0),  # metrics, with a key
        (b"\x12\x05\x12\x03\x01\x80\x01", 2, 2),  # metrics, with steps in a list
        (b"\x12\x06\x10\x01\x10\x80\x80\x00", 3, 0),  # metrics, with steps one by one
        (b"\x12\x0a\x22\x08" + b"\x00" * 8, 2, 0),  # metrics, with a value
        (b"\x10\x01", 1, 0),  # a number where metrics belong is an unknown field
        (b"\xfa\x7f\x04\x12\x00\x12\x00", 1, 0),  # an unknown field is not looked into
        (b"\xf8\x7f" + b"\xff" * 9 + b"\x01" + b"\xfd\x7f" + b"\0" * 4 + b"\xf9\x7f" + b"\0" * 8, 3, 0),
        (b"\x92\x80\x80\x80\x00\x80\x80\x80\x80\x00", 1, 0),  # a tag and a length with more bytes than they need
    ],
)
def test_each_field_counts_once_with_those_in_it(content: bytes, fields: int, numbers: int) -> None:
    BATCH.FromString(content)

    assert count(BATCH.DESCRIPTOR, content, ANY, ANY) == (fields, numbers)


@pytest.mark.parametrize(
    "content",
    [
        b"\x12",  # no length
        b"\x12\x80",
        b"\x12\x01",  # no content
        b"\x0a\x02a",
        b"\x92",
        b"\x78",
        b"\x78\x80",
        b"\x79\0\0",
        b"\x12\x02\x0a\x01" + EMPTY_ITEM,  # a text that ends after its message
        b"\x12\x02\x12\x01\x01" + EMPTY_ITEM,
        b"\x1a\x02\x12\x7f",
        b"\x78" + b"\xff" * 10 + b"\x01",
        b"\x92\x80\x80\x80\x80\x00\x00",
        b"\x12\x80\x80\x80\x80\x80\x00",
        b"\x16",
        b"\x17",
        b"\0\0",  # the number 0
        b"\x80\x80\0\0",
        b"\x02\0",
    ],
)
def test_what_the_parser_refuses_is_not_counted(content: bytes) -> None:
    with pytest.raises(DecodeError):
        BATCH.FromString(content)
    with pytest.raises(DecodeError):
        count(BATCH.DESCRIPTOR, content, ANY, ANY)


def test_messages_in_messages_are_counted_however_deep() -> None:
    content = b""
    for _ in range(3000):
        content = _delimited(1, _delimited(6, content))  # Value.list_value, ListValue.values

    assert count(ListValue.DESCRIPTOR, content, ANY, ANY).fields == 6000
    with pytest.raises(DecodeError):
        ListValue.FromString(content)


@pytest.mark.parametrize(
    ("kind", "item"),
    [
        (BATCH, EMPTY_ITEM),
        (BATCH, b"\x1a\x04\x0a\x00\x12\x00"),  # entries of a map
        (BATCH, b"\xfa\x7f\x00"),  # an unknown field
        (tracking.DeleteRunTagsRequest, b"\x12\x00"),
        (access.GetWorkspaceRequest, b"\x0a\x00"),  # one text again and again
    ],
)
def test_a_message_of_nothing_but_items_is_refused_and_not_parsed(kind: Any, item: bytes) -> None:
    content = item * (MESSAGE_BYTES // len(item))
    seen = []

    def deserialize(content: bytes) -> Any:
        seen.append(len(content))
        return kind.FromString(content)

    with pytest.raises(FieldInvalid, match=f"message: has more than {MOST_FIELDS} fields"):
        parsed(Gate("large", 1, 1, 1, MESSAGE_BYTES), deserialize, content)
    assert max(seen) == 0


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (BATCH, MOST_FIELDS),
        (tracking.UpdateRunRequest, MOST_OF_RUN),
        (tracking.UpdateExperimentRequest, MOST_FIELDS),
    ],
    ids=["any", "a run", "an experiment"],
)
def test_a_message_with_as_many_fields_as_can_be_is_parsed(kind: Any, most: int) -> None:
    unknown = b"\xfa\x7f\x10" + b"a" * 16
    content = unknown * (most - 1)

    assert arrived(kind, content + unknown).ByteSize() == most * len(unknown)
    assert "several smaller requests" in refused(kind, content + unknown * 2)


@pytest.mark.parametrize("item", [b"\x08\x00", b"\x12\x00", b"\x12\x02\x08\x01", b"\x00\x00"])
def test_q06_a_message_that_is_small_with_gzip_is_refused_for_little_work(item: bytes) -> None:
    content = item * (MESSAGE_BYTES // len(item))
    steps = 0

    def note(frame: Any, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        refused(BATCH, content)
    finally:
        sys.settrace(before)

    assert steps < 500_000


def test_a_message_with_as_many_numbers_as_can_be_is_parsed() -> None:
    def of(numbers: int) -> bytes:
        columns = [tracking.MetricColumns(steps=[1] * (numbers - 5), times_ms=[-1] * 5)]
        return bytes(tracking.WriteMetricsRequest(metrics=columns).SerializeToString())

    assert len(arrived(tracking.WriteMetricsRequest, of(MOST_NUMBERS)).metrics[0].steps) == MOST_NUMBERS - 5
    assert f"has more than {MOST_NUMBERS} numbers" in refused(tracking.WriteMetricsRequest, of(MOST_NUMBERS + 1))


def test_a_message_that_is_not_looked_at_can_hold_no_more() -> None:
    update, content = tracking.UpdateRunRequest.DESCRIPTOR, EMPTY_ITEM * MOST_OF_RUN

    assert count(update, content, ANY, ANY).fields == MOST_OF_RUN == MOST_NUMBERS // 2
    wire.judge(update, content)
    with pytest.raises(FieldInvalid):
        wire.judge(update, content + EMPTY_ITEM)


@pytest.mark.parametrize("hidden", [GROUP, b"\x0a\xff", b"\x16"])
def test_nothing_hides_what_comes_after_it(hidden: bytes) -> None:
    with pytest.raises(FieldInvalid, match="message"):
        arrived(BATCH, hidden + EMPTY_ITEM * 2_000_000)


def test_a_batch_at_all_its_limits_is_taken() -> None:
    labels = {f"{at:0200}": "value" for at in range(KEYS_PER_CALL)}
    each = metrics.BATCH_POINTS // metrics.BATCH_KEYS
    columns = [
        tracking.MetricColumns(key=f"{at:0200}", steps=[-1] * each, times_ms=[-1] * each, values=[1.5] * each)
        for at in range(metrics.BATCH_KEYS)
    ]
    batch = BATCH(run_id="a" * 32, metrics=columns, params=labels, tags=labels)
    content = batch.SerializeToString()

    assert len(content) > 2 * MOST_FIELDS
    assert arrived(BATCH, content) == batch


def test_a_run_that_is_filled_to_all_limits_may_be_sent_in_an_update() -> None:
    time_ = Timestamp(seconds=1, nanos=1)
    number = {field.name: 1 for field in tracking.MetricSummary.DESCRIPTOR.fields if field.name != "key"}
    dataset = {
        field.name: "a" for field in tracking.Dataset.DESCRIPTOR.fields if field.type == FieldDescriptor.TYPE_STRING
    }
    run = tracking.Run(
        params={str(at): "a" for at in range(totals.MOST_PARAMS)},
        tags={str(at): "a" for at in range(KEYS_PER_CALL)},
        metrics=[tracking.MetricSummary(key=str(at), **number) for at in range(totals.MOST_METRICS)],
        datasets=[tracking.DatasetInput(dataset=tracking.Dataset(**dataset, create_time=time_), context="a")]
        * totals.MOST_DATASETS,
    )
    request = tracking.UpdateRunRequest(run=run)
    content = request.SerializeToString()

    assert len(content) > 2 * MOST_FIELDS
    assert arrived(tracking.UpdateRunRequest, content) == request


def _delimited(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
