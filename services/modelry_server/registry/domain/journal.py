"""How a change is written down: its audit record and its event, in the transaction of the change."""

from collections.abc import Sequence
from dataclasses import replace

from modelry_server.kernel import caller
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry import instruments
from modelry_server.registry.domain.audit import digest
from modelry_server.registry.entities import AuditRecord, Change, Event, Model, canonical
from modelry_server.registry.store import audit, events, models


def write(tx: Transaction, model: Model, changes: Sequence[Change], *, reason: str = "", now: int) -> None:
    """Writes changes of a model down, on behalf of the present caller; the last thing that a transaction does.

    `model` must be locked, or new, or deleted in this transaction: its records are a chain.
    """
    present = caller.current()
    records: list[AuditRecord] = []
    previous = model.digest
    for index, change in enumerate(changes, start=model.sequence + 1):
        record = AuditRecord(
            sequence=index,
            model_id=model.model_id,
            workspace=model.workspace,
            model=model.name,
            number=change.number,
            action=change.action,
            user=present.subject,
            create_time=now,
            before=canonical(change.before),
            after=canonical(change.after),
            reason=reason,
            peer=present.peer,
            previous_digest=previous,
        )
        previous = digest(record)
        records.append(replace(record, digest=previous))
        instruments.changes_total.labels(change.action).inc()
    audit.add(tx, records)
    models.advance(tx, model.model_id, sequence=records[-1].sequence, digest=previous, now=now)
    events.append(tx, [_event(record) for record in records])


def _event(record: AuditRecord) -> Event:
    return Event(
        cursor=0,
        workspace=record.workspace,
        model=record.model,
        number=record.number,
        type=record.action,
        create_time=record.create_time,
        payload=record.after,
    )
