"""How a change is written down: its audit record and its event, in the transaction of the change."""

from collections.abc import Sequence

from modelry_server.kernel import caller
from modelry_server.kernel.audit import End
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry import instruments
from modelry_server.registry.entities import Change, Event, Model, as_json
from modelry_server.registry.store import audit, events, models


def write(tx: Transaction, model: Model, changes: Sequence[Change], *, reason: str = "", now: int) -> list[int]:
    """Writes down changes of a model that the current caller made. Returns the sequences of their audit records.

    The model must be locked, or created or deleted in this transaction, because its records form a chain. Call it once
    in a transaction: it goes on from the end of the chain that `model` holds.
    """
    end = End(model.audit_chain, model.audit_sequence, model.audit_digest)
    records: list[audit.Written] = []
    told: list[Event] = []
    for change in changes:
        record, end = end.append(
            _members(model, change),
            before=as_json(change.before) if change.before else "",
            after=as_json(change.after) if change.after else "",
            by=caller.current(),
            reason=reason,
            now=now,
        )
        records.append(audit.Written(record, change.version_number))
        told.append(_event(model, change, record.sequence, now))
        instruments.changes_total.labels(change.action).inc()
    audit.add(tx, model, records)
    models.advance(tx, model.model_id, sequence=end.sequence, digest=end.digest, now=now)
    events.append(tx, told)
    return [event.audit_sequence for event in told]


def _members(model: Model, change: Change) -> dict[str, str | int]:
    """What the body of an audit record says of a change: ids, numbers and names of models. It is never erased."""
    return {
        "action": change.action,
        "workspace": model.workspace,
        "resource_type": "version" if change.version_id else "model",
        "resource_id": change.version_id or model.model_id,
        "resource_name": model.name,
        "version_number": change.version_number,
    }


def _event(model: Model, change: Change, audit_sequence: int, now: int) -> Event:
    return Event(
        event_id=new_id(),
        type=change.action,
        workspace=model.workspace,
        model_id=model.model_id,
        model_name=change.new_name or model.name,
        version_number=change.version_number,
        create_time=now,
        audit_sequence=audit_sequence,
        payload=as_json(change.payload),
    )
