"""PrincipalService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.access import v1 as api
from modelry_server.access.domain.bootstrap import Bootstrap
from modelry_server.access.domain.principals import CHANGEABLE, Draft, Granted, Principals, Seen
from modelry_server.access.entities import Principal
from modelry_server.access.rpc.roles import place_message
from modelry_server.access.rpc.tokens import token_message
from modelry_server.kernel import caller
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.updates import changes


class PrincipalService(api.PrincipalServiceServicer):
    """Answers calls about principals."""

    def __init__(self, principals: Principals, bootstrap: Bootstrap, pager: Pager) -> None:
        self._principals = principals
        self._bootstrap = bootstrap
        self._pager = pager

    def WhoAmI(self, request: api.WhoAmIRequest, context: grpc.ServicerContext) -> api.WhoAmIResponse:
        myself, present = self._principals.myself(request.workspace), caller.current()
        known = myself.principal
        grants, token = self._pager.answer(request, myself.page, _grant)
        return api.WhoAmIResponse(
            principal=api.Principal(name=present.subject) if known is None else _message(known),
            authenticated=present.identity is not None,
            token=None if myself.token is None else token_message(myself.token),
            groups=myself.groups,
            grants=grants,
            next_page_token=token,
        )

    def CreateAdministrator(
        self, request: api.CreateAdministratorRequest, context: grpc.ServicerContext
    ) -> api.CreateAdministratorResponse:
        principal, token, text = self._bootstrap.create_administrator(request.name, request.display_name)
        return api.CreateAdministratorResponse(principal=_message(principal), token=token_message(token), secret=text)

    def CreatePrincipal(
        self, request: api.CreatePrincipalRequest, context: grpc.ServicerContext
    ) -> api.CreatePrincipalResponse:
        draft = Draft(
            request.kind,
            request.name,
            request.display_name,
            issuer=request.issuer,
            external_id=request.external_id,
            owner_id=request.owner_id,
        )
        return api.CreatePrincipalResponse(
            principal=_message(self._principals.create(draft, idempotency.request(request)))
        )

    def GetPrincipal(self, request: api.GetPrincipalRequest, context: grpc.ServicerContext) -> api.GetPrincipalResponse:
        return api.GetPrincipalResponse(principal=_seen(self._principals.get(request.principal_id, request.name)))

    def ListPrincipals(
        self, request: api.ListPrincipalsRequest, context: grpc.ServicerContext
    ) -> api.ListPrincipalsResponse:
        search = partial(self._principals.page, request.kind, request.name_contains)
        principals, token = self._pager.answer(request, search, _message)
        return api.ListPrincipalsResponse(principals=principals, next_page_token=token)

    def UpdatePrincipal(
        self, request: api.UpdatePrincipalRequest, context: grpc.ServicerContext
    ) -> api.UpdatePrincipalResponse:
        given = request.principal
        principal = self._principals.update(
            given.principal_id, given.etag, lambda: changes(given, request.update_mask, CHANGEABLE)
        )
        return api.UpdatePrincipalResponse(principal=_message(principal))


def _seen(seen: Seen) -> api.Principal:
    """The principal, or only who it is."""
    message = _message(seen.principal)
    if seen.is_whole:
        return message
    return api.Principal(
        principal_id=message.principal_id, kind=message.kind, name=message.name, display_name=message.display_name
    )


def _message(principal: Principal) -> api.Principal:
    message = api.Principal(
        principal_id=principal.principal_id,
        kind=api.PrincipalKind.ValueType(principal.kind),
        name=principal.name,
        display_name=principal.display_name,
        issuer=principal.issuer,
        external_id=principal.external_id,
        owner_id=principal.owner_id,
        disabled=principal.is_disabled,
        etag=principal.etag,
    )
    message.create_time.FromMilliseconds(principal.create_time)
    message.update_time.FromMilliseconds(principal.update_time)
    return message


def _grant(granted: Granted) -> api.Grant:
    return api.Grant(
        place=place_message(granted.place),
        roles=granted.roles,
        permissions=granted.permissions,
    )
