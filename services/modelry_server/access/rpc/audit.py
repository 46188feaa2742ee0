"""AuditService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.access import v1 as api
from modelry_server.access.domain.audit import Audit
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.transport.audit_messages import message


class AuditService(api.AuditServiceServicer):
    """Answers calls about the record of all changes of access."""

    def __init__(self, audit: Audit, pager: Pager) -> None:
        self._audit = audit
        self._pager = pager

    def ListAuditRecords(
        self, request: api.ListAuditRecordsRequest, context: grpc.ServicerContext
    ) -> api.ListAuditRecordsResponse:
        """Lists the audit records of access, the newest first."""
        search = partial(self._audit.page, request.resource_type, request.resource_id)
        records, token = self._pager.answer(request, search, message)
        return api.ListAuditRecordsResponse(records=records, next_page_token=token)
