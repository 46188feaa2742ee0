"""UsageService: contract in, contract out."""

import grpc

from modelry.api.artifacts import v1 as api
from modelry_server.artifacts.domain.usage import Usage


class UsageService(api.UsageServiceServicer):
    """Answers calls about what workspaces have."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def GetUsage(self, request: api.GetUsageRequest, context: grpc.ServicerContext) -> api.GetUsageResponse:
        stored = self._usage.get(request.workspace)
        usage = api.Usage(workspace=request.workspace, stored_bytes=stored.size_bytes, file_count=stored.file_count)
        return api.GetUsageResponse(usage=usage)
