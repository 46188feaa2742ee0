"""The errors that calls raise: a class for each status code, and below it one for each reason.

    ModelryError
    ├── Cancelled, Unknown, Unimplemented, Internal
    ├── InvalidArgument: FieldInvalid, FilterSyntax, PageTokenInvalid, RequestIdReused, PathInvalid, CursorInvalid
    ├── DeadlineExceeded: CallTooLong
    ├── NotFound: WorkspaceNotFound, ExperimentNotFound, RunNotFound, DatasetNotFound, TagNotFound,
    │       ArtifactNotFound, OwnerNotFound, SnapshotNotFound, ModelNotFound, VersionNotFound, AliasNotFound,
    │       PromotionNotFound, EvaluationNotFound, PrincipalNotFound, GroupNotFound, TokenNotFound, RoleNotFound,
    │       RoleBindingNotFound, DvcNotTracked, DvcContentMissing
    ├── AlreadyExists: WorkspaceExists, ExperimentExists, RunExists, ParamConflict, ArtifactKindConflict,
    │       SnapshotExists, ModelExists, PrincipalExists, GroupExists, RoleExists, RoleBindingExists
    ├── PermissionDenied: PermissionMissing, GrantTooWide, TokenIsInvitation
    ├── ResourceExhausted: TooManyStreams, TooManyCalls, TooManyFailures, QuotaExceeded
    ├── FailedPrecondition: AnswerTooLarge, LimitReached, ExperimentDeleted, RunDeleted, RunAlreadyEnded, OwnerFrozen,
    │       ModelInUse, VersionInUse, SourceEmpty, LocalFileChanged, DatasetEmpty, ThresholdsNotMet,
    │       RoleInUse, RoleBuiltin, PrincipalDisabled, LastAdministrator, GroupCycle
    ├── Aborted: RequestInFlight, EtagMismatch, BatchGap, UploadBrokenOff
    ├── OutOfRange: CursorOutOfRange
    ├── Unavailable: ServiceUnavailable, Draining, DatabaseUnavailable, StoreUnavailable
    ├── DataLoss: DigestMismatch, BlobLost
    └── Unauthenticated: CredentialMissing, CredentialInvalid, NotAService

Catch the class of a reason if you handle that reason, else the class of the code. A reason that this release does not
know is raised as the class of its code.
"""

from __future__ import annotations

from typing import Any

from modelry._status_errors import *  # noqa: F403
from modelry._status_errors import (
    Aborted,
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    ModelryError,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)


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


class PrincipalNotFound(NotFound):
    """There is no such person or service account."""

    reason = "PRINCIPAL_NOT_FOUND"


class GroupNotFound(NotFound):
    """There is no such group."""

    reason = "GROUP_NOT_FOUND"


class TokenNotFound(NotFound):
    """There is no such API token."""

    reason = "TOKEN_NOT_FOUND"


class RoleNotFound(NotFound):
    """There is no such role."""

    reason = "ROLE_NOT_FOUND"


class RoleBindingNotFound(NotFound):
    """There is no such role binding."""

    reason = "ROLE_BINDING_NOT_FOUND"


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


class PrincipalExists(AlreadyExists):
    """There is a principal with that name, or with that id of the issuer."""

    reason = "PRINCIPAL_EXISTS"


class GroupExists(AlreadyExists):
    """There is a group with that name."""

    reason = "GROUP_EXISTS"


class RoleExists(AlreadyExists):
    """There is a role with that name."""

    reason = "ROLE_EXISTS"


class RoleBindingExists(AlreadyExists):
    """The role is bound so already; the metadata has `binding_id`."""

    reason = "ROLE_BINDING_EXISTS"


class GrantTooWide(PermissionDenied):
    """The caller would give, or take away, more than it may do itself."""

    reason = "GRANT_TOO_WIDE"


class TokenIsInvitation(PermissionDenied):
    """The token is an invitation. Exchange it: `credentials.keep_token`, or `client.tokens.rotate()`."""

    reason = "TOKEN_IS_INVITATION"


class QuotaExceeded(ResourceExhausted):
    """The workspace has as much as its quota allows."""

    reason = "QUOTA_EXCEEDED"


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


class RoleInUse(FailedPrecondition):
    """Somebody has the role, or it is the cap of a token."""

    reason = "ROLE_IN_USE"


class RoleBuiltin(FailedPrecondition):
    """The role is part of Modelry and can't be changed."""

    reason = "ROLE_BUILTIN"


class PrincipalDisabled(FailedPrecondition):
    """The principal is disabled. Enable it first."""

    reason = "PRINCIPAL_DISABLED"


class LastAdministrator(FailedPrecondition):
    """Nobody would be left who may administer the installation."""

    reason = "LAST_ADMINISTRATOR"


class GroupCycle(FailedPrecondition):
    """A group would be in itself."""

    reason = "GROUP_CYCLE"


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


class BatchGap(Aborted):
    """An earlier numbered batch is missing."""

    reason = "BATCH_GAP"


class UploadBrokenOff(Aborted):
    """An upload ended before it was complete, so nothing was written."""

    reason = "UPLOAD_BROKEN_OFF"


class CursorOutOfRange(OutOfRange):
    """The event after which a cursor stands is not stored; the metadata has `oldest_cursor` and `newest_cursor`."""

    reason = "CURSOR_OUT_OF_RANGE"


class StoreUnavailable(Unavailable):
    """The object store does not answer."""

    reason = "STORE_UNAVAILABLE"


class DigestMismatch(DataLoss):
    """The content does not have the announced SHA-256 or size."""

    reason = "DIGEST_MISMATCH"


class BlobLost(DataLoss):
    """The object store has lost or damaged the content of a file."""

    reason = "BLOB_LOST"


_kinds = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, ModelryError)]
__all__ = sorted(kind.__name__ for kind in _kinds)
