"""What is said after a refusal to who is known, and to who is not."""

from __future__ import annotations

import pytest

from modelry._sdk.transport.remedies import NO_ROLE, remedy
from modelry.errors import ModelryError, NotFound, PermissionDenied

CREATE = "create it with: modelry workspace create"
ASK = "an administrator of"


def not_found(reason: str, **metadata: str) -> NotFound:
    return NotFound("there is none", reason=reason, metadata=metadata)


def denied(reason: str, **metadata: str) -> PermissionDenied:
    return PermissionDenied("no", reason=reason, metadata=metadata)


@pytest.mark.parametrize(
    ("error", "known", "unknown"),
    [
        (not_found("WORKSPACE_NOT_FOUND", workspace="risk"), NO_ROLE, f"{CREATE} risk"),
        (not_found("WORKSPACE_NOT_FOUND", workspace="\x1b[2J"), NO_ROLE, f"{CREATE} NAME"),
        *(
            (not_found(f"{each}_NOT_FOUND"), NO_ROLE, "")
            for each in ("EXPERIMENT", "RUN", "DATASET", "OWNER", "MODEL", "PROMOTION", "EVALUATION")
        ),
        (not_found("VERSION_NOT_FOUND", version_id="0" * 32), NO_ROLE, ""),
        (not_found("VERSION_NOT_FOUND", model_name="delays", version_number="7"), "", ""),
        (not_found("ARTIFACT_NOT_FOUND", path="a"), "", ""),
        (not_found("ROLE_NOT_FOUND", role="reeder"), "`modelry role list` shows all", "`modelry role list` shows all"),
        (denied("PERMISSION_MISSING", permission="runs.write", workspace="risk"), f"{ASK} that workspace", ""),
        (denied("PERMISSION_MISSING", permission="tokens.read", workspace=""), f"{ASK} the installation", ""),
        (denied("PERMISSION_MISSING", permission="bootstrap", workspace=""), "", ""),
        (
            denied("PERMISSION_MISSING", permission="runs.write", cap="permissions"),
            "use a token without that limit",
            "",
        ),
        (denied("GRANT_TOO_WIDE", latest="2026-11-29T02:22:42Z"), "rotate yours first", ""),
        (denied("GRANT_TOO_WIDE", permissions="runs.write"), "", ""),
    ],
)
def test_who_is_known_hears_of_roles_and_others_do_not(error: ModelryError, known: str, unknown: str) -> None:
    for is_known, said in ((True, known), (False, unknown)):
        told = remedy(error, is_known=is_known)

        assert told.startswith(said)
        assert bool(told) == bool(said)
