"""AliasService: contract in, contract out."""

import grpc

from modelry.api.registry import v1 as api
from modelry_server.registry.domain.aliases import Aliases
from modelry_server.registry.entities import Alias
from modelry_server.registry.rpc import versions


class AliasService(api.AliasServiceServicer):
    """Answers calls about aliases."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def SetAlias(self, request: api.SetAliasRequest, context: grpc.ServicerContext) -> api.SetAliasResponse:
        """Points an alias at a version."""
        alias = self._aliases.point(
            request.workspace, request.model_name, request.alias, request.version_number, reason=request.reason
        )
        return api.SetAliasResponse(alias=_message(alias))

    def GetAlias(self, request: api.GetAliasRequest, context: grpc.ServicerContext) -> api.GetAliasResponse:
        """Reads an alias with the version that it points at."""
        alias, version = self._aliases.resolve(request.workspace, request.model_name, request.alias)
        return api.GetAliasResponse(alias=_message(alias), version=versions.message(version))

    def DeleteAlias(self, request: api.DeleteAliasRequest, context: grpc.ServicerContext) -> api.DeleteAliasResponse:
        """Removes an alias."""
        self._aliases.delete(request.workspace, request.model_name, request.alias, reason=request.reason)
        return api.DeleteAliasResponse()


def _message(alias: Alias) -> api.Alias:
    result = api.Alias(
        workspace=alias.workspace,
        model_name=alias.model_name,
        alias=alias.alias,
        version_number=alias.version_number,
    )
    result.update_time.FromMilliseconds(alias.update_time)
    return result
