"""AuditService: contract in, contract out."""

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.registry.domain.audit import Audit
from modelry_server.registry.entities import DEFAULT_WORKSPACE, AuditRecord


class AuditService(api.AuditServiceServicer):
    """Answers calls about the record of all changes."""

    def __init__(self, audit: Audit, pager: Pager) -> None:
        self._audit = audit
        self._pager = pager

    def ListAuditRecords(
        self, request: api.ListAuditRecordsRequest, context: grpc.ServicerContext
    ) -> api.ListAuditRecordsResponse:
        """Lists the audit records of a model, the newest first."""
        workspace = request.workspace or DEFAULT_WORKSPACE
        scope = ("ListAuditRecords", workspace, request.model, request.model_id, str(request.number))
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        found = self._audit.page(
            workspace,
            model=request.model,
            model_id=request.model_id,
            number=request.number,
            before=int(page.after[0] or 0) if page.after else None,
            limit=page.size + 1,
        )
        records = fitting(map(_message, found), page.size)
        token = self._pager.token(scope, (found[len(records) - 1].sequence,)) if len(found) > len(records) else ""
        return api.ListAuditRecordsResponse(records=records, next_page_token=token)


def _message(record: AuditRecord) -> api.AuditRecord:
    result = api.AuditRecord(
        sequence=record.sequence,
        model_id=record.model_id,
        workspace=record.workspace,
        model=record.model,
        number=record.number,
        action=record.action,
        user=record.user,
        before=record.before,
        after=record.after,
        reason=record.reason,
        peer=record.peer,
        previous_digest=record.previous_digest,
        digest=record.digest,
    )
    result.create_time.FromMilliseconds(record.create_time)
    return result
