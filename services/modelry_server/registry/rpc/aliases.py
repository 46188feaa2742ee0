"""AliasService: contract in, contract out."""

import grpc

from modelry.api.registry import v1 as api
from modelry_server.registry.domain.aliases import Aliases
from modelry_server.registry.entities import DEFAULT_WORKSPACE, Alias
from modelry_server.registry.rpc import versions


class AliasService(api.AliasServiceServicer):
    """Answers calls about aliases."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def SetAlias(self, request: api.SetAliasRequest, context: grpc.ServicerContext) -> api.SetAliasResponse:
        """Points an alias at a version."""
        alias = self._aliases.point(
            request.workspace or DEFAULT_WORKSPACE, request.model, request.alias, request.number, reason=request.reason
        )
        return api.SetAliasResponse(alias=_message(alias))

    def GetAlias(self, request: api.GetAliasRequest, context: grpc.ServicerContext) -> api.GetAliasResponse:
        """Reads an alias with the version that it points at."""
        alias, version = self._aliases.resolve(request.workspace or DEFAULT_WORKSPACE, request.model, request.alias)
        return api.GetAliasResponse(alias=_message(alias), version=versions.message(version))

    def DeleteAlias(self, request: api.DeleteAliasRequest, context: grpc.ServicerContext) -> api.DeleteAliasResponse:
        """Removes an alias."""
        self._aliases.delete(
            request.workspace or DEFAULT_WORKSPACE, request.model, request.alias, reason=request.reason
        )
        return api.DeleteAliasResponse()


def _message(alias: Alias) -> api.Alias:
    result = api.Alias(workspace=alias.workspace, model=alias.model, alias=alias.alias, number=alias.number)
    result.update_time.FromMilliseconds(alias.update_time)
    return result
