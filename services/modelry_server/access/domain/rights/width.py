"""Nobody gives or takes more than they may do themselves: what rules of roles, bindings and groups share."""

from collections.abc import Iterable

from modelry_server.access.domain.rights import grants
from modelry_server.access.errors import GrantTooWide
from modelry_server.access.store import grants as store
from modelry_server.access.store.grants import Bound
from modelry_server.kernel.access import Access, Place
from modelry_server.kernel.sql.statements import Transaction


def require(access: Access, place: Place, permissions: Iterable[str]) -> None:
    """Does nothing if the current caller, by its credential, may do all of this at a place. Raises GrantTooWide.

    Permissions that mean nothing at the place are not asked for.
    """
    wanted = grants.at(place, frozenset(permissions))
    lacking = [each for each in wanted if not access.allows(place, permission=each)]
    if lacking:
        where = f"in the workspace {place.workspace!r}" if place.workspace else "for the whole installation"
        if place.experiment_id:
            where = f"at the experiment {place.experiment_id!r} {where}"
        elif place.model_id:
            where = f"at the model {place.model_id!r} {where}"
        raise GrantTooWide(
            f"nobody can give or take more than they may do themselves: {where} the caller lacks",
            lacking,
            workspace=place.workspace,
            experiment_id=place.experiment_id,
            model_id=place.model_id,
        )


def require_all(access: Access, bindings: Iterable[Bound]) -> None:
    """Does nothing if the current caller may do all that roles allow where they are bound. Raises GrantTooWide."""
    wanted: dict[Place, frozenset[str]] = {}
    for each in bindings:
        wanted[each.place] = wanted.get(each.place, frozenset()) | grants.permissions_of(each)
    for place, permissions in wanted.items():
        require(access, place, permissions)


def require_reached(tx: Transaction, access: Access, principal_id: str) -> None:
    """Does nothing if the current caller may do all that a principal may do, and all that it owns may do.

    Who acts as a principal gets the tokens of what it owns, and so on. Raises GrantTooWide.
    """
    require_all(access, store.reached_by(tx, principal_id))
