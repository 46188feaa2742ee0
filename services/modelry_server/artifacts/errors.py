"""Everything about artifacts that a caller can act on."""

from modelry_server.kernel.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from modelry_server.kernel.requests.fields import shown


class PathInvalid(InvalidArgument):
    """A path climbs, is absolute, or is not in normal form; `rule` names what it breaks."""

    reason = "PATH_INVALID"

    def __init__(self, field: str, path: str, rule: str, wanted: str) -> None:
        super().__init__(
            f"{shown(path)} is not a path of an artifact: {wanted}", field=field, path=shown(path), rule=rule
        )


class ArtifactNotFound(NotFound):
    """The owner has no such file or folder."""

    reason = "ARTIFACT_NOT_FOUND"

    def __init__(self, owner: str, path: str) -> None:
        what = f"no file or folder {shown(path)}" if path else "no files"
        super().__init__(f"{owner} has {what}", kind="artifact", name=f"{owner}/{path}", owner=owner, path=path)


class ArtifactKindConflict(AlreadyExists):
    """A folder stands where a file is to be, or a file where a folder is to be."""

    reason = "ARTIFACT_KIND_CONFLICT"

    def __init__(self, path: str, present: str, wanted: str) -> None:
        super().__init__(
            f"{shown(path)} is a {present} and can't be a {wanted} too; choose another path, or delete it first",
            path=path,
            present=present,
            wanted=wanted,
        )


class DigestMismatch(DataLoss):
    """The bytes do not have the SHA-256 or the size that was announced."""

    reason = "DIGEST_MISMATCH"

    def __init__(self, path: str, what: str, expected: object, actual: object) -> None:
        super().__init__(
            f"the {what} of {shown(path)} was announced as {expected} and is {actual}; nothing was kept",
            path=path,
            expected=expected,
            actual=actual,
        )


class OwnerFrozen(FailedPrecondition):
    """The files belong to a model version and never change."""

    reason = "OWNER_FROZEN"

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"the files of {owner} never change; write to a run and make a new version from it", owner=owner
        )


class OwnerNotFound(NotFound):
    """There is no such owner of artifacts."""

    reason = "OWNER_NOT_FOUND"

    def __init__(self, owner: str) -> None:
        super().__init__(f"there is no {owner} that could own artifacts", kind="owner", name=owner, owner=owner)


class RunDeleted(FailedPrecondition):
    """The run is deleted."""

    reason = "RUN_DELETED"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"the run {run_id} is deleted; restore it before you write to it", run_id=run_id)


class BlobLost(DataLoss):
    """The object store has lost or damaged the content of a file."""

    reason = "BLOB_LOST"

    def __init__(self, path: str, sha256: str) -> None:
        super().__init__(
            f"the content of {shown(path)}, SHA-256 {sha256}, is lost or damaged in the store; write the file again",
            path=path,
            sha256=sha256,
        )


class StoreUnavailable(Unavailable):
    """The object store does not answer, or refuses."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self, problem: str) -> None:
        super().__init__(f"the object store can't be used: {problem}; send the call again later", problem=problem)


class SnapshotNotFound(NotFound):
    """There is no snapshot of that owner."""

    reason = "SNAPSHOT_NOT_FOUND"

    def __init__(self, owner: str) -> None:
        super().__init__(f"there is no snapshot of {owner}", kind="snapshot", name=owner, owner=owner)


class SnapshotExists(AlreadyExists):
    """The owner holds another snapshot already."""

    reason = "SNAPSHOT_EXISTS"

    def __init__(self, owner: str, source_owner: str, source_path: str) -> None:
        source = f"{source_owner}/{source_path}".rstrip("/")
        super().__init__(
            f"{owner} holds a snapshot of {source} already; a snapshot never changes, make a new version for another",
            owner=owner,
            source_owner=source_owner,
            source_path=source_path,
        )


class UploadBrokenOff(DeadlineExceeded):
    """The caller went away, or took longer than one stream of files may take."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("the stream of files was broken off, or took too long; nothing was kept, send the files again")
