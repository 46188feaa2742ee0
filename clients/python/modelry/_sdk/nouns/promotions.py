"""Promotions: moves of versions between stages."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import name_of, stage_name, version_number
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.nouns.versions import Version, version_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry


@dataclass(frozen=True, slots=True)
class Promotion:
    """The move of a version from one stage to another.

    `state` is COMPLETED once the version has moved. `archived_version_numbers` are the versions that were archived by
    it; each of them has a promotion of its own.
    """

    promotion_id: str
    workspace: str
    model_name: str
    version_number: int
    from_stage: str
    to_stage: str
    state: str
    archived_version_numbers: tuple[int, ...]
    creator: str
    reason: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a call of `promote` did.

    `promotion` is None if the version was in the stage already. `version` is the version after the move.
    `archived_version_numbers` are the versions that were archived by it.
    """

    promotion: Promotion | None
    version: Version
    archived_version_numbers: tuple[int, ...]


@arguments.texts_checked
class Promotions:
    """Moves versions between stages, and lists the moves."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def promote(
        self,
        name: str,
        version: int | str,
        stage: str,
        *,
        archive_existing: bool = False,
        reason: str = "",
        etag: str = "",
    ) -> Promoted:
        """Moves a version to a stage. A retry after a lost answer moves nothing twice.

        The default stages are None, Staging, Production and Archived, in any letter case. With `archive_existing` the
        other versions in a serving stage (Staging, Production) move to the archive in the same transaction. With an
        `etag` it raises EtagMismatch if somebody else has changed the version. Raises ModelNotFound, VersionNotFound,
        or FieldInvalid for a stage that the model does not have.
        """
        request = registry.PromoteVersionRequest(
            workspace=self._workspace,
            model_name=name,
            version_number=version_number(version),
            stage=stage_name(stage),
            archive_existing=archive_existing,
            reason=reason,
            etag=etag,
            request_id=uuid.uuid4().hex,
        )
        answer = self._connection.call(registry.rpcs.PROMOTE_VERSION, request)
        return Promoted(
            promotion=_promotion_of(answer.promotion) if answer.HasField("promotion") else None,
            version=version_of(answer.version),
            archived_version_numbers=tuple(answer.archived_version_numbers),
        )

    def get(self, promotion_id: str) -> Promotion:
        """Reads a promotion. Raises PromotionNotFound."""
        request = registry.GetPromotionRequest(promotion_id=promotion_id)
        return _promotion_of(self._connection.call(registry.rpcs.GET_PROMOTION, request).promotion)

    def list(
        self, name: str, version: int | str | None = None, *, max_results: int | None = None, page_size: int = 100
    ) -> LazyList[Promotion]:
        """Lists the promotions of a model, or of one of its versions, the newest first. Raises ModelNotFound."""
        request = registry.ListPromotionsRequest(
            workspace=self._workspace,
            model_name=name,
            version_number=0 if version is None else version_number(version),
        )

        def fetch(size: int, token: str) -> tuple[list[Promotion], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(registry.rpcs.LIST_PROMOTIONS, request)
            return [_promotion_of(message) for message in page.promotions], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)


def _promotion_of(message: registry.Promotion) -> Promotion:
    return Promotion(
        promotion_id=message.promotion_id,
        workspace=message.workspace,
        model_name=message.model_name,
        version_number=message.version_number,
        from_stage=message.from_stage,
        to_stage=message.to_stage,
        state=name_of(registry.PromotionState, message.state),
        archived_version_numbers=tuple(message.archived_version_numbers),
        creator=message.creator,
        reason=message.reason,
        create_time=time_of(message, "create_time"),
    )
