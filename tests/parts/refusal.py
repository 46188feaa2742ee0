"""What a server says when it refuses a call, with all details unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DOMAIN = "modelry.dev"


@dataclass(slots=True)
class Refusal:
    """The status of a refused call. `violations` maps a field's path to what is wrong with it."""

    code: str
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    resource: tuple[str, str] = ("", "")
    unmet: dict[str, str] = field(default_factory=dict)
    retry: bool = False
    exceeded: dict[str, str] = field(default_factory=dict)


def refused(method: Callable[..., Any], request: Any, *, timeout: float = 20.0, **options: Any) -> Refusal:
    """Calls a method that must refuse, and gives what it says."""
    try:
        answer = method(request, timeout=timeout, **options)
        answer = list(answer) if isinstance(answer, Iterable) else answer
    except grpc.RpcError as error:
        return unpacked(error)
    raise AssertionError(f"was not refused; the answer is {answer}")


def unpacked(error: Any) -> Refusal:
    """The details of an error that gRPC raised."""
    status = rpc_status.from_call(error)
    if status is None:
        return Refusal(error.code().name, error.details() or "")
    refusal = Refusal(error.code().name, status.message)
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        resource, failure = error_details_pb2.ResourceInfo(), error_details_pb2.PreconditionFailure()
        quota = error_details_pb2.QuotaFailure()
        if detail.Unpack(info):
            refusal.reason, refusal.domain, refusal.metadata = info.reason, info.domain, dict(info.metadata)
        elif detail.Unpack(bad):
            refusal.violations = {each.field: each.description for each in bad.field_violations}
        elif detail.Unpack(resource):
            refusal.resource = (resource.resource_type, resource.resource_name)
        elif detail.Unpack(failure):
            refusal.unmet = {each.type: each.description for each in failure.violations}
        elif detail.Unpack(quota):
            refusal.exceeded = {each.subject: each.description for each in quota.violations}
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            refusal.retry = True
    return refusal
