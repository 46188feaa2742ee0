"""Which principals a caller sees, and what it may do with their tokens."""

from modelry_server.access.entities import Principal
from modelry_server.access.errors import PrincipalNotFound
from modelry_server.access.store import principals as store
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access
from modelry_server.kernel.errors import ModelryError
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import Permission

_SEEING = (Permission.TOKENS_READ, Permission.TOKENS_CREATE, Permission.TOKENS_REVOKE)


def own_id() -> str:
    """The principal that calls; empty if the server does not know its callers, or the bootstrap token calls."""
    identity = caller.current().identity
    return "" if identity is None or identity.is_bootstrap else identity.principal_id


def answers_for(principal: Principal) -> bool:
    """Whether the caller is this principal, or the owner of this service account."""
    me = own_id()
    return bool(me) and me in (principal.principal_id, principal.owner_id)


def sees_all(access: Access) -> bool:
    """Whether the caller sees all principals and groups: it administers them, or gives roles somewhere."""
    return access.allows(INSTALLATION, permission=Permission.PRINCIPALS_READ) or access.anywhere(
        Permission.BINDINGS_WRITE
    )


def require_own(
    tx: Transaction, access: Access, principal_id: str, permission: Permission, *, unseen: ModelryError | None = None
) -> Principal:
    """The principal, if the caller answers for it, or has the permission for the whole installation.

    Raises PermissionMissing if there is one that the caller sees, without the permission. `unseen` stands for a thing
    of the principal that only those see who may see its tokens. Raises that, by default PrincipalNotFound, if there is
    none, or the caller does not see it.
    """
    principal = store.find(tx, principal_id)
    if principal is not None and answers_for(principal):
        return principal
    sees_tokens = any(access.allows(INSTALLATION, permission=each) for each in (permission, *_SEEING))
    if principal is None or not (sees_tokens or (unseen is None and sees_all(access))):
        raise unseen or PrincipalNotFound(principal_id)
    if not sees_tokens or permission is not Permission.TOKENS_READ:
        access.require(INSTALLATION, permission=permission)
    return principal
