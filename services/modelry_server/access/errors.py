"""The errors of access that a caller can act on."""

from collections.abc import Collection

from modelry_server.kernel.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
)

_SHOWN = 250  # characters of what the caller gave, in a message


class WorkspaceExists(AlreadyExists):
    """There is a workspace with this name already."""

    reason = "WORKSPACE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"the workspace {name!r} exists already; use it, or choose another name", workspace=name)


class PrincipalNotFound(NotFound):
    """There is no such principal, or the caller may not see it. `given` is its id or its name."""

    reason = "PRINCIPAL_NOT_FOUND"

    def __init__(self, given: str) -> None:
        given = given[:_SHOWN]
        super().__init__(f"there is no principal {given!r}", kind="principal", name=given, principal=given)


class PrincipalExists(AlreadyExists):
    """There is a principal with this name, or with this id of the issuer."""

    reason = "PRINCIPAL_EXISTS"

    def __init__(self, name: str, issuer: str = "", external_id: str = "") -> None:
        if issuer:
            super().__init__(
                f"there is a principal of {issuer!r} with the id {external_id!r} already: {name!r}",
                name=name,
                issuer=issuer,
                external_id=external_id,
            )
            return
        super().__init__(f"there is a principal {name!r} already; choose another name", name=name)


class PrincipalDisabled(FailedPrecondition):
    """The principal is disabled."""

    reason = "PRINCIPAL_DISABLED"

    def __init__(self, principal_id: str, name: str) -> None:
        super().__init__(
            f"the principal {name!r} is disabled; enable it first", principal_id=principal_id, name=name
        )


class TokenNotFound(NotFound):
    """There is no such token, or the caller may not see it. `why` says what else is the matter."""

    reason = "TOKEN_NOT_FOUND"

    def __init__(self, token_id: str, why: str = "") -> None:
        given = token_id[:_SHOWN]
        told = f"there is no token {given!r}"
        super().__init__(f"{told} that is in force: {why}" if why else told, kind="token", name=given, token_id=given)


class GrantTooWide(PermissionDenied):
    """The caller would give more than it may do itself. `permissions` are those that it lacks."""

    reason = "GRANT_TOO_WIDE"

    def __init__(self, what: str, permissions: Collection[str] = (), **metadata: object) -> None:
        listed = ", ".join(sorted(permissions))
        super().__init__(f"{what}: {listed}" if listed else what, permissions=listed, **metadata)
