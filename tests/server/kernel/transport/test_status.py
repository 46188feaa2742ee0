"""Errors on the wire: each class is one code, with the details that a caller can use, within what a client receives."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from modelry_server.kernel import errors
from modelry_server.kernel.transport import status

KINDS = [kind for kind in errors.ModelryError.__subclasses__() if kind.__module__ == errors.__name__]
texts = st.text(max_size=3000) | st.sampled_from(["\u65e5" * 9000, "\x01" * 5000, "%" * 9000])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_canonical_class_has_the_code_of_its_name(kind: type[errors.ModelryError]) -> None:
    name = "".join(f"_{char}" if char.isupper() else char.upper() for char in kind.__name__).strip("_")

    found = status.to_status(kind("text"))

    assert found.code == code_pb2.Code.Value(name)
    assert found.message == "text"


def test_every_bad_field_is_named_and_the_message_names_them_too() -> None:
    found = status.to_status(errors.FieldInvalid({"a": "is missing", "b[1]": "is too long"}))

    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in found.details)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("a", "is missing"),
        ("b[1]", "is too long"),
    ]
    assert found.message == "a: is missing; b[1]: is too long"


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(texts, texts, max_size=30), st.dictionaries(st.text(max_size=30), texts, max_size=30))
def test_a_status_fits_into_the_trailers_that_clients_receive(
    violations: dict[str, str], metadata: dict[str, str]
) -> None:
    kinds: list[errors.ModelryError] = [
        errors.FieldInvalid(violations),
        errors.FailedPrecondition(str(violations), unmet=violations),
        errors.NotFound(str(metadata), kind="run", name=str(metadata)),
    ]
    for error in kinds:
        error.metadata = metadata

        found = status.to_status(error)

        header = sum(1 if 0x20 <= byte <= 0x7E else 3 for byte in found.message.encode())
        assert header + found.ByteSize() * 4 // 3 < 8000


def test_a_short_error_is_not_cut() -> None:
    error = errors.NotFound("there is no run 'x'", kind="run", name="x", run_id="x")

    found = status.to_status(error)

    info, resource = error_details_pb2.ErrorInfo(), error_details_pb2.ResourceInfo()
    assert any(detail.Unpack(info) for detail in found.details)
    assert any(detail.Unpack(resource) for detail in found.details)
    assert (info.reason, info.domain, dict(info.metadata)) == (error.reason, "modelry.dev", {"run_id": "x"})
    assert (resource.resource_type, resource.resource_name) == ("run", "x")


@pytest.mark.parametrize("error", [errors.Unavailable("x"), errors.ResourceExhausted("x"), errors.Draining()])
def test_what_may_work_later_says_when(error: errors.ModelryError) -> None:
    retry = error_details_pb2.RetryInfo()

    assert any(detail.Unpack(retry) for detail in status.to_status(error).details)
    assert retry.retry_delay.seconds == 1


def test_a_quota_that_is_used_up_is_named_and_no_time_for_another_attempt() -> None:
    error = errors.QuotaExceeded("red", "thing_count", 7, 8, wanted=2)

    found = status.to_status(error)

    kinds = [detail.type_url.rpartition(".")[2] for detail in found.details]
    failure = error_details_pb2.QuotaFailure()
    assert kinds == ["ErrorInfo", "QuotaFailure"]
    assert any(detail.Unpack(failure) for detail in found.details)
    assert [(each.subject, each.description) for each in failure.violations] == [("workspace:red", error.message)]
