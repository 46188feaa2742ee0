"""The errors of artifacts that a caller can act on. An owner is given as `runs/<id>` or `versions/<id>`."""

from modelry_server.kernel.errors import (
    Aborted,
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from modelry_server.kernel.requests.fields import shown

_KINDS = {"runs": "run", "versions": "model version"}


class PathInvalid(InvalidArgument):
    """An artifact path breaks a rule: it is absolute, has `..`, or is not in normal form. `rule` names the rule."""

    reason = "PATH_INVALID"

    def __init__(self, field: str, path: str, rule: str, problem: str) -> None:
        super().__init__(f"invalid artifact path {shown(path)}: {problem}", field=field, path=shown(path), rule=rule)


class TooManyFiles(InvalidArgument):
    """A stream holds more files than this server takes."""

    reason = "FIELD_INVALID"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the stream has more than {limit} files, which is the limit of this server; nothing was written; "
            "pack the files into archives, or write the subfolders in streams of their own",
            field="header",
            limit=limit,
        )


class TooManyFolders(InvalidArgument):
    """The files of a stream lie in too many folders for their number."""

    reason = "FIELD_INVALID"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the files of the stream lie in more than {limit} folders, which is the limit for so many files; nothing "
            "was written; pack the files into archives, or use fewer folders",
            field="header",
            limit=limit,
        )


class ArtifactNotFound(NotFound):
    """The owner has no such file or folder."""

    reason = "ARTIFACT_NOT_FOUND"

    def __init__(self, owner: str, path: str) -> None:
        what = f"file or folder {shown(path)}" if path else "files"
        super().__init__(
            f"{_named(owner)} has no {what}", kind="artifact", name=f"{owner}/{path}", owner=owner, path=path
        )


class ArtifactKindConflict(AlreadyExists):
    """There is a folder where a file would be written, or a file where a folder would be."""

    reason = "ARTIFACT_KIND_CONFLICT"

    def __init__(self, path: str, present: str, wanted: str) -> None:
        super().__init__(
            f"{shown(path)} is a {present}, so it can't also be a {wanted}; use another path, or delete it first",
            path=path,
            present=present,
            wanted=wanted,
        )


class DigestMismatch(DataLoss):
    """The content does not have the announced SHA-256 or size."""

    reason = "DIGEST_MISMATCH"

    def __init__(self, path: str, what: str, expected: object, actual: object, *, said: str = "") -> None:
        """`said` is what is wrong in other words, for a case that a comparison does not explain."""
        wrong = said or f"the announced {what} of {shown(path)} is {expected}, but that of its content is {actual}"
        super().__init__(f"{wrong}; nothing was written", path=path, expected=expected, actual=actual)


class OwnerFrozen(FailedPrecondition):
    """The files belong to a model version and never change."""

    reason = "OWNER_FROZEN"

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"the files of {_named(owner)} can't be changed; write them to a run and create a new version from it",
            owner=owner,
        )


class OwnerNotFound(NotFound):
    """There is no such owner of artifacts, or the caller may not know of it."""

    reason = "OWNER_NOT_FOUND"

    def __init__(self, owner: str) -> None:
        super().__init__(f"{_named(owner)} does not exist", kind="owner", name=owner, owner=owner)


class RunDeleted(FailedPrecondition):
    """The run is deleted."""

    reason = "RUN_DELETED"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is deleted; restore it before you write to it", run_id=run_id)


class BlobLost(DataLoss):
    """The object store has lost or damaged the content of a file."""

    reason = "BLOB_LOST"

    def __init__(self, path: str, sha256: str) -> None:
        super().__init__(
            f"the content of {shown(path)} (SHA-256 {sha256}) is missing or damaged in the object store; "
            "write the file again",
            path=path,
            sha256=sha256,
        )


class StoreUnavailable(Unavailable):
    """The object store does not answer, or refuses the request."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self, problem: str) -> None:
        super().__init__(f"the object store is unavailable: {problem}; try again later", problem=problem)


class SnapshotNotFound(NotFound):
    """The version has no snapshot."""

    reason = "SNAPSHOT_NOT_FOUND"

    def __init__(self, version_id: str) -> None:
        super().__init__(
            f"model version {version_id} has no snapshot", kind="snapshot", name=version_id, version_id=version_id
        )


class SnapshotExists(AlreadyExists):
    """The version has another snapshot already."""

    reason = "SNAPSHOT_EXISTS"

    def __init__(self, version_id: str, source_owner: str, source_path: str) -> None:
        source = f"{shown(source_path)} of {_named(source_owner)}" if source_path else _named(source_owner)
        super().__init__(
            f"model version {version_id} already has a snapshot, of {source}; a snapshot can't be replaced, so create "
            "a new version",
            version_id=version_id,
            source_owner=source_owner,
            source_path=source_path,
        )


class UploadBrokenOff(Aborted):
    """The stream ended before it was complete, or its call was cancelled."""

    reason = "UPLOAD_BROKEN_OFF"

    def __init__(self) -> None:
        super().__init__(
            "the stream has broken off: a complete one ends with sent_file_count; nothing was written; send it again "
            "from the beginning"
        )


class UploadTooLong(DeadlineExceeded):
    """The stream took longer than the server allows."""

    reason = "CALL_TOO_LONG"

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"the stream took longer than the {limit_s:g} s that the server allows; nothing was written; write the "
            "files in several streams",
            limit_s=f"{limit_s:g}",
        )


def _named(owner: str) -> str:
    kind, _, owner_id = owner.partition("/")
    return f"{_KINDS[kind]} {owner_id}"
