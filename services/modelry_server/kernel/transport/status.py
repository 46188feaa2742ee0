"""The mapping between ModelryError and google.rpc.Status with details. There is no other one.

Each detail type occurs at most once: ErrorInfo always, BadRequest with all bad fields, PreconditionFailure with all
unmet conditions, ResourceInfo with what was not found, QuotaFailure with a quota that is used up, RetryInfo if the same
call may work later. Long texts are cut, because clients refuse trailers of more than 8 KiB.
"""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from modelry_server.kernel import errors

DOMAIN = "modelry.dev"
_TRAILERS = 6000  # bytes: what is left of 8 KiB for what else a proxy adds
_SHORTENINGS = ((1000, 20), (400, 20), (200, 10), (80, 5))  # characters of a text and entries of a list, the best first

_CODES: dict[type[errors.ModelryError], int] = {
    errors.InvalidArgument: code_pb2.INVALID_ARGUMENT,
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.AlreadyExists: code_pb2.ALREADY_EXISTS,
    errors.PermissionDenied: code_pb2.PERMISSION_DENIED,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.ResourceExhausted: code_pb2.RESOURCE_EXHAUSTED,
    errors.FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    errors.Aborted: code_pb2.ABORTED,
    errors.OutOfRange: code_pb2.OUT_OF_RANGE,
    errors.Unavailable: code_pb2.UNAVAILABLE,
    errors.DataLoss: code_pb2.DATA_LOSS,
    errors.DeadlineExceeded: code_pb2.DEADLINE_EXCEEDED,
    errors.Internal: code_pb2.INTERNAL,
}
_KINDS = {code: kind for kind, code in _CODES.items()}


def code(error: errors.ModelryError) -> int:
    """The canonical code of an error, as in google.rpc.Code."""
    return next((number for kind, number in _CODES.items() if isinstance(error, kind)), code_pb2.INTERNAL)


def to_status(error: errors.ModelryError) -> status_pb2.Status:
    """The status for the caller, cut to the size that clients accept."""
    for longest, entries in _SHORTENINGS:
        status = _status(error, longest, entries)
        if _size(status) <= _TRAILERS:
            break
    return status


def _status(error: errors.ModelryError, longest: int, entries: int) -> status_pb2.Status:
    def cut(text: str) -> str:
        return text if len(text) <= longest else text[:longest] + "…"

    metadata = {cut(key): cut(value) for key, value in list(error.metadata.items())[:entries]}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if isinstance(error, errors.InvalidArgument) and error.violations:
        shown = list(error.violations.items())[:entries]
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=cut(path), description=cut(text)) for path, text in shown
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if isinstance(error, errors.NotFound) and error.kind:
        details.append(error_details_pb2.ResourceInfo(resource_type=error.kind, resource_name=cut(error.name)))
    if isinstance(error, errors.FailedPrecondition):
        unmet = list(error.unmet.items())[:entries]
        conditions = [
            error_details_pb2.PreconditionFailure.Violation(type=cut(kind), description=cut(text))
            for kind, text in unmet
        ]
        details.append(error_details_pb2.PreconditionFailure(violations=conditions))
    exceeded = error.exceeded if isinstance(error, errors.ResourceExhausted) else {}
    if exceeded:
        quotas = [
            error_details_pb2.QuotaFailure.Violation(subject=cut(subject), description=cut(text))
            for subject, text in list(exceeded.items())[:entries]
        ]
        details.append(error_details_pb2.QuotaFailure(violations=quotas))
    elif isinstance(error, (errors.ResourceExhausted, errors.Unavailable)):
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(nanos=0, seconds=int(error.retry_after_s))))
    status = status_pb2.Status(code=code(error), message=cut(error.message))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def from_rpc_error(error: Any) -> errors.ModelryError:
    """The error that another service answered with: the class of its code, with its own reason."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # the transport ended the call with a code of its own
        status = None
    number = status.code if status else error.code().value[0]
    result = _KINDS.get(number, errors.Internal)(status.message if status else error.details() or error.code().name)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            result.reason, result.metadata = info.reason, dict(info.metadata)
        resource = error_details_pb2.ResourceInfo()
        if isinstance(result, errors.NotFound) and detail.Unpack(resource):
            result.kind, result.name = resource.resource_type, resource.resource_name
        bad = error_details_pb2.BadRequest()
        if isinstance(result, errors.InvalidArgument) and detail.Unpack(bad):
            result.violations = {v.field: v.description for v in bad.field_violations}
        failure = error_details_pb2.PreconditionFailure()
        if isinstance(result, errors.FailedPrecondition) and detail.Unpack(failure):
            result.unmet = {v.type: v.description for v in failure.violations}
        quota = error_details_pb2.QuotaFailure()
        if isinstance(result, errors.ResourceExhausted) and detail.Unpack(quota):
            result.exceeded = {v.subject: v.description for v in quota.violations}
    return result


def _size(status: status_pb2.Status) -> int:
    """The size of a status on the wire. It has the message a second time, percent-encoded in a header."""
    header = sum(1 if 0x20 <= byte <= 0x7E else 3 for byte in status.message.encode())
    details: int = status.ByteSize()
    return header + details * 4 // 3
