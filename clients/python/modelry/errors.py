"""The errors that calls raise: a class for each status code, and below it one for each reason.

    ModelryError
    ├── Cancelled, Unknown, Unimplemented, Internal
    ├── InvalidArgument: FieldInvalid, FilterSyntax, PageTokenInvalid, RequestIdReused, PathInvalid, CursorInvalid
    ├── DeadlineExceeded: CallTooLong
    ├── NotFound: WorkspaceNotFound, ExperimentNotFound, RunNotFound, DatasetNotFound, TagNotFound,
    │       ArtifactNotFound, OwnerNotFound, SnapshotNotFound, ModelNotFound, VersionNotFound, AliasNotFound,
    │       PromotionNotFound, EvaluationNotFound, DvcNotTracked, DvcContentMissing
    ├── AlreadyExists: WorkspaceExists, ExperimentExists, RunExists, ParamConflict, ArtifactKindConflict,
    │       SnapshotExists, ModelExists
    ├── PermissionDenied: PermissionMissing
    ├── ResourceExhausted: TooManyStreams, TooManyCalls, QuotaExceeded
    ├── FailedPrecondition: AnswerTooLarge, LimitReached, ExperimentDeleted, RunDeleted, RunAlreadyEnded, OwnerFrozen,
    │       ModelInUse, VersionInUse, SourceEmpty, LocalFileChanged, DatasetEmpty, ThresholdsNotMet
    ├── Aborted: RequestInFlight, EtagMismatch, BatchGap, UploadBrokenOff
    ├── OutOfRange: CursorOutOfRange
    ├── Unavailable: ServiceUnavailable, Draining, DatabaseUnavailable, StoreUnavailable
    ├── DataLoss: DigestMismatch, BlobLost
    └── Unauthenticated: CredentialInvalid

Catch the class of a reason if you handle that reason, else the class of the code. A reason that this release does not
know is raised as the class of its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

_Texts: TypeAlias = Mapping[str, str] | None


class ModelryError(Exception):
    """Anything that Modelry refuses or fails to do.

    `reason` is a stable name for the cause; it is empty if the server gave none. `metadata` has the values that the
    message names. `fields` says what is wrong with each bad field of the request, by its path.
    """

    code: ClassVar[str] = "UNKNOWN"
    reason: str = ""

    def __init__(self, message: str, *, reason: str = "", metadata: _Texts = None, fields: _Texts = None) -> None:
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


class CallTooLong(DeadlineExceeded):
    """The call took as long as the server or a proxy allows: ask for less, or send fewer files at once."""

    reason = "CALL_TOO_LONG"


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


class PathInvalid(InvalidArgument):
    """An artifact path is absolute, has `..`, or is not in normal form."""

    reason = "PATH_INVALID"


class CursorInvalid(InvalidArgument):
    """An event cursor is damaged, or belongs to another workspace."""

    reason = "CURSOR_INVALID"


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


class DvcNotTracked(NotFound):
    """DVC does not track what is at the path, or has no digest of it yet. The message says what to run."""

    reason = "DVC_NOT_TRACKED"


class DvcContentMissing(NotFound):
    """DVC tracks the path, but its content is not there. The message says what to run."""

    reason = "DVC_CONTENT_MISSING"


class TagNotFound(NotFound):
    """There is no tag with that key."""

    reason = "TAG_NOT_FOUND"


class ArtifactNotFound(NotFound):
    """The owner has no such file or folder."""

    reason = "ARTIFACT_NOT_FOUND"


class OwnerNotFound(NotFound):
    """There is no such owner of artifacts."""

    reason = "OWNER_NOT_FOUND"


class SnapshotNotFound(NotFound):
    """The owner has no snapshot."""

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


class PromotionNotFound(NotFound):
    """There is no such promotion."""

    reason = "PROMOTION_NOT_FOUND"


class EvaluationNotFound(NotFound):
    """There is no such evaluation."""

    reason = "EVALUATION_NOT_FOUND"


class WorkspaceExists(AlreadyExists):
    """There is a workspace with that name."""

    reason = "WORKSPACE_EXISTS"


class ExperimentExists(AlreadyExists):
    """There is an experiment with that name, possibly a deleted one."""

    reason = "EXPERIMENT_EXISTS"


class RunExists(AlreadyExists):
    """Another run has that run id."""

    reason = "RUN_EXISTS"


class ParamConflict(AlreadyExists):
    """A param was logged again with another value; params are write-once."""

    reason = "PARAM_CONFLICT"


class ArtifactKindConflict(AlreadyExists):
    """There is a folder where a file would be written, or a file where a folder would be."""

    reason = "ARTIFACT_KIND_CONFLICT"


class SnapshotExists(AlreadyExists):
    """The owner has another snapshot already."""

    reason = "SNAPSHOT_EXISTS"


class ModelExists(AlreadyExists):
    """There is a registered model with that name."""

    reason = "MODEL_EXISTS"


class PermissionMissing(PermissionDenied):
    """The caller lacks the permission that the metadata names."""

    reason = "PERMISSION_MISSING"


class TooManyStreams(ResourceExhausted):
    """The server has reached its limit of open streams."""

    reason = "TOO_MANY_STREAMS"


class TooManyCalls(ResourceExhausted):
    """Too many calls wait for their turn at the server, and this connection has the most of them. Try again later."""

    reason = "TOO_MANY_CALLS"


class QuotaExceeded(ResourceExhausted):
    """The workspace has as many runs, versions or stored bytes as it may have; the metadata has the numbers."""

    reason = "QUOTA_EXCEEDED"


class AnswerTooLarge(FailedPrecondition):
    """The answer exceeds the size limit. Ask for less: fewer fields, or a smaller page."""

    reason = "ANSWER_TOO_LARGE"


class LimitReached(FailedPrecondition):
    """A thing would hold more than it may in all, such as tags or aliases. Remove something first."""

    reason = "LIMIT_REACHED"


class ExperimentDeleted(FailedPrecondition):
    """The experiment is deleted. Restore it first."""

    reason = "EXPERIMENT_DELETED"


class RunDeleted(FailedPrecondition):
    """The run is deleted. Restore it first."""

    reason = "RUN_DELETED"


class RunAlreadyEnded(FailedPrecondition):
    """The run has ended already, with another status."""

    reason = "RUN_ALREADY_ENDED"


class OwnerFrozen(FailedPrecondition):
    """The files belong to a model version and never change."""

    reason = "OWNER_FROZEN"


class ModelInUse(FailedPrecondition):
    """The model has versions in a serving stage, such as Staging or Production."""

    reason = "MODEL_IN_USE"


class VersionInUse(FailedPrecondition):
    """The version is in a serving stage, or an alias points at it."""

    reason = "VERSION_IN_USE"


class SourceEmpty(FailedPrecondition):
    """The run has no files at the path of the source."""

    reason = "SOURCE_EMPTY"


class LocalFileChanged(FailedPrecondition):
    """A local file changed while it was uploaded or its digest was computed, or since DVC tracked it."""

    reason = "LOCAL_FILE_CHANGED"


class DatasetEmpty(FailedPrecondition):
    """A dataset has no rows or no files, so there is nothing to record."""

    reason = "DATASET_EMPTY"


class ThresholdsNotMet(FailedPrecondition):
    """Metrics of an evaluation have not kept their thresholds: `verdicts` has a `modelry.models.Verdict` for each."""

    reason = "THRESHOLDS_NOT_MET"
    verdicts: tuple[Any, ...] = ()


class RequestInFlight(Aborted):
    """A call with the same request id is being worked on."""

    reason = "REQUEST_IN_FLIGHT"


class EtagMismatch(Aborted):
    """Somebody else has changed the thing since it was read."""

    reason = "ETAG_MISMATCH"


class BatchGap(Aborted):
    """An earlier numbered batch is missing."""

    reason = "BATCH_GAP"


class UploadBrokenOff(Aborted):
    """An upload ended before it was complete, so nothing was written."""

    reason = "UPLOAD_BROKEN_OFF"


class CursorOutOfRange(OutOfRange):
    """The event after which a cursor stands is not stored; the metadata has `oldest_cursor` and `newest_cursor`."""

    reason = "CURSOR_OUT_OF_RANGE"


class ServiceUnavailable(Unavailable):
    """A service that the call needs can't answer now; the metadata has its name, `service`, and reason, `cause`."""

    reason = "SERVICE_UNAVAILABLE"


class Draining(Unavailable):
    """The server is shutting down."""

    reason = "DRAINING"


class DatabaseUnavailable(Unavailable):
    """The database can't do this now. The message says why, and whether a change may have been made all the same."""

    reason = "DATABASE_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The object store does not answer."""

    reason = "STORE_UNAVAILABLE"


class DigestMismatch(DataLoss):
    """The content does not have the announced SHA-256 or size."""

    reason = "DIGEST_MISMATCH"


class BlobLost(DataLoss):
    """The object store has lost or damaged the content of a file."""

    reason = "BLOB_LOST"


class CredentialInvalid(Unauthenticated):
    """The credential is not known to the server, or is not valid any more."""

    reason = "CREDENTIAL_INVALID"


_kinds = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, ModelryError)]
__all__ = sorted(kind.__name__ for kind in _kinds)
