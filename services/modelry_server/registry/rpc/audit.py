"""AuditService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.transport.audit_messages import message
from modelry_server.registry.domain.audit import Audit


class AuditService(api.AuditServiceServicer):
    """Answers calls about the record of all changes."""

    def __init__(self, audit: Audit, pager: Pager) -> None:
        self._audit = audit
        self._pager = pager

    def ListAuditRecords(
        self, request: api.ListAuditRecordsRequest, context: grpc.ServicerContext
    ) -> api.ListAuditRecordsResponse:
        """Lists the audit records of a model, the newest first."""
        search = partial(
            self._audit.page,
            request.workspace,
            model_name=request.model_name,
            model_id=request.model_id,
            version_number=request.version_number,
        )
        records, token = self._pager.answer(request, search, message)
        return api.ListAuditRecordsResponse(records=records, next_page_token=token)
