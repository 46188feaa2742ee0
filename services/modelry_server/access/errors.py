"""Everything about access that a caller can act on."""

from modelry_server.kernel.errors import AlreadyExists, NotFound
from modelry_server.kernel.fields import shown


class WorkspaceNotFound(NotFound):
    """There is no such workspace, or the caller may not know of it."""

    reason = "WORKSPACE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no workspace {shown(name)}", kind="workspace", name=name, workspace=name)


class WorkspaceExists(AlreadyExists):
    """A workspace of that name is there."""

    reason = "WORKSPACE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a workspace {name!r} already; use it, or choose another name", workspace=name)
