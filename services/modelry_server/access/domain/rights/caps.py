"""The caps of a credential: what it may do at most, whatever its principal may do."""

from collections.abc import Sequence

from modelry_server.access.errors import GrantTooWide
from modelry_server.access.store import roles
from modelry_server.kernel import caller
from modelry_server.kernel.caller import Credential
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import ROLES, Permission

_ALL = frozenset(map(str, Permission))


def permissions_of(tx: Transaction, role: str) -> frozenset[str] | None:
    """The permissions of a role by its name; None if there is no such role."""
    if role in ROLES:
        return frozenset(map(str, ROLES[role]))
    found = roles.find(tx, role)
    return None if found is None else frozenset(found.permissions)


def require_within(tx: Transaction, role_cap: str, workspaces: Sequence[str]) -> None:
    """Does nothing if a token with these caps may do no more than the credential of the caller. Raises GrantTooWide."""
    identity = caller.current().identity
    if identity is None:
        return
    if identity.permission_cap is not None:
        wanted = (permissions_of(tx, role_cap) or frozenset()) if role_cap else _ALL
        if lacking := wanted - identity.permission_cap:
            raise GrantTooWide(
                f"the credential of the caller is capped, and role_cap {role_cap!r} allows more; the credential lacks",
                lacking,
            )
    if identity.workspace_cap is not None:
        more = sorted(set(workspaces) - identity.workspace_cap)
        if more or not workspaces:
            told = ", ".join(more) if more else "all"
            raise GrantTooWide(
                "the credential of the caller can be used in some workspaces only, and so can a token that it makes; "
                f"these are not among them: {told}",
                workspaces=told,
            )


def require_none() -> None:
    """Does nothing if the credential of the caller has no caps. Raises GrantTooWide."""
    identity = caller.current().identity
    if identity is not None and (identity.permission_cap is not None or identity.workspace_cap is not None):
        raise GrantTooWide(
            "the token of the caller is capped, and would end tokens that may do more; it can be revoked by itself, "
            "with RevokeToken"
        )


def latest_end() -> int | None:
    """When a token that the caller makes ends at the latest: with the API token of the caller. None: no such end."""
    identity = caller.current().identity
    if identity is None or identity.credential is not Credential.API_TOKEN:
        return None
    return round(identity.expire_time * 1000)
