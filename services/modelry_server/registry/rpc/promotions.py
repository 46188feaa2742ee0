"""PromotionService: contract in, contract out."""

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.registry.domain.promotions import Promotions
from modelry_server.registry.entities import DEFAULT_WORKSPACE, Promotion
from modelry_server.registry.rpc import versions


class PromotionService(api.PromotionServiceServicer):
    """Answers calls about promotions."""

    def __init__(self, promotions: Promotions, pager: Pager) -> None:
        self._promotions = promotions
        self._pager = pager

    def PromoteVersion(
        self, request: api.PromoteVersionRequest, context: grpc.ServicerContext
    ) -> api.PromoteVersionResponse:
        """Moves a version to a stage."""
        version, archived = self._promotions.promote(
            request.workspace or DEFAULT_WORKSPACE,
            request.model,
            request.number,
            versions.stage("stage", request.stage),
            archive_existing=request.archive_existing,
            etag=request.etag,
            reason=request.reason,
        )
        # The move is made: an answer too large to send would look like a failure.
        told = fitting(map(versions.message, archived), len(archived))
        return api.PromoteVersionResponse(version=versions.message(version), archived_versions=told)

    def ListPromotions(
        self, request: api.ListPromotionsRequest, context: grpc.ServicerContext
    ) -> api.ListPromotionsResponse:
        """Lists moves, the newest first."""
        workspace = request.workspace or DEFAULT_WORKSPACE
        scope = ("ListPromotions", workspace, request.model, str(request.number))
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        before = int(page.after[0] or 0) if page.after else None
        found = self._promotions.page(workspace, request.model, request.number, before=before, limit=page.size + 1)
        promotions = fitting((_message(workspace, request.model, each) for each in found), page.size)
        more = len(found) > len(promotions)
        token = self._pager.token(scope, (found[len(promotions) - 1].sequence,)) if more else ""
        return api.ListPromotionsResponse(promotions=promotions, next_page_token=token)


def _message(workspace: str, model: str, promotion: Promotion) -> api.Promotion:
    result = api.Promotion(
        workspace=workspace,
        model=model,
        number=promotion.number,
        from_stage=versions.NUMBERS[promotion.from_stage],
        to_stage=versions.NUMBERS[promotion.to_stage],
        archived_numbers=promotion.archived_numbers,
        user=promotion.user,
        reason=promotion.reason,
    )
    result.create_time.FromMilliseconds(promotion.create_time)
    return result
