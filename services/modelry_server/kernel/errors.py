"""The errors of the server: one class for each canonical code. Each service adds a class for each of its reasons.

ModelryError
├── InvalidArgument ── FieldInvalid, RequestIdReused
├── NotFound
├── AlreadyExists
├── PermissionDenied ── PermissionMissing, TokenIsInvitation
├── Unauthenticated ── CredentialMissing, CredentialInvalid, NotAService
├── ResourceExhausted ── TooManyStreams, TooManyCalls, TooManyFailures, QuotaExceeded
├── FailedPrecondition ── AnswerTooLarge, LimitReached
├── Aborted ── RequestInFlight, EtagMismatch
├── OutOfRange
├── Unavailable ── ServiceUnavailable, Draining, DatabaseUnavailable
├── DataLoss
├── DeadlineExceeded ── DeadlinePassed, CallTooLong
└── Internal ── UnexpectedError
"""

from collections.abc import Mapping
from enum import Enum

_CAPS = {"permissions": "a role without it", "workspaces": "some workspaces"}
"""What limits a credential, by the word for it in metadata."""


class ModelryError(Exception):
    """An error that the caller can act on. The message says what is wrong, with which value, and what would be right.

    Every value in the message is also in `metadata`.
    """

    reason: str = "INTERNAL"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidArgument(ModelryError):
    """The request is wrong, whatever the state of the system. `violations` maps the path of each bad field to why."""

    def __init__(
        self, message: str, *, field: str = "", violations: Mapping[str, str] | None = None, **metadata: object
    ):
        super().__init__(message, **metadata)
        self.violations = dict(violations) if violations else ({field: message} if field else {})


