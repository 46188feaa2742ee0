"""What a caller may do, and where.

A domain calls `Access.require` as soon as it knows where the requested thing lies, and before it checks anything else
in the request. So a caller who may not see a thing can't find out that it exists.
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
    """What an rpc needs. Only the services of this installation have `SERVICE`; no client has it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing lies, and what roles can be bound to. Each thing is in a workspace, some in an experiment or model.

    The place with an empty workspace is the installation itself.
    """

    workspace: str
    experiment_id: str = ""
    model_id: str = ""


INSTALLATION = Place("")
"""The place of an action that belongs to no workspace, such as creating one."""

Judge: TypeAlias = Callable[[Caller, Permission, Place], bool]
"""Says whether a caller has a permission at a place."""


class WorkspaceNotFound(NotFound):
    """There is no workspace with this name, or the caller may not see it."""

    reason = "WORKSPACE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        name = name[:_SHOWN]
        super().__init__(f"there is no workspace {name!r}", kind="workspace", name=name, workspace=name)


class Access:
    """Checks the permissions of the current caller."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def require(
        self, permission: Permission, place: Place, *, unseen: Callable[[], ModelryError] | None = None
    ) -> None:
        """Does nothing if the current caller has the permission at the place.

        Raises the error that `unseen` makes, by default WorkspaceNotFound, if the caller may not read there: the same
        error as for a thing that does not exist. Raises PermissionMissing if the caller may read there but lacks the
        permission, and always for the installation, whose existence is no secret.
        """
        present = caller.current()
        if self._judge(present, permission, place):
            return
        hidden = permission is Permission.READ or not self._judge(present, Permission.READ, place)
        if place.workspace and hidden:
            raise unseen() if unseen else WorkspaceNotFound(place.workspace)
        raise PermissionMissing(present.subject, permission, place.workspace)

    def allows(self, permission: Permission, place: Place) -> bool:
        """Whether the current caller has the permission at the place. For lists that leave out what is hidden."""
        return self._judge(caller.current(), permission, place)
