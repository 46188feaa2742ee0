"""Promotions: moves of versions from stage to stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns.enums import name_of_stage, version_number
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.promoting import PROMOTE, promotion
from modelry._sdk.nouns.times import time_of
from modelry._sdk.nouns.versions import Version, version_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry

_SERVICE = "modelry.api.registry.v1.PromotionService"


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of a version. `archived_numbers` are the versions that left the stage by the same move."""

    model: str
    number: int
    from_stage: str
    to_stage: str
    archived_numbers: tuple[int, ...]
    user: str
    reason: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a move did: the version after it, and the versions that it archived."""

    version: Version
    archived: tuple[Version, ...]


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
        """Moves a version to None, Staging, Production or Archived, written in any letter case.

        With `archive_existing` the versions that stand in Staging or Production leave it for Archived in the same
        transaction. With an `etag` it raises EtagMismatch where somebody else changed the version since. Raises
        ModelNotFound, VersionNotFound, or FieldInvalid for a stage that does not exist.
        """
        request = promotion(
            self._workspace, name, version, stage, archive_existing=archive_existing, reason=reason, etag=etag
        )
        answer = self._connection.call(PROMOTE, request, registry.PromoteVersionResponse)
        return Promoted(version_of(answer.version), tuple(map(version_of, answer.archived_versions)))

    def list(
        self, name: str, version: int | str | None = None, *, max_results: int | None = None, page_size: int = 100
    ) -> LazyList[Promotion]:
        """Lists the moves of a model's versions, or of one of them, the newest first. Raises ModelNotFound."""

        def fetch(size: int, token: str) -> tuple[tuple[Promotion, ...], str]:
            request = registry.ListPromotionsRequest(
                workspace=self._workspace, model=name, number=number, page_size=size, page_token=token
            )
            page = self._connection.call(f"{_SERVICE}/ListPromotions", request, registry.ListPromotionsResponse)
            return tuple(promotion_of(message) for message in page.promotions), page.next_page_token

        number = 0 if version is None else version_number(version)
        return LazyList(paged(fetch, max_results=max_results, page_size=page_size))


def promotion_of(message: registry.Promotion) -> Promotion:
    """The promotion that a message holds."""
    return Promotion(
        model=message.model,
        number=message.number,
        from_stage=name_of_stage(message.from_stage),
        to_stage=name_of_stage(message.to_stage),
        archived_numbers=tuple(message.archived_numbers),
        user=message.user,
        reason=message.reason,
        create_time=time_of(message, "create_time"),
    )
