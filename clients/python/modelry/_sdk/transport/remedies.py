"""What to do about a refusal that depends on who calls.

A server gives the same answer for what is not there and for what the caller may not see. So the advice names both.
"""

from __future__ import annotations

import shlex

from modelry._sdk.values.texts import is_printable
from modelry.errors import ModelryError

NO_ROLE = "or you have no role there: `modelry whoami` shows where you have one"

_NAME_LIMIT = 128
_IN_WORKSPACES = {
    "WORKSPACE_NOT_FOUND",
    "EXPERIMENT_NOT_FOUND",
    "RUN_NOT_FOUND",
    "DATASET_NOT_FOUND",
    "OWNER_NOT_FOUND",
    "MODEL_NOT_FOUND",
    "PROMOTION_NOT_FOUND",
    "EVALUATION_NOT_FOUND",
}
"""The reasons of what is not there, or is where the caller has no role."""
_UNSEEN = {
    "PRINCIPAL_NOT_FOUND": (
        "or you may not look for it: others are found by who may give roles, or administers people; everybody finds "
        "themselves and the service accounts that they own"
    ),
    "GROUP_NOT_FOUND": "or you may not see it: groups are seen by who may give roles, or administers people",
    "TOKEN_NOT_FOUND": "or it is not yours: `modelry token list` shows those that are",
    "ROLE_BINDING_NOT_FOUND": "or you may not see who has roles there: `modelry whoami` shows what you may do",
}
"""The advice for other things that a caller may not see, by reason."""
_BOUNDS = {
    "permissions": "use a token without that limit, or make one with another --cap",
    "workspaces": "use a token without that limit, or make one without --only-workspace",
}
"""The advice where the token is limited, by what limits it."""


def remedy(error: ModelryError, *, is_known: bool) -> str:
    """What to do about an error; empty if it says all. `is_known`: the server can tell who calls."""
    if error.reason == "ROLE_NOT_FOUND":
        return "`modelry role list` shows all"
    if not is_known:
        return _new_workspace(error.metadata.get("workspace", "")) if error.reason == "WORKSPACE_NOT_FOUND" else ""
    if error.reason in _IN_WORKSPACES or _is_unseen_version(error):
        return NO_ROLE
    if error.reason == "PERMISSION_MISSING":
        return _permission(error)
    if error.reason == "GRANT_TOO_WIDE" and "latest" in error.metadata:
        return "rotate yours first with `modelry token rotate`, or give an earlier end"
    return _UNSEEN.get(error.reason, "")


def _is_unseen_version(error: ModelryError) -> bool:
    """Whether a version is not there by its id. Who asks by its number sees the model."""
    return error.reason == "VERSION_NOT_FOUND" and "model_name" not in error.metadata


def _permission(error: ModelryError) -> str:
    if bound := _BOUNDS.get(error.metadata.get("cap", "")):
        return bound
    if "." not in error.metadata.get("permission", ""):  # it is for Modelry itself, and no role gives it
        return ""
    where = "of that workspace" if error.metadata.get("workspace") else "of the installation"
    return f"an administrator {where} can give you a role that allows it"


def _new_workspace(name: str) -> str:
    is_shown = 0 < len(name) <= _NAME_LIMIT and all(map(is_printable, name))
    return f"create it with: modelry workspace create {shlex.quote(name) if is_shown else 'NAME'}"
