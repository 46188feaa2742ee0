"""A request that no server takes is refused before it is sent, and its largest field is named."""

from __future__ import annotations

from typing import Any

import pytest

from modelry import Client
from modelry.errors import InvalidArgument

MIB = 1 << 20


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"description": "d" * 10 * MIB, "name": "n" * MIB}, "description"),
        ({"tags": {str(number): "v" * 5000 for number in range(1000)}}, "tags"),
    ],
)
def test_a_request_that_is_too_large_is_refused_by_its_largest_field(
    client: Client, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"4194304 are allowed; its largest field is {field}, with") as refusal:
        client.runs.create(**given)

    assert refusal.value.reason == "REQUEST_TOO_LARGE"
    assert list(refusal.value.fields) == [field]


def test_the_largest_field_is_named_in_a_message_of_the_request(client: Client) -> None:
    run_id = client.runs.create().run_id

    with pytest.raises(InvalidArgument, match=r"its largest field is run\.description, with"):
        client.runs.update(run_id, description="d" * 5 * MIB)
