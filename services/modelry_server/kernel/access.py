"""What a caller may do, and where.

A domain calls `Access.require` as soon as it knows where the requested thing lies, and before it checks anything else
in the request. So a caller who may not see a thing can't find out that it exists. The permission is the one that the
table has for the rpc that is being answered, unless the domain names another one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from modelry_server.kernel import caller
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import ModelryError, NotFound, PermissionMissing

_SHOWN = 100  # characters of a name in a message


class Kind(StrEnum):
    """What an rpc can need in place of a permission.

    `SERVICE`: only the services of this installation may call it. `SIGNED_IN`: everybody who is known may call it, and
    the domain decides what it answers. `INVITED`: as `SIGNED_IN`, and also by means of an invitation. `BOOTSTRAP`: it
    needs the bootstrap token.
    """

    SERVICE = "service"
    SIGNED_IN = "signed-in"
    INVITED = "invited"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing lies, and what roles can be bound to. Each thing is in a workspace, some in an experiment or model.

    The place with an empty workspace is the installation itself.
    """

    workspace: str
    experiment_id: str = ""
    model_id: str = ""


INSTALLATION = Place("")
"""The place of an action that belongs to no workspace, such as creating one."""


def rest_of(workspace: str) -> Place:
    """A place in a workspace that only a role for the whole workspace covers."""
    return Place(workspace, "-", "-")


_NOWHERE = rest_of("-")
"""Where what is not there is judged, in vain."""


@dataclass(frozen=True, slots=True)
class Within:
    """The part of a workspace that a list may show: all of it, or only what lies in these experiments and models."""

    is_all: bool
    experiment_ids: frozenset[str] = frozenset()
    model_ids: frozenset[str] = frozenset()


ALL = Within(is_all=True)


class Judge(Protocol):
    """Knows what callers may do."""

    def may(self, caller: Caller, permission: str, place: Place) -> bool:
        """Whether a caller has a permission at a place."""

    def sees(self, caller: Caller, place: Place) -> bool:
        """Whether a caller has any role at a place. In a workspace, also one at a part of it."""

    def within(self, caller: Caller, permission: str, workspace: str) -> Within:
        """Where in a workspace the caller has a permission."""

    def workspaces(self, caller: Caller) -> frozenset[str] | None:
        """The workspaces that a caller sees; None: all."""

    def anywhere(self, caller: Caller, permission: str) -> bool:
        """Whether a caller has a permission at any place."""

    def known_for_s(self) -> float:
        """For how many seconds it has been sure, without a break, that callers who are known are let in."""


class Open:
    """The judge of a server without authentication: everybody may do everything but what only services may."""

    def may(self, caller: Caller, permission: str, place: Place) -> bool:
        """True, except for `Kind.SERVICE`, unless a service calls."""
        return permission != Kind.SERVICE or caller.is_service

    def sees(self, caller: Caller, place: Place) -> bool:
        """True."""
        return True

    def within(self, caller: Caller, permission: str, workspace: str) -> Within:
        """All of it."""
        return ALL

    def workspaces(self, caller: Caller) -> frozenset[str] | None:
        """All."""
        return None

    def anywhere(self, caller: Caller, permission: str) -> bool:
        """True."""
        return True

    def known_for_s(self) -> float:
        """Always."""
        return math.inf


class WorkspaceNotFound(NotFound):
    """There is no workspace with this name, or the caller may not see it."""

    reason = "WORKSPACE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        name = name[:_SHOWN]
        super().__init__(f"there is no workspace {name!r}", kind="workspace", name=name, workspace=name)


def lacking(present: Caller, permission: str, workspace: str) -> PermissionMissing:
    """The error of a caller without a permission, which says so where the cap of the credential alone forbids it."""
    identity, cap = present.identity, ""
    if identity is not None and identity.permission_cap is not None and permission not in identity.permission_cap:
        cap = "permissions"
    elif identity is not None and identity.workspace_cap is not None and workspace not in identity.workspace_cap:
        cap = "workspaces"
    return PermissionMissing(present.subject, permission, workspace, cap=cap)


