"""The errors of access that a caller can act on."""

from modelry_server.kernel.errors import AlreadyExists


class WorkspaceExists(AlreadyExists):
    """There is a workspace with this name already."""

    reason = "WORKSPACE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"the workspace {name!r} exists already; use it, or choose another name", workspace=name)
