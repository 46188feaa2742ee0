"""Everything about access that a caller can act on."""

from modelry_server.kernel.errors import AlreadyExists


class WorkspaceExists(AlreadyExists):
    """A workspace of that name is there."""

    reason = "WORKSPACE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a workspace {name!r} already; use it, or choose another name", workspace=name)
