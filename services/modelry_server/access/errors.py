"""The errors of access that a caller can act on."""

from collections.abc import Iterable

from modelry_server.kernel.errors import (
    AlreadyExists,
    CredentialInvalid,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from modelry_server.kernel.requests.fields import shown


class WorkspaceExists(AlreadyExists):
    """There is a workspace with this name already."""

    reason = "WORKSPACE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"the workspace {name!r} exists already; use it, or choose another name", workspace=name)


class PrincipalNotFound(NotFound):
    """There is no principal with this id, or the caller may not see it."""

    reason = "PRINCIPAL_NOT_FOUND"

    def __init__(self, principal_id: str) -> None:
        super().__init__(
            f"there is no principal {shown(principal_id)}",
            kind="principal",
            name=principal_id,
            principal_id=principal_id,
        )


class PrincipalDisabled(FailedPrecondition):
    """The principal is disabled."""

    reason = "PRINCIPAL_DISABLED"

    def __init__(self, principal_id: str) -> None:
        super().__init__(f"the principal {principal_id!r} is disabled; enable it first", principal_id=principal_id)


class GroupNotFound(NotFound):
    """There is no group with this name, or the caller may not see it."""

    reason = "GROUP_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no group {shown(name)}", kind="group", name=name, group=name)


class GroupExists(AlreadyExists):
    """There is a group with this name already."""

    reason = "GROUP_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"the group {shown(name)} exists already; use it, or choose another name", group=name)


class GroupCycle(FailedPrecondition):
    """A group would be in itself."""

    reason = "GROUP_CYCLE"

    def __init__(self, group: str, member: str) -> None:
        told = "can't be in itself" if group == member else f"can't have the member {shown(member)}, which it is in"
        super().__init__(f"the group {shown(group)} {told}", group=group, member=member)


class RoleNotFound(NotFound):
    """There is no role with this name."""

    reason = "ROLE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        name = name[:100]
        super().__init__(f"there is no role {name!r}", kind="role", name=name, role=name)


class RoleExists(AlreadyExists):
    """There is a role with this name already."""

    reason = "ROLE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"the role {name!r} exists already; use it, or choose another name", role=name)


class RoleBuiltin(FailedPrecondition):
    """The role is part of Modelry."""

    reason = "ROLE_BUILTIN"

    def __init__(self, name: str) -> None:
        super().__init__(f"the role {name!r} is part of Modelry and can't be changed; make another one", role=name)


class RoleInUse(FailedPrecondition):
    """Somebody has the role, or the caps of tokens name it."""

    reason = "ROLE_IN_USE"

    def __init__(self, name: str, bindings: int, tokens: int) -> None:
        super().__init__(
            f"the role {name!r} has {_counted(bindings, 'binding')}, and {_counted(tokens, 'token')} that it caps; "
            "remove the bindings and revoke the tokens first",
            role=name,
            bindings=bindings,
            tokens=tokens,
        )


class RoleBindingNotFound(NotFound):
    """There is no binding with this id, or the caller may not see it."""

    reason = "ROLE_BINDING_NOT_FOUND"

    def __init__(self, binding_id: str) -> None:
        super().__init__(
            f"there is no role binding {shown(binding_id)}",
            kind="role_binding",
            name=binding_id,
            binding_id=binding_id,
        )


class RoleBindingExists(AlreadyExists):
    """The role is bound so already."""

    reason = "ROLE_BINDING_EXISTS"

    def __init__(self, binding_id: str) -> None:
        super().__init__(f"the role is bound so already, by the binding {binding_id!r}", binding_id=binding_id)


class LastAdministrator(FailedPrecondition):
    """Nobody would be left who may administer the installation."""

    reason = "LAST_ADMINISTRATOR"

    def __init__(self) -> None:
        super().__init__(
            "nobody would be left who is enabled and has the role 'admin' for the whole installation; give it to "
            "somebody else first"
        )


class GrantTooWide(PermissionDenied):
    """The caller would give, or take, more than it may do itself. `permissions` are those that it lacks."""

    reason = "GRANT_TOO_WIDE"

    def __init__(self, message: str, permissions: Iterable[str] = (), **metadata: object) -> None:
        lacking = ", ".join(sorted(permissions))
        told = f"{message} {lacking}" if lacking else message
        super().__init__(told, permissions=lacking, **metadata)


class PrincipalExists(AlreadyExists):
    """There is a principal with this name, or with this id of the issuer."""

    reason = "PRINCIPAL_EXISTS"

    def __init__(self, name: str, issuer: str = "", external_id: str = "") -> None:
        if not issuer:
            super().__init__(f"there is a principal {name!r} already; choose another name", name=name)
            return
        super().__init__(
            f"there is a principal with the id {external_id!r} of {issuer!r} already: {name!r}",
            name=name,
            issuer=issuer,
            external_id=external_id,
        )


class TokenNotFound(NotFound):
    """There is no such token, or the caller may not see it; or none that can be rotated, and `why`."""

    reason = "TOKEN_NOT_FOUND"

    def __init__(self, token_id: str, why: str = "") -> None:
        told = f"there is no token {shown(token_id)}"
        super().__init__(
            f"{told} that is in force: {why}" if why else told, kind="token", name=token_id, token_id=token_id
        )


class TokenRefused(CredentialInvalid):
    """The token of an OIDC issuer is not accepted. Every reason has the same answer; the debug log has the reason."""

    reason = CredentialInvalid.reason


class IssuerUnavailable(Unavailable):
    """The keys of an OIDC issuer can't be had now, so its token can be neither accepted nor refused."""

    reason = "SERVICE_UNAVAILABLE"

    def __init__(self, issuer: str) -> None:
        super().__init__(
            f"the keys of the issuer {issuer!r} can't be read now, so its tokens can't be checked; try again later",
            issuer=issuer,
        )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
