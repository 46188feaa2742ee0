"""What a principal may do, from all bindings of it and of its groups."""

from collections.abc import Mapping
from dataclasses import replace

from modelry_server.access.store import grants as store
from modelry_server.kernel.access import INSTALLATION, Place
from modelry_server.kernel.authority import Grants
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import INSTALLATION_ONLY, ROLES

_NOTHING: frozenset[str] = frozenset()


def effective(tx: Transaction, principal_id: str, groups: frozenset[str]) -> Grants:
    """What a principal may do that is also in `groups`, which its credential says.

    The `groups` of the answer are all that the principal is in, and all that its credential says, even if there are no
    such groups: if one of them is changed, or made, the answer may change. What the principal may do at a place is not
    said again of what lies there.
    """
    joined = store.groups_of(tx, principal_id, groups)
    everywhere: frozenset[str] = _NOTHING
    workspaces: dict[str, frozenset[str]] = {}
    experiments: dict[tuple[str, str], frozenset[str]] = {}
    models: dict[tuple[str, str], frozenset[str]] = {}
    meant: dict[str, tuple[frozenset[str], frozenset[str]]] = {}  # of each role: for the installation, and elsewhere
    for bound in store.bound_to(tx, principal_id, joined):
        if bound.role not in meant:
            whole = permissions_of(bound)
            meant[bound.role] = whole, whole - INSTALLATION_ONLY
        place = bound.place
        permissions = meant[bound.role][1 if place.workspace else 0]
        if not permissions:
            continue
        if place.experiment_id:
            key = place.workspace, place.experiment_id
            experiments[key] = experiments.get(key, _NOTHING) | permissions
        elif place.model_id:
            key = place.workspace, place.model_id
            models[key] = models.get(key, _NOTHING) | permissions
        elif place.workspace:
            workspaces[place.workspace] = workspaces.get(place.workspace, _NOTHING) | permissions
        else:
            everywhere |= permissions
    return _needed(Grants(everywhere, workspaces, experiments, models, joined))


def _needed(grants: Grants) -> Grants:
    """The same without what a larger place says already, so that bindings at many places can't swell an answer."""
    everywhere, workspaces = grants.everywhere, grants.workspaces

    def parts(given: Mapping[tuple[str, str], frozenset[str]]) -> dict[tuple[str, str], frozenset[str]]:
        return {
            (workspace, part): those
            for (workspace, part), those in given.items()
            if not those <= everywhere | workspaces.get(workspace, _NOTHING)
        }

    return replace(
        grants,
        workspaces={name: those for name, those in workspaces.items() if not those <= everywhere},
        experiments=parts(grants.experiments),
        models=parts(grants.models),
    )


def permissions_of(bound: store.Bound) -> frozenset[str]:
    """The permissions of a role that is bound."""
    built_in: frozenset[str] = ROLES.get(bound.role, _NOTHING)
    return built_in if bound.permissions is None else bound.permissions


def at(place: Place, permissions: frozenset[str]) -> frozenset[str]:
    """Those of the permissions of a role that mean something where it is bound."""
    return permissions if place == INSTALLATION else permissions - INSTALLATION_ONLY
