"""Requests that may come twice: whose they are, and whether they ask for the same."""

from __future__ import annotations

from modelry.api.tracking import v1 as api
from modelry_server.kernel import caller
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.requests import idempotency


def test_the_same_request_has_the_same_digest_in_whatever_order_its_tags_were_given() -> None:
    names = [f"k{number}" for number in range(50)]
    first = api.CreateRunRequest(request_id="r", tags={name: "v" for name in names})
    second = api.CreateRunRequest(request_id="r", tags={name: "v" for name in reversed(names)})

    assert idempotency.request(first) == idempotency.request(second)


def test_another_field_another_rpc_and_another_caller_make_another_request() -> None:
    first = idempotency.request(api.CreateRunRequest(request_id="r"))
    with caller.using(Caller("ann", "0" * 32)):
        others = [
            idempotency.request(api.CreateRunRequest(request_id="r")),
            idempotency.request(api.CreateRunRequest(request_id="r", name="n")),
            idempotency.request(api.CreateExperimentRequest(request_id="r")),
        ]

    assert len({first, *others}) == 4
    assert [each.subject for each in others] == ["ann"] * 3


def test_a_request_without_an_id_is_for_once_only() -> None:
    assert idempotency.request(api.CreateRunRequest(name="n")).request_id == ""
