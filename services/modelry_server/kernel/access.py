"""What a caller may do, and where.

A domain calls `Access.require` as soon as it knows where the thing lies that a request is about, and before it judges
anything else of the request: who may not know of a thing learns nothing of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from modelry_server.kernel import caller
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import ModelryError, NotFound, PermissionMissing

_SHOWN = 100  # characters of a name in a message


class Permission(StrEnum):
    """What an rpc needs. `SERVICE` is for the services of this installation only: no client has it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing lies: what roles can be bound to. Every thing is in a workspace; some in an experiment or model.

    The place with an empty workspace is the installation itself.
    """

    workspace: str
    experiment_id: str = ""
    model_id: str = ""


INSTALLATION = Place("")
"""The place of what is in no workspace, such as the workspaces themselves."""

Judge: TypeAlias = Callable[[Caller, Permission, Place], bool]
"""Says whether a caller has a permission at a place."""


class WorkspaceNotFound(NotFound):
    """There is no workspace of that name, or the caller may not know of it."""

    reason = "WORKSPACE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        name = name[:_SHOWN]
        super().__init__(f"there is no workspace {name!r}", kind="workspace", name=name, workspace=name)


class Access:
    """Judges what the present caller asks for."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def require(
        self, permission: Permission, place: Place, *, unseen: Callable[[], ModelryError] | None = None
    ) -> None:
        """Does nothing if the present caller has the permission at the place.

        Raises what `unseen` makes, by default WorkspaceNotFound, if the caller may not even read there: the same error
        as if the thing were not there. Raises PermissionMissing if the caller may read there, but not do this.
        """
        present = caller.current()
        if self._judge(present, permission, place):
            return
        if permission is Permission.READ or not self._judge(present, Permission.READ, place):
            raise unseen() if unseen else WorkspaceNotFound(place.workspace)
        raise PermissionMissing(present.subject, permission, place.workspace)
