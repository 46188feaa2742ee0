"""The errors of the registry: one class for each reason."""

from collections.abc import Sequence

from modelry_server.kernel.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound, OutOfRange
from modelry_server.kernel.requests.fields import shown

_SHOWN = 20


class ModelNotFound(NotFound):
    """The workspace has no registered model with this name, or the caller may not see it."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, workspace: str, model_name: str) -> None:
        super().__init__(
            f"there is no registered model {shown(model_name)} in the workspace {shown(workspace)}",
            kind="model",
            name=model_name,
            workspace=workspace,
            model_name=model_name,
        )


class ModelIdNotFound(NotFound):
    """There is no registered model with this id, or the caller may not see it."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, model_id: str) -> None:
        super().__init__(
            f"there is no registered model with the id {shown(model_id)}",
            kind="model",
            name=model_id,
            model_id=model_id,
        )


class ModelExists(AlreadyExists):
    """The workspace has a registered model with this name."""

    reason = "MODEL_EXISTS"

    def __init__(self, workspace: str, model_name: str) -> None:
        super().__init__(
            f"the workspace {workspace!r} already has a registered model {shown(model_name)}; "
            "use it, or choose another name",
            workspace=workspace,
            model_name=model_name,
        )


class ModelInUse(FailedPrecondition):
    """The model has versions in a serving stage."""

    reason = "MODEL_IN_USE"

    def __init__(
        self, model_name: str, version_numbers: Sequence[int], *, serving: Sequence[str], archive: str
    ) -> None:
        versions = _listed(version_numbers)
        one = len(version_numbers) == 1
        super().__init__(
            f"{shown(model_name)} can't be deleted: {'version' if one else 'versions'} {versions} "
            f"{'is' if one else 'are'} in {' or '.join(serving)}; move {'it' if one else 'them'} to {archive} first",
            model_name=model_name,
            versions=versions,
        )


class VersionNotFound(NotFound):
    """The model has no version with this number."""

    reason = "VERSION_NOT_FOUND"

    def __init__(self, model_name: str, version_number: int) -> None:
        super().__init__(
            f"the model {shown(model_name)} has no version {version_number}",
            kind="version",
            name=f"{model_name}/{version_number}",
            model_name=model_name,
            version_number=version_number,
        )


class VersionIdNotFound(NotFound):
    """There is no version with this id, or the caller may not see it."""

    reason = "VERSION_NOT_FOUND"

    def __init__(self, version_id: str) -> None:
        super().__init__(
            f"there is no version with the id {shown(version_id)}",
            kind="version",
            name=version_id,
            version_id=version_id,
        )


class CreatedVersionDeleted(NotFound):
    """The version that an earlier call with the same request id created has been deleted."""

    reason = "VERSION_NOT_FOUND"

    def __init__(self, model_name: str, version_id: str) -> None:
        super().__init__(
            f"the version of {shown(model_name)} that this request created, {version_id}, has been deleted; "
            "use another request_id to create a new one",
            kind="version",
            name=version_id,
            model_name=model_name,
            version_id=version_id,
        )


class VersionInFlight(Aborted):
    """Another call is creating the same version, or its files are being deleted."""

    reason = "REQUEST_IN_FLIGHT"

    def __init__(self, version_id: str) -> None:
        super().__init__(
            f"another call is working on the version {version_id} of this request; send the call again",
            version_id=version_id,
        )


class VersionInUse(FailedPrecondition):
    """The version is in a serving stage, or an alias points at it."""

    reason = "VERSION_IN_USE"

    def __init__(self, model_name: str, version_number: int, stage: str, aliases: Sequence[str]) -> None:
        named = _listed([shown(alias) for alias in aliases]) or "none"
        super().__init__(
            f"version {version_number} of {shown(model_name)} is in use (stage: {stage}, aliases: {named}); "
            "move it out of its serving stage and remove its aliases first",
            model_name=model_name,
            version_number=version_number,
            stage=stage,
            aliases=",".join(aliases[:_SHOWN]),
        )


class AliasNotFound(NotFound):
    """The model has no such alias."""

    reason = "ALIAS_NOT_FOUND"

    def __init__(self, model_name: str, alias: str) -> None:
        super().__init__(
            f"the model {shown(model_name)} has no alias {shown(alias)}",
            kind="alias",
            name=f"{model_name}@{alias}",
            model_name=model_name,
            alias=alias,
        )


class TagNotFound(NotFound):
    """There is no tag with this key."""

    reason = "TAG_NOT_FOUND"

    def __init__(self, owner: str, keys: Sequence[str]) -> None:
        named = _listed([shown(key) for key in keys])
        super().__init__(f"{owner} has no tag {named}; no tag was removed", kind="tag", name=keys[0], key=keys[0])


class PromotionNotFound(NotFound):
    """There is no promotion with this id, or the caller may not see it."""

    reason = "PROMOTION_NOT_FOUND"

    def __init__(self, promotion_id: str) -> None:
        super().__init__(
            f"there is no promotion with the id {shown(promotion_id)}",
            kind="promotion",
            name=promotion_id,
            promotion_id=promotion_id,
        )


class EvaluationNotFound(NotFound):
    """There is no evaluation with this id, or the caller may not see it."""

    reason = "EVALUATION_NOT_FOUND"

    def __init__(self, evaluation_id: str) -> None:
        super().__init__(
            f"there is no evaluation with the id {shown(evaluation_id)}",
            kind="evaluation",
            name=evaluation_id,
            evaluation_id=evaluation_id,
        )


class RunDeleted(FailedPrecondition):
    """The run that a version should be created from is deleted."""

    reason = "RUN_DELETED"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"the run {run_id} is deleted; restore it first", run_id=run_id)


class SourceEmpty(FailedPrecondition):
    """The run has no files at the path that a version should be created from."""

    reason = "SOURCE_EMPTY"

    def __init__(self, run_id: str, path: str) -> None:
        files = f"no files at {shown(path)}" if path else "no files"
        super().__init__(
            f"the run {run_id} has {files}; log them first, or use another path",
            run_id=run_id,
            path=path,
        )


class CursorOutOfRange(OutOfRange):
    """The event that the cursor follows is not stored, for example after a restore from a backup."""

    reason = "CURSOR_OUT_OF_RANGE"

    def __init__(self, *, oldest_cursor: str, newest_cursor: str) -> None:
        super().__init__(
            "the event that after_cursor follows is not stored, as after a restore from a backup; continue after "
            f"newest_cursor ({newest_cursor}), or read again all that is kept, after oldest_cursor ({oldest_cursor})",
            oldest_cursor=oldest_cursor,
            newest_cursor=newest_cursor,
        )


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items[:_SHOWN])) + (", …" if len(items) > _SHOWN else "")
