"""UsageService: contract in, contract out."""

import grpc

from modelry.api.tracking import v1 as api
from modelry_server.tracking.domain.usage import Usage


class UsageService(api.UsageServiceServicer):
    """Answers calls about what workspaces have."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def GetUsage(self, request: api.GetUsageRequest, context: grpc.ServicerContext) -> api.GetUsageResponse:
        usage = api.Usage(workspace=request.workspace, run_count=self._usage.get(request.workspace))
        return api.GetUsageResponse(usage=usage)