class Access:
    """Checks the permissions of the current caller. Where no permission is given, it is that of the current rpc."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, because the server does not know its callers."""
        return isinstance(self._judge, Open)

    def require(
        self, place: Place | None, *, permission: str | None = None, unseen: Callable[[], ModelryError] | None = None
    ) -> None:
        """Does nothing if the current caller has the permission at the place. The place of what is not there is None.

        Raises the error that `unseen` makes, by default WorkspaceNotFound, if the caller has no role there: the same
        error as for a thing that does not exist, after the same time. Raises PermissionMissing if the caller has a role
        there but lacks the permission, and always for the installation, whose existence is no secret.
        """
        present = caller.current()
        needed = present.permission if permission is None else permission
        where = _NOWHERE if place is None else place
        if self._lets_in(present, needed, where) and place is not None:
            return
        if where.workspace and (not self._judge.sees(present, where) or place is None):
            raise unseen() if unseen else WorkspaceNotFound(where.workspace)
        raise lacking(present, needed, where.workspace)

    def _lets_in(self, present: Caller, permission: str, place: Place) -> bool:
        """Whether a caller has a permission, which is noted for what is judged again later, such as open streams."""
        is_allowed = self._judge.may(present, permission, place)
        if is_allowed and present.judged is not None:
            present.judged.append((permission, place))
        return is_allowed

    def require_seen(self, place: Place, *, unseen: Callable[[], ModelryError] | None = None) -> None:
        """Does nothing if the current caller has any role at the place. Raises what `unseen` makes."""
        if not self._judge.sees(caller.current(), place):
            raise unseen() if unseen else WorkspaceNotFound(place.workspace)

    def allows(self, place: Place | None, *, permission: str | None = None) -> bool:
        """Whether the current caller has the permission at the place: nobody at that of what is not there, None."""
        present = caller.current()
        needed = present.permission if permission is None else permission
        return self._lets_in(present, needed, _NOWHERE if place is None else place) and place is not None

    def sees(self, place: Place) -> bool:
        """Whether the current caller has any role at the place."""
        return self._judge.sees(caller.current(), place)

    def within(self, workspace: str, *, permission: str | None = None) -> Within:
        """The part of a workspace that a list may show to the current caller. A list leaves out the rest in its query.

        Raises WorkspaceNotFound if the caller has no role there at all; PermissionMissing if it has a role for the
        whole workspace, and no role there has the permission.
        """
        present = caller.current()
        needed = present.permission if permission is None else permission
        found = self._judge.within(present, needed, workspace)
        if found.is_all or found.experiment_ids or found.model_ids:
            return found
        self.require_seen(Place(workspace))
        if self._judge.sees(present, rest_of(workspace)):  # a role for all that lies there
            raise lacking(present, needed, workspace)
        return found

    def parts(self, *, permission: str | None = None) -> Within:
        """The experiments and models for which the current caller has the permission, but not for their workspaces."""
        present = caller.current()
        needed = present.permission if permission is None else permission
        found = [self._judge.within(present, needed, each) for each in self._judge.workspaces(present) or ()]
        return Within(
            False,
            frozenset(each for part in found for each in part.experiment_ids),
            frozenset(each for part in found for each in part.model_ids),
        )

    def workspaces(self) -> frozenset[str] | None:
        """The workspaces that the current caller sees; None: all."""
        return self._judge.workspaces(caller.current())

    def anywhere(self, permission: str) -> bool:
        """Whether the current caller has a permission at any place."""
        return self._judge.anywhere(caller.current(), permission)

    def known_for_s(self) -> float:
        """For how many seconds it has been sure, without a break, that callers who are known are let in.

        0: access is silent, so calls may be refused, whoever makes them.
        """
        return self._judge.known_for_s()
