"""Everything about the registry that a caller can act on, one class for each reason."""

from collections.abc import Sequence

from modelry_server.kernel.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from modelry_server.kernel.requests.fields import shown

_SHOWN = 20


class ModelNotFound(NotFound):
    """There is no such registered model."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, workspace: str, model: str) -> None:
        super().__init__(
            f"there is no registered model {shown(model)} in the workspace {shown(workspace)}",
            kind="model",
            name=model,
            workspace=workspace,
            model=model,
        )


class ModelExists(AlreadyExists):
    """A registered model of that name is in the workspace."""

    reason = "MODEL_EXISTS"

    def __init__(self, workspace: str, model: str) -> None:
        super().__init__(
            f"there is a registered model {shown(model)} in the workspace {workspace!r} already; "
            "use it, or choose another name",
            workspace=workspace,
            model=model,
        )


class ModelInUse(FailedPrecondition):
    """The model has versions in Staging or Production."""

    reason = "MODEL_IN_USE"

    def __init__(self, model: str, versions: Sequence[int]) -> None:
        named = ", ".join(map(str, versions[:_SHOWN])) + (", …" if len(versions) > _SHOWN else "")
        super().__init__(
            f"versions {named} of {shown(model)} are in Staging or Production; archive or delete them first",
            model=model,
            versions=named,
        )


class VersionNotFound(NotFound):
    """The model has no such version."""

    reason = "VERSION_NOT_FOUND"

    def __init__(self, model: str, number: int | str) -> None:
        super().__init__(
            f"{shown(model)} has no version {number}",
            kind="version",
            name=f"{model}/{number}",
            model=model,
            number=number,
        )


class MadeVersionDeleted(NotFound):
    """The version that an earlier call of the same request made is deleted."""

    reason = "VERSION_NOT_FOUND"

    def __init__(self, model: str, version_id: str) -> None:
        super().__init__(
            f"the version of {shown(model)} that this request made, {version_id}, is deleted; send another request_id "
            "to make a new one",
            kind="version",
            name=f"versions/{version_id}",
            model=model,
            version_id=version_id,
        )


class VersionInFlight(Aborted):
    """The same version is being made by another call, or its files are being let go."""

    reason = "REQUEST_IN_FLIGHT"

    def __init__(self, version_id: str) -> None:
        super().__init__(
            f"the version {version_id} of this request is being worked on; send it again", version_id=version_id
        )


class VersionInUse(FailedPrecondition):
    """The version is in Staging or Production, or an alias points at it."""

    reason = "VERSION_IN_USE"

    def __init__(self, model: str, number: int, stage: str, aliases: Sequence[str]) -> None:
        named = ", ".join(map(shown, aliases[:_SHOWN])) or "none"
        super().__init__(
            f"version {number} of {shown(model)} is in use (stage: {stage}, aliases: {named}); "
            "move it to None or Archived and remove its aliases first",
            model=model,
            number=number,
            stage=stage,
            aliases=",".join(aliases[:_SHOWN]),
        )


class AliasNotFound(NotFound):
    """The model has no such alias."""

    reason = "ALIAS_NOT_FOUND"

    def __init__(self, model: str, alias: str) -> None:
        super().__init__(
            f"{shown(model)} has no alias {shown(alias)}",
            kind="alias",
            name=f"{model}@{alias}",
            model=model,
            alias=alias,
        )


class TagNotFound(NotFound):
    """There is no tag of that key."""

    reason = "TAG_NOT_FOUND"

    def __init__(self, owner: str, keys: Sequence[str]) -> None:
        named = ", ".join(map(shown, keys[:_SHOWN]))
        super().__init__(f"{owner} has no tag {named}; nothing was removed", kind="tag", name=keys[0], key=keys[0])


class RunDeleted(FailedPrecondition):
    """The run from which a version was to be made is deleted."""

    reason = "RUN_DELETED"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is deleted; restore it first", run_id=run_id)


class SourceEmpty(FailedPrecondition):
    """There are no files at the place from which a version was to be made."""

    reason = "SOURCE_EMPTY"

    def __init__(self, run_id: str, path: str) -> None:
        super().__init__(
            f"run {run_id} has no files at {shown(path)}; log them first, or name another path",
            run_id=run_id,
            path=path,
        )
