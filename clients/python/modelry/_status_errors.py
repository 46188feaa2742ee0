"""The errors that any service may answer with: one for each status code, and below them the reasons common to all.

Users import them from `modelry.errors`, which also has the reasons of each service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class ModelryError(Exception):
    """Anything that Modelry refuses or fails to do.

    `reason` is a stable name for the cause; it is empty if the server gave none. `metadata` has the values that the
    message names. `fields` says what is wrong with each bad field of the request, by its path.
    """

    code: ClassVar[str] = "UNKNOWN"
    reason: str = ""

    def __init_subclass__(cls) -> None:
        """Tracebacks and pickles name an error by the module that users import it from."""
        cls.__module__ = "modelry.errors"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason:
            self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})
        self.fields: dict[str, str] = dict(fields or {})


class Cancelled(ModelryError):
    """The call was cancelled before it ended."""

    code = "CANCELLED"


class Unknown(ModelryError):
    """The server failed and gave no reason."""

    code = "UNKNOWN"


class InvalidArgument(ModelryError):
    """Something in the call is missing, too long or malformed; `fields` says what."""

    code = "INVALID_ARGUMENT"


class DeadlineExceeded(ModelryError):
    """The deadline of the call passed before the work was done."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class NotFound(ModelryError):
    """The thing does not exist, or the caller has no right to see it."""

    code = "NOT_FOUND"


class AlreadyExists(ModelryError):
    """The thing exists already."""

    code = "ALREADY_EXISTS"


class PermissionDenied(ModelryError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(ModelryError):
    """A limit is reached. The call may succeed later."""

    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(ModelryError):
    """The state of the thing does not allow this."""

    code = "FAILED_PRECONDITION"


class Aborted(ModelryError):
    """Somebody else's change came in between. Read again and repeat."""

    code = "ABORTED"


class OutOfRange(ModelryError):
    """The call reaches past the end of the data."""

    code = "OUT_OF_RANGE"


class Unimplemented(ModelryError):
    """The server does not have this call. It may be older than this client."""

    code = "UNIMPLEMENTED"


class Internal(ModelryError):
    """A bug in the server. Its log has the cause under `metadata['correlation_id']`."""

    code = "INTERNAL"
    reason = "INTERNAL"


class Unavailable(ModelryError):
    """The server, or something that it needs, does not answer. The call may succeed later.

    If the reason is FORKED nothing was sent: this process was forked after its parent had loaded gRPC. If it is
    NO_THREAD no files were sent: gRPC could not start a thread to send them with.
    """

    code = "UNAVAILABLE"


class DataLoss(ModelryError):
    """Stored or transferred content is damaged or lost."""

    code = "DATA_LOSS"


class Unauthenticated(ModelryError):
    """The server does not know who calls: the message says what to do. If it is TOKEN_NOT_SENT nothing was sent."""

    code = "UNAUTHENTICATED"


class FieldInvalid(InvalidArgument):
    """A field is missing, too long or malformed."""

    reason = "FIELD_INVALID"


class FilterSyntax(InvalidArgument):
    """A filter or a sort key can't be parsed. The metadata has `column`, `found` and `expected`."""

    reason = "FILTER_SYNTAX"


class PageTokenInvalid(InvalidArgument):
    """A page token is damaged or belongs to another query."""

    reason = "PAGE_TOKEN_INVALID"


class RequestIdReused(InvalidArgument):
    """A request id was used before with other content."""

    reason = "REQUEST_ID_REUSED"


class CallTooLong(DeadlineExceeded):
    """The call took as long as the server or a proxy allows: ask for less, or send fewer files at once."""

    reason = "CALL_TOO_LONG"


class PermissionMissing(PermissionDenied):
    """The caller lacks the permission that the metadata names."""

    reason = "PERMISSION_MISSING"


class TooManyStreams(ResourceExhausted):
    """The server has reached its limit of open streams."""

    reason = "TOO_MANY_STREAMS"


class TooManyCalls(ResourceExhausted):
    """Too many calls wait for their turn at the server, and this connection has the most of them. Try again later."""

    reason = "TOO_MANY_CALLS"


class TooManyFailures(ResourceExhausted):
    """Too many credentials from this address were refused. Try again later."""

    reason = "TOO_MANY_FAILURES"


class AnswerTooLarge(FailedPrecondition):
    """The answer exceeds the size limit. Ask for less: fewer fields, or a smaller page."""

    reason = "ANSWER_TOO_LARGE"


class LimitReached(FailedPrecondition):
    """A thing would hold more than it may in all, such as tags or aliases. Remove something first."""

    reason = "LIMIT_REACHED"


class RequestInFlight(Aborted):
    """A call with the same request id is being worked on."""

    reason = "REQUEST_IN_FLIGHT"


class EtagMismatch(Aborted):
    """Somebody else has changed the thing since it was read."""

    reason = "ETAG_MISMATCH"


class ServiceUnavailable(Unavailable):
    """A service that the call needs can't answer now; the metadata has its name, `service`, and reason, `cause`."""

    reason = "SERVICE_UNAVAILABLE"


class Draining(Unavailable):
    """The server is shutting down."""

    reason = "DRAINING"


class DatabaseUnavailable(Unavailable):
    """The database can't do this now. The message says why, and whether a change may have been made all the same."""

    reason = "DATABASE_UNAVAILABLE"


class CredentialMissing(Unauthenticated):
    """The call has no credential, and the server needs one: log in with `modelry login`, or give a token."""

    reason = "CREDENTIAL_MISSING"


class CredentialInvalid(Unauthenticated):
    """The credential is not known to the server, or is not valid any more."""

    reason = "CREDENTIAL_INVALID"


class NotAService(Unauthenticated):
    """Only Modelry's own services may call this."""

    reason = "NOT_A_SERVICE"


ModelryError.__module__ = "modelry.errors"
