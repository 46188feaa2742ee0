"""Times in requests, and in what is said of them."""

from __future__ import annotations

import pytest

from modelry_server.kernel.requests.times import in_words


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_918_962_432, "2026-11-29T02:22:42.432Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (10**18, "1000000000000000000 ms since 1970"),
        (-(10**18), "-1000000000000000000 ms since 1970"),
    ],
)
def test_a_time_is_said_in_utc_where_the_calendar_has_it(time: int, said: str) -> None:
    assert in_words(time) == said
