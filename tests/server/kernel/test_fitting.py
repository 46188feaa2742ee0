"""A page ends before it is larger than a client can receive."""

import pytest

from assay.api.registry import v1 as api
from assay_server.kernel.paging import PAGE_BYTES, fitting


@pytest.mark.parametrize(
    ("sizes", "most", "count"),
    [
        ([], 5, 0),
        ([10] * 9, 5, 5),
        ([10] * 3, 5, 3),
        ([PAGE_BYTES * 2], 5, 1),
        ([PAGE_BYTES // 2] * 3, 5, 1),
        ([PAGE_BYTES // 3 - 100] * 9, 5, 3),
        ([10, PAGE_BYTES, 10], 5, 1),
    ],
)
def test_as_many_messages_fit_as_are_small_enough_but_one_in_any_case(sizes: list[int], most: int, count: int) -> None:
    messages = [api.Model(description="x" * size) for size in sizes]

    assert fitting(messages, most) == messages[:count]
