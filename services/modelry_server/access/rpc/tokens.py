"""TokenService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.access import v1 as api
from modelry_server.access.domain.tokens import Draft, Tokens
from modelry_server.access.entities import Token
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.times import milliseconds


class TokenService(api.TokenServiceServicer):
    """Answers calls about API tokens."""

    def __init__(self, tokens: Tokens, pager: Pager) -> None:
        self._tokens = tokens
        self._pager = pager

    def CreateToken(self, request: api.CreateTokenRequest, context: grpc.ServicerContext) -> api.CreateTokenResponse:
        draft = Draft(request.description, request.role_cap, request.workspaces, milliseconds(request, "expire_time"))
        token, text = self._tokens.create(request.principal_id, draft, idempotency.request(request))
        return api.CreateTokenResponse(token=token_message(token), secret=text)

    def GetToken(self, request: api.GetTokenRequest, context: grpc.ServicerContext) -> api.GetTokenResponse:
        return api.GetTokenResponse(token=token_message(self._tokens.get(request.token_id)))

    def ListTokens(self, request: api.ListTokensRequest, context: grpc.ServicerContext) -> api.ListTokensResponse:
        search = partial(self._tokens.page, request.principal_id, with_ended=request.with_ended)
        tokens, next_page_token = self._pager.answer(request, search, token_message)
        return api.ListTokensResponse(tokens=tokens, next_page_token=next_page_token)

    def RotateToken(self, request: api.RotateTokenRequest, context: grpc.ServicerContext) -> api.RotateTokenResponse:
        token, text = self._tokens.rotate(request.token_id, milliseconds(request, "expire_time"))
        return api.RotateTokenResponse(token=token_message(token), secret=text)

    def RevokeToken(self, request: api.RevokeTokenRequest, context: grpc.ServicerContext) -> api.RevokeTokenResponse:
        return api.RevokeTokenResponse(token=token_message(self._tokens.revoke(request.token_id)))

    def RevokeTokens(self, request: api.RevokeTokensRequest, context: grpc.ServicerContext) -> api.RevokeTokensResponse:
        return api.RevokeTokensResponse(revoked_count=self._tokens.revoke_all(request.principal_id))


def token_message(token: Token) -> api.Token:
    """The token as the contract has it."""
    message = api.Token(
        token_id=token.token_id,
        principal_id=token.principal_id,
        description=token.description,
        hint=token.hint,
        role_cap=token.role_cap,
        workspaces=token.workspaces,
        creator_id=token.creator_id,
        invitation=token.is_invitation,
    )
    message.create_time.FromMilliseconds(token.create_time)
    message.expire_time.FromMilliseconds(token.expire_time)
    if token.last_use_time is not None:
        message.last_use_time.FromMilliseconds(token.last_use_time)
    if token.revoke_time is not None:
        message.revoke_time.FromMilliseconds(token.revoke_time)
    return message
