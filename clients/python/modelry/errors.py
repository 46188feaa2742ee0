"""What a call can raise: one tree, from the canonical code down to the reason.

    ModelryError
    ├── Cancelled
    ├── Unknown
    ├── InvalidArgument: FieldInvalid, FilterSyntax, PageTokenInvalid, RequestIdReused, PathInvalid
    ├── DeadlineExceeded
    ├── NotFound: WorkspaceNotFound, ExperimentNotFound, RunNotFound, DatasetNotFound, TagNotFound,
    │       ArtifactNotFound, OwnerNotFound, SnapshotNotFound, ModelNotFound, VersionNotFound, AliasNotFound
    ├── AlreadyExists: WorkspaceExists, ExperimentExists, RunExists, ParamConflict, ArtifactKindConflict,
    │       SnapshotExists, ModelExists
    ├── PermissionDenied: PermissionMissing
    ├── ResourceExhausted: TooManyStreams
    ├── FailedPrecondition: AnswerTooLarge, ExperimentDeleted, RunDeleted, RunAlreadyEnded, OwnerFrozen, ModelInUse,
    │       VersionInUse, SourceEmpty
    ├── Aborted: RequestInFlight, EtagMismatch, BatchGap
    ├── OutOfRange
    ├── Unimplemented
    ├── Internal
    ├── Unavailable: ServiceUnavailable, Draining, DatabaseUnavailable, StoreUnavailable
    ├── DataLoss: DigestMismatch, BlobLost
    └── Unauthenticated

Catch the class of the reason where you know what to do about it, and that of the code otherwise. A reason that this
release does not know yet is raised as the class of its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class ModelryError(Exception):
    """Anything that Modelry refuses or fails to do.

    `reason` is the stable name of what happened (empty where the server gave none), `metadata` holds every value that
    the message names, and `fields` says of each bad field of the request, by its path, what is wrong with it.
    """

    code: ClassVar[str] = "UNKNOWN"
    reason: str = ""

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
    """The server failed in a way that it could not name."""

    code = "UNKNOWN"


class InvalidArgument(ModelryError):
    """Something in the call is missing, too long or malformed; `fields` says what."""

    code = "INVALID_ARGUMENT"


class DeadlineExceeded(ModelryError):
    """The time given to the call ran out before the work was done."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class NotFound(ModelryError):
    """What the call names is not there, or the caller may not know of it."""

    code = "NOT_FOUND"


class AlreadyExists(ModelryError):
    """What the call would make is there already."""

    code = "ALREADY_EXISTS"


