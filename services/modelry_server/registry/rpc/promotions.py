"""PromotionService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.registry.domain.promotions import Move, Promotions
from modelry_server.registry.entities import Promotion, PromotionState
from modelry_server.registry.rpc import versions

_STATES = {PromotionState.COMPLETED: api.PROMOTION_STATE_COMPLETED}


class PromotionService(api.PromotionServiceServicer):
    """Answers calls about promotions."""

    def __init__(self, promotions: Promotions, pager: Pager) -> None:
        self._promotions = promotions
        self._pager = pager

    def PromoteVersion(
        self, request: api.PromoteVersionRequest, context: grpc.ServicerContext
    ) -> api.PromoteVersionResponse:
        """Moves a version to a stage."""
        wanted = Move(
            version_number=request.version_number,
            stage=request.stage,
            archive_existing=request.archive_existing,
            etag=request.etag,
            reason=request.reason,
        )
        promoted = self._promotions.promote(
            request.workspace, request.model_name, wanted, request=idempotency.request(request)
        )
        return api.PromoteVersionResponse(
            promotion=message(promoted.promotion) if promoted.promotion else None,
            version=versions.message(promoted.version),
            archived_version_numbers=promoted.archived_version_numbers,
        )

    def GetPromotion(self, request: api.GetPromotionRequest, context: grpc.ServicerContext) -> api.GetPromotionResponse:
        """Reads a promotion."""
        return api.GetPromotionResponse(promotion=message(self._promotions.get(request.promotion_id)))

    def ListPromotions(
        self, request: api.ListPromotionsRequest, context: grpc.ServicerContext
    ) -> api.ListPromotionsResponse:
        """Lists promotions, the newest first."""
        search = partial(self._promotions.page, request.workspace, request.model_name, request.version_number)
        promotions, token = self._pager.answer(request, search, message)
        return api.ListPromotionsResponse(promotions=promotions, next_page_token=token)


def message(promotion: Promotion) -> api.Promotion:
    """The promotion as the contract has it."""
    result = api.Promotion(
        promotion_id=promotion.promotion_id,
        workspace=promotion.workspace,
        model_name=promotion.model_name,
        version_number=promotion.version_number,
        from_stage=promotion.from_stage,
        to_stage=promotion.to_stage,
        state=_STATES[promotion.state],
        archived_version_numbers=promotion.archived_version_numbers,
        creator=promotion.creator,
        reason=promotion.reason,
    )
    result.create_time.FromMilliseconds(promotion.create_time)
    return result
