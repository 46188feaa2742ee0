"""The request that moves a version to a stage, which versions and promotions both send."""

from __future__ import annotations

from modelry._sdk.nouns.enums import number_of_stage, version_number
from modelry.api.registry import v1 as registry

PROMOTE = "modelry.api.registry.v1.PromotionService/PromoteVersion"
"""The rpc that moves a version."""


def promotion(
    workspace: str, name: str, version: int | str, stage: str, *, archive_existing: bool, reason: str, etag: str
) -> registry.PromoteVersionRequest:
    """The request that moves a version. Raises FieldInvalid for a stage or a version number that can't be."""
    request = registry.PromoteVersionRequest(
        workspace=workspace,
        model=name,
        number=version_number(version),
        archive_existing=archive_existing,
        reason=reason,
        etag=etag,
    )
    request.stage = number_of_stage(stage)  # type: ignore[assignment]
    return request