class PermissionDenied(ModelryError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(ModelryError):
    """A limit is reached; later the call may succeed."""

    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(ModelryError):
    """The thing is not in a state in which this can be done."""

    code = "FAILED_PRECONDITION"


class Aborted(ModelryError):
    """Somebody else's change came between; read again and repeat."""

    code = "ABORTED"


class OutOfRange(ModelryError):
    """The call reaches past the end of what there is."""

    code = "OUT_OF_RANGE"


class Unimplemented(ModelryError):
    """The server does not know this call; it may be older than this client."""

    code = "UNIMPLEMENTED"


class Internal(ModelryError):
    """A fault of the server; `metadata['correlation_id']` finds its cause in the server's log."""

    code = "INTERNAL"
    reason = "INTERNAL"


class Unavailable(ModelryError):
    """The server, or something that it needs, does not answer; the call may be repeated."""

    code = "UNAVAILABLE"


class DataLoss(ModelryError):
    """Stored or transferred bytes are not what they should be."""

    code = "DATA_LOSS"


class Unauthenticated(ModelryError):
    """The server does not know who calls."""

    code = "UNAUTHENTICATED"


class FieldInvalid(InvalidArgument):
    """A field is missing, too long or malformed."""

    reason = "FIELD_INVALID"


class FilterSyntax(InvalidArgument):
    """A filter or an order can't be read; the metadata has `column`, `found` and `expected`."""

    reason = "FILTER_SYNTAX"


class PageTokenInvalid(InvalidArgument):
    """A page token is damaged or belongs to another query."""

    reason = "PAGE_TOKEN_INVALID"


class RequestIdReused(InvalidArgument):
    """A request id was used before with other contents."""

    reason = "REQUEST_ID_REUSED"


class PathInvalid(InvalidArgument):
    """An artifact path climbs, is absolute, or is not in normal form."""

    reason = "PATH_INVALID"


class WorkspaceNotFound(NotFound):
    """There is no such workspace."""

    reason = "WORKSPACE_NOT_FOUND"


class ExperimentNotFound(NotFound):
    """There is no such experiment."""

    reason = "EXPERIMENT_NOT_FOUND"


class RunNotFound(NotFound):
    """There is no such run."""

    reason = "RUN_NOT_FOUND"


class DatasetNotFound(NotFound):
    """There is no such dataset."""

    reason = "DATASET_NOT_FOUND"


class TagNotFound(NotFound):
    """There is no tag of that key."""

    reason = "TAG_NOT_FOUND"


class ArtifactNotFound(NotFound):
    """The owner has no such file or folder."""

    reason = "ARTIFACT_NOT_FOUND"


class OwnerNotFound(NotFound):
    """There is no such owner of artifacts."""

    reason = "OWNER_NOT_FOUND"


class SnapshotNotFound(NotFound):
    """There is no snapshot of that owner."""

    reason = "SNAPSHOT_NOT_FOUND"


class ModelNotFound(NotFound):
    """There is no such registered model."""

    reason = "MODEL_NOT_FOUND"


class VersionNotFound(NotFound):
    """The model has no such version."""

    reason = "VERSION_NOT_FOUND"


class AliasNotFound(NotFound):
    """The model has no such alias."""

    reason = "ALIAS_NOT_FOUND"


class WorkspaceExists(AlreadyExists):
    """A workspace of that name is there."""

    reason = "WORKSPACE_EXISTS"


class ExperimentExists(AlreadyExists):
    """An experiment, perhaps a deleted one, has the name."""

    reason = "EXPERIMENT_EXISTS"


class RunExists(AlreadyExists):
    """The run id is another run's."""

    reason = "RUN_EXISTS"


class ParamConflict(AlreadyExists):
    """A param was logged again with another value; params are write-once."""

    reason = "PARAM_CONFLICT"


class ArtifactKindConflict(AlreadyExists):
    """A folder stands where a file is to be, or a file where a folder is to be."""

    reason = "ARTIFACT_KIND_CONFLICT"


class SnapshotExists(AlreadyExists):
    """The owner holds another snapshot already."""

    reason = "SNAPSHOT_EXISTS"


class ModelExists(AlreadyExists):
    """A registered model of that name is there."""

    reason = "MODEL_EXISTS"


class PermissionMissing(PermissionDenied):
    """The caller lacks the permission that the metadata names."""

    reason = "PERMISSION_MISSING"


class TooManyStreams(ResourceExhausted):
    """The server has as many streams open as it allows."""

    reason = "TOO_MANY_STREAMS"


class AnswerTooLarge(FailedPrecondition):
    """The answer is larger than what can be sent: ask for less, by a read mask or a smaller page."""

    reason = "ANSWER_TOO_LARGE"


class ExperimentDeleted(FailedPrecondition):
    """The experiment is deleted; restore it first."""

    reason = "EXPERIMENT_DELETED"


class RunDeleted(FailedPrecondition):
    """The run is deleted; restore it first."""

    reason = "RUN_DELETED"


class RunAlreadyEnded(FailedPrecondition):
    """The run ended before, with another status."""

    reason = "RUN_ALREADY_ENDED"


class OwnerFrozen(FailedPrecondition):
    """The files belong to a model version and never change."""

    reason = "OWNER_FROZEN"


class ModelInUse(FailedPrecondition):
    """The model has versions in Staging or Production."""

    reason = "MODEL_IN_USE"


class VersionInUse(FailedPrecondition):
    """The version is in Staging or Production, or an alias points at it."""

    reason = "VERSION_IN_USE"


class SourceEmpty(FailedPrecondition):
    """The run has no files at the path from which a version was to be made."""

    reason = "SOURCE_EMPTY"


class RequestInFlight(Aborted):
    """A call with the same request id is being worked on."""

    reason = "REQUEST_IN_FLIGHT"


class EtagMismatch(Aborted):
    """The thing was changed by somebody else since it was read."""

    reason = "ETAG_MISMATCH"


class BatchGap(Aborted):
    """A numbered batch came while an earlier one is missing."""

    reason = "BATCH_GAP"


class ServiceUnavailable(Unavailable):
    """A service that the call needs does not answer; the metadata names it as `service`."""

    reason = "SERVICE_UNAVAILABLE"


class Draining(Unavailable):
    """The server is shutting down."""

    reason = "DRAINING"


class DatabaseUnavailable(Unavailable):
    """The database does not answer or is busy; what was asked for may be done already."""

    reason = "DATABASE_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The object store does not answer."""

    reason = "STORE_UNAVAILABLE"


class DigestMismatch(DataLoss):
    """Bytes do not have the SHA-256 or the size that was announced."""

    reason = "DIGEST_MISMATCH"


class BlobLost(DataLoss):
    """The object store has lost or damaged the content of a file."""

    reason = "BLOB_LOST"


__all__ = sorted(
    name for name, kind in list(globals().items()) if isinstance(kind, type) and issubclass(kind, ModelryError)
)