class NotFound(ModelryError):
    """The requested thing does not exist, or the caller may not see it. `kind` and `name` identify it."""

    def __init__(self, message: str, *, kind: str = "", name: str = "", **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.kind, self.name = kind, name


class AlreadyExists(ModelryError):
    """The thing to create exists already."""


class PermissionDenied(ModelryError):
    """The caller may not do this."""


class Unauthenticated(ModelryError):
    """The call carries no valid credential."""


class ResourceExhausted(ModelryError):
    """A limit is reached; the same call may work later.

    If it is one that does not pass by itself, `exceeded` maps whose limit it is to what is wrong.
    """

    retry_after_s: float = 1.0

    def __init__(self, message: str, *, exceeded: Mapping[str, str] | None = None, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.exceeded = dict(exceeded or {})


class FailedPrecondition(ModelryError):
    """The state of the system does not allow the call. `unmet` maps the name of each unmet condition to why."""

    def __init__(self, message: str, *, unmet: Mapping[str, str] | None = None, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.unmet = dict(unmet) if unmet else {self.reason: message}


class Aborted(ModelryError):
    """The call lost against a concurrent one. Read the state and try again."""


class OutOfRange(ModelryError):
    """The request points beyond the end of what exists."""


class Unavailable(ModelryError):
    """The call can't be answered now. The same call may work later."""

    retry_after_s: float = 1.0


class DataLoss(ModelryError):
    """Content is lost, or differs from what was announced."""


class DeadlineExceeded(ModelryError):
    """The deadline of the call has passed."""


class Internal(ModelryError):
    """A fault of the server."""


class FieldInvalid(InvalidArgument):
    """One or more fields are missing, too long, or not in the form that the contract describes.

    `more` is the number of further bad fields, which `violations` leaves out.
    """

    reason = "FIELD_INVALID"

    def __init__(self, violations: Mapping[str, str], *, more: int = 0, **metadata: object) -> None:
        told = "; ".join(f"{path}: {text}" for path, text in violations.items())
        if more:
            metadata["more_fields"] = more
        super().__init__(
            f"{len(violations) + more} fields are wrong, {more} of them are not listed; {told}" if more else told,
            field="",
            violations=violations,
            **metadata,
        )


class PermissionMissing(PermissionDenied):
    """The caller lacks a permission. `cap` says by what the credential is limited, if that alone is a reason."""

    reason = "PERMISSION_MISSING"

    def __init__(self, subject: str, permission: str, workspace: str, *, cap: str = "") -> None:
        place = f"in the workspace {workspace!r}" if workspace else "for the whole installation"
        limit = f"; the credential of the call is limited to {_CAPS[cap]}" if cap else ""
        given = {"cap": cap} if cap else {}
        super().__init__(
            f"{subject!r} does not have the permission '{permission}' {place}{limit}",
            permission=permission,
            subject=subject,
            workspace=workspace,
            **given,
        )


class TokenIsInvitation(PermissionDenied):
    """The token of the call is an invitation, which can only be exchanged."""

    reason = "TOKEN_IS_INVITATION"

    def __init__(self) -> None:
        super().__init__(
            "this token is an invitation, which can only be exchanged for one of your own: do it with "
            "`modelry login --token`, `modelry token rotate` or RotateToken"
        )


class CredentialMissing(Unauthenticated):
    """The call has no credential. `sign_in` says where people get one: `issuer` and `client_id`, or nothing."""

    reason = "CREDENTIAL_MISSING"

    def __init__(self, sign_in: Mapping[str, str] | None = None) -> None:
        super().__init__(
            "this server knows its callers, and the call has no credential; send a token as `authorization: Bearer "
            "<token>`, or sign in with `modelry login`",
            **(sign_in or {}),
        )


class CredentialInvalid(Unauthenticated):
    """The credential of a call is not accepted. Why is not said, unless its form alone is wrong."""

    reason = "CREDENTIAL_INVALID"

    def __init__(self, problem: str = "") -> None:
        super().__init__(
            problem
            or "the credential of the call is not accepted: it is unknown or damaged, belongs to another server, has "
            "ended, or was revoked; sign in with `modelry login`, or use another token"
        )


class NotAService(Unauthenticated):
    """Only Modelry's own services can call this, and nothing that comes with the call says that one of them does."""

    reason = "NOT_A_SERVICE"

    def __init__(self, rpc: str) -> None:
        super().__init__(
            f"only Modelry services can call {rpc} here, and nothing that comes with the call says that one of them "
            "does; clients use the public address of the service",
            rpc=rpc,
        )


class TooManyFailures(ResourceExhausted):
    """Too many credentials that are not accepted came from an address, or begin with the same characters."""

    reason = "TOO_MANY_FAILURES"

    def __init__(self, limit: int, interval_s: float) -> None:
        super().__init__(
            f"more than {limit} credentials that are not accepted came within {interval_s:g} seconds; try again later, "
            "with a credential that is right",
            limit=limit,
        )


class TooManyStreams(ResourceExhausted):
    """The server has reached its limit of open streams."""

    reason = "TOO_MANY_STREAMS"

    def __init__(self, limit: int, of_one: int) -> None:
        super().__init__(
            f"too many open streams: at most {limit} on the server, and {of_one} of one caller; try again later",
            limit=limit,
            of_one=of_one,
        )


class TooManyCalls(ResourceExhausted):
    """Too many calls, or too large ones, wait for their turn at the server, and this connection has the most."""

    reason = "TOO_MANY_CALLS"

    def __init__(self, limit: int, limit_bytes: int) -> None:
        super().__init__(
            f"too many calls wait for their turn: at most {limit} on the server, with requests of {limit_bytes >> 20} "
            "MiB together, and no connection has more of them than this one; try again later",
            limit=limit,
            limit_bytes=limit_bytes,
        )


class QuotaExceeded(ResourceExhausted):
    """A workspace has as much of something as it may have. `frees` says what makes room."""

    reason = "QUOTA_EXCEEDED"

    def __init__(self, workspace: str, quota: str, used: int, limit: int, *, wanted: int = 1, frees: str = "") -> None:
        refusal = f"has no room for {wanted} more" if limit else "takes nothing more"
        way = f"{frees}, or " if frees and limit else ""
        super().__init__(
            f"the workspace {workspace!r} {refusal}: its {quota} is {used}, and the quota is {limit}; nothing was "
            f"written; {way}ask an administrator of the installation for a higher quota",
            workspace=workspace,
            quota=quota,
            used=used,
            limit=limit,
        )
        self.exceeded = {f"workspace:{workspace}": self.message}


class AnswerTooLarge(FailedPrecondition):
    """The answer is larger than the largest message."""

    reason = "ANSWER_TOO_LARGE"

    def __init__(self, size_bytes: int, most: int) -> None:
        super().__init__(
            f"the answer has {size_bytes} bytes, but at most {most} can be sent; ask for less, with a read_mask or a "
            "smaller page",
            size_bytes=size_bytes,
            most=most,
        )


class LimitReached(FailedPrecondition):
    """A thing would hold more than it may in all. The request by itself is right. `field` is the field that adds it."""

    reason = "LIMIT_REACHED"

    def __init__(self, field: str, what: str, total: int, most: int) -> None:
        super().__init__(
            f"{field}: there would be {total} {what} in all, at most {most} are allowed",
            field=field,
            total=total,
            most=most,
        )


class RequestIdReused(InvalidArgument):
    """The request id was used before, with other contents."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used within the last 24 hours with other contents; use a new one for a new "
            "request",
            field="request_id",
            request_id=request_id,
        )


class RequestInFlight(Aborted):
    """A call with the same request id is being worked on."""

    reason = "REQUEST_IN_FLIGHT"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"another call with request_id {request_id!r} is being worked on; send the call again",
            request_id=request_id,
        )


class EtagMismatch(Aborted):
    """The thing has been changed since it was read."""

    reason = "ETAG_MISMATCH"

    def __init__(self, given: str, present: str) -> None:
        super().__init__(
            f"etag {given!r} is outdated, the current one is {present!r}: somebody else changed it; read it again",
            given=given,
            etag=present,
        )


class ServiceUnavailable(Unavailable):
    """Another service, which the call needs, does not answer; or not now, for a `cause`: the reason that it gave."""

    reason = "SERVICE_UNAVAILABLE"

    def __init__(self, service: str, address: str, cause: str = "") -> None:
        told = f"at {address} can't answer now ({cause})" if cause else f"does not answer at {address}"
        given = {"cause": cause} if cause else {}
        super().__init__(f"the {service} service {told}; try again later", service=service, address=address, **given)


class Draining(Unavailable):
    """The server is shutting down."""

    reason = "DRAINING"

    def __init__(self) -> None:
        super().__init__("the server is shutting down; send the call again")


class Outcome(Enum):
    """What became of the work in a database that failed. The value says so, and what the caller can do.

    It speaks of one transaction: an earlier one of the same call may have been committed.
    """

    READ = "it failed while it read: send the call again"
    NOT_MADE = "the change was not made there: send the call again, with the same request_id if it has one"
    UNKNOWN = "the change may have been made: send the call again with the same request_id, or read the state first"


class DatabaseUnavailable(Unavailable):
    """The database can't do this now, and `why`. `outcome` says whether a change may have been made."""

    reason = "DATABASE_UNAVAILABLE"

    def __init__(self, room: str, why: str = "does not answer", outcome: Outcome = Outcome.UNKNOWN) -> None:
        super().__init__(f"the database of {room} {why}; {outcome.value}", service=room)


class DeadlinePassed(DeadlineExceeded):
    """The deadline of the call passed before the work was done."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the deadline of the call has passed; the server stopped working on it")


class CallTooLong(DeadlineExceeded):
    """The call took as long as the server allows, and its own deadline, if any, is later."""

    reason = "CALL_TOO_LONG"

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"the call took longer than the {limit_s:g} s that the server allows (server.call_limit), so the server "
            "stopped working on it; ask for less, such as with a narrower filter or a smaller page, or try again when "
            "the server is less busy",
            limit_s=f"{limit_s:g}",
        )


class UnexpectedError(Internal):
    """An exception that nobody expected. Its text stays in the log."""

    reason = "INTERNAL"

    def __init__(self, correlation_id: str) -> None:
        super().__init__(
            f"an unexpected error occurred; the log of the server has its cause under the id {correlation_id}",
            correlation_id=correlation_id,
        )
