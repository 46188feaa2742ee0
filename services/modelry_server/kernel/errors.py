"""What can go wrong, one class for each canonical code; rooms add a class for each reason. Knows no transport.

ModelryError
├── InvalidArgument ── FieldInvalid
├── NotFound
├── AlreadyExists
├── PermissionDenied ── PermissionMissing
├── Unauthenticated
├── ResourceExhausted ── TooManyStreams
├── FailedPrecondition
├── Aborted ── RequestInFlight, EtagMismatch
├── OutOfRange
├── Unavailable ── ServiceUnavailable, Draining, DatabaseUnavailable
├── DataLoss
├── DeadlineExceeded ── DeadlinePassed
└── Internal
"""

from collections.abc import Mapping


class ModelryError(Exception):
    """Something that the caller can act on: the message says what was wrong, with which value, and what would be right.

    Every value in the message is also in `metadata`.
    """

    reason: str = "INTERNAL"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidArgument(ModelryError):
    """The request is wrong whatever the state of the system. `violations` holds each bad field by its path."""

    def __init__(
        self, message: str, *, field: str = "", violations: Mapping[str, str] | None = None, **metadata: object
    ):
        super().__init__(message, **metadata)
        self.violations = dict(violations) if violations else ({field: message} if field else {})


class NotFound(ModelryError):
    """What was asked for is not there, or the caller may not know of it. `kind` and `name` say what."""

    def __init__(self, message: str, *, kind: str = "", name: str = "", **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.kind, self.name = kind, name


class AlreadyExists(ModelryError):
    """What was to be made is there already."""


class PermissionDenied(ModelryError):
    """The caller may not do this."""


class Unauthenticated(ModelryError):
    """Nobody knows who calls."""


class ResourceExhausted(ModelryError):
    """A limit is reached; the same call may work later."""

    retry_after_s: float = 1.0


class FailedPrecondition(ModelryError):
    """The state of the system does not allow it; `unmet` holds each condition by its name."""

    def __init__(self, message: str, *, unmet: Mapping[str, str] | None = None, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.unmet = dict(unmet) if unmet else {self.reason: message}


class Aborted(ModelryError):
    """Somebody else was faster; read again and try again."""


class OutOfRange(ModelryError):
    """Beyond what there is."""


class Unavailable(ModelryError):
    """Not now; the same call works later."""

    retry_after_s: float = 1.0


class DataLoss(ModelryError):
    """Bytes are not what they were said to be."""


class DeadlineExceeded(ModelryError):
    """The caller's time has run out."""


class Internal(ModelryError):
    """A fault of the server."""


class FieldInvalid(InvalidArgument):
    """One or more fields are missing, too long, or not of the form that the contract asks for."""

    reason = "FIELD_INVALID"

    def __init__(self, violations: Mapping[str, str], **metadata: object) -> None:
        super().__init__(
            "; ".join(f"{path}: {text}" for path, text in violations.items()),
            field="",
            violations=violations,
            **metadata,
        )


class PermissionMissing(PermissionDenied):
    """The caller lacks a permission."""

    reason = "PERMISSION_MISSING"

    def __init__(self, subject: str, permission: str, workspace: str) -> None:
        place = f"in the workspace {workspace!r}" if workspace else "for the whole installation"
        super().__init__(
            f"{subject!r} does not have the permission {permission!r} {place}",
            permission=permission,
            subject=subject,
            workspace=workspace,
        )


class TooManyStreams(ResourceExhausted):
    """The server has as many streams open as it allows."""

    reason = "TOO_MANY_STREAMS"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} streams are open, which is the limit of this server; try again later", limit=limit)


class AnswerTooLarge(FailedPrecondition):
    """The answer is larger than what can be sent."""

    reason = "ANSWER_TOO_LARGE"

    def __init__(self, size_bytes: int, most: int) -> None:
        super().__init__(
            f"the answer has {size_bytes} bytes, at most {most} can be sent; ask for less: for a part of it by a "
            "read_mask, or for a smaller page",
            size_bytes=size_bytes,
        )


class RequestIdReused(InvalidArgument):
    """The request id was used before with other contents."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used within 24 hours with other contents; use a new one for a new request",
            field="request_id",
            request_id=request_id,
        )


class RequestInFlight(Aborted):
    """The same request is being worked on."""

    reason = "REQUEST_IN_FLIGHT"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the request {request_id!r} is being worked on; send it again", request_id=request_id)


class EtagMismatch(Aborted):
    """The thing was changed since it was read."""

    reason = "ETAG_MISMATCH"

    def __init__(self, given: str, present: str) -> None:
        super().__init__(
            f"etag {given!r} is not the present one, {present!r}: somebody changed it since; read it again",
            given=given,
            etag=present,
        )


class ServiceUnavailable(Unavailable):
    """A service that the call needs does not answer."""

    reason = "SERVICE_UNAVAILABLE"

    def __init__(self, service: str, address: str) -> None:
        super().__init__(
            f"the {service} service does not answer at {address}; try again later", service=service, address=address
        )


class Draining(Unavailable):
    """The server is shutting down."""

    reason = "DRAINING"

    def __init__(self) -> None:
        super().__init__("the server is shutting down; send the call again")


class DatabaseUnavailable(Unavailable):
    """The database does not answer or is busy."""

    reason = "DATABASE_UNAVAILABLE"

    def __init__(self, room: str) -> None:
        super().__init__(
            f"the database of {room} does not answer or is busy; send the call again (what it asks for may be done "
            "already: with a request_id it is done once)",
            room=room,
        )


class DeadlinePassed(DeadlineExceeded):
    """The caller's time ran out before the work was done."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the time that the caller gave has run out; nothing more is done")
