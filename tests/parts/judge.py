"""The real judge, with grants that a test gives in place of access."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from modelry_server.kernel.access import Place
from modelry_server.kernel.authority import Authority, Grants, Known
from modelry_server.kernel.caller import Caller, Credential, Identity
from modelry_server.kernel.errors import CredentialInvalid
from modelry_server.permissions import PERMISSIONS, ROLES


class GivenGrants:
    """What an authority asks: here the test has said it, by the id of the principal."""

    def __init__(self) -> None:
        self.by_principal: dict[str, Grants] = {}

    def identity(self, bearer: str) -> Known:
        """Who has the credential that is called like the principal. Raises CredentialInvalid."""
        if bearer not in self.by_principal:
            raise CredentialInvalid
        return Known(identity_of(bearer), self.by_principal[bearer])

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        """Whose credential it is that has begun a call: here they never end."""
        return self.identity(token_id or issuer_token)

    def certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        """Whose certificate it is: that of the first name."""
        return self.identity(names[0])

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        """What a principal may do: nothing, unless the test has said something else."""
        return self.by_principal.get(principal_id, Grants())


class HeldJudge(Authority):
    """An authority whose grants a test holds, and which notes what it was asked about callers.

    It has heard nothing of access, so it keeps nothing: what the test gives and takes away holds at once.
    """

    def __init__(self) -> None:
        self._given = GivenGrants()
        super().__init__(self._given)
        self.asked: list[tuple[str, str, Place]] = []

    def may(self, caller: Caller, permission: str, place: Place) -> bool:
        """Whether a caller has a permission at a place."""
        self.asked.append((caller.key, permission, place))
        return super().may(caller, permission, place)

    def known_for_s(self) -> float:
        """Always: whoever is known is let in."""
        return math.inf

    def give(self, principal_id: str, *roles: str, at: Place) -> None:
        """Gives a principal roles at a place; in place of a role also a single permission."""
        before = self._given.grants(principal_id, frozenset())
        more = frozenset(each for role in roles for each in ROLES.get(role, {role}))
        if at.experiment_id:
            after = replace(before, experiments=_with(before.experiments, (at.workspace, at.experiment_id), more))
        elif at.model_id:
            after = replace(before, models=_with(before.models, (at.workspace, at.model_id), more))
        elif at.workspace:
            now = before.workspaces.get(at.workspace, frozenset()) | more
            after = replace(before, workspaces={**before.workspaces, at.workspace: now})
        else:
            after = replace(before, everywhere=before.everywhere | more)
        self._given.by_principal[principal_id] = after

    def hold(self, principal_id: str, grants: Grants) -> None:
        """Gives a principal these roles, and takes all others away."""
        self._given.by_principal[principal_id] = grants

    def take_all(self, principal_id: str) -> None:
        """Takes all roles of a principal away."""
        self._given.by_principal.pop(principal_id, None)


def identity_of(principal_id: str) -> Identity:
    """Who has proved to be a principal, by an API token."""
    return Identity(principal_id, f"name of {principal_id}", Credential.API_TOKEN, f"token of {principal_id}")


def calling(principal_id: str, room: str, rpc: str) -> Caller:
    """A principal who calls an rpc of a room."""
    (permission,) = {
        need
        for name, need in PERMISSIONS.items()
        if name.startswith(f"/modelry.api.{room}.") and name.endswith(f"/{rpc}")
    }
    return Caller(
        f"name of {principal_id}",
        "0" * 32,
        credential=Credential.API_TOKEN,
        identity=identity_of(principal_id),
        permission=permission,
    )


def _with(
    parts: Mapping[tuple[str, str], frozenset[str]], key: tuple[str, str], more: frozenset[str]
) -> Mapping[tuple[str, str], frozenset[str]]:
    return {**parts, key: parts.get(key, frozenset[str]()) | more}
