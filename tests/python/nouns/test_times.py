from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from modelry._sdk.nouns.times import time_of
from modelry.api.tracking import v1 as tracking
from modelry.errors import DataLoss


def test_a_time_is_in_utc_and_one_that_is_not_set_is_none() -> None:
    run = tracking.Run(start_time=Timestamp(seconds=1_700_000_000, nanos=123_456_789))

    assert time_of(run, "start_time") == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
    assert time_of(run, "end_time") is None


@pytest.mark.parametrize(("seconds", "nanos"), [(2**63 - 1, 0), (-(2**63), 0), (2**40, 0), (0, -1), (0, 2**31 - 1)])
def test_what_no_time_can_be_is_a_fault_of_the_server(seconds: int, nanos: int) -> None:
    run = tracking.Run(start_time=Timestamp(seconds=seconds, nanos=nanos))

    with pytest.raises(DataLoss, match="start_time, which is no time"):
        time_of(run, "start_time")
