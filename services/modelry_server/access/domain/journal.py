"""How a change of access is written down: its audit record, and what others must forget, in the same transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from modelry_server.access import instruments
from modelry_server.access.store import audit, state
from modelry_server.kernel import caller
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.sql.statements import Transaction

Value: TypeAlias = bool | int | str | Sequence[str] | Mapping[str, int] | None
"""What a record says of a change: anything of this that JSON can hold. Never a secret."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to which thing. `before` and `after` are the changed parts of it.

    `forget` is what others keep in memory and must forget, and so is each of `forget_also`. `name` is what people call
    the thing, and can't be erased. So a principal has none here: its name stands in `after` of its creation.
    """

    action: str
    resource_type: str
    resource_id: str
    name: str = ""
    workspace: str = ""
    before: Mapping[str, Value] = field(default_factory=dict)
    after: Mapping[str, Value] = field(default_factory=dict)
    forget: Changed | None = None
    forget_also: Sequence[Changed] = ()


def write(tx: Transaction, change: Change, *, now: int) -> None:
    """Writes down a change that the current caller made. From here on, all other changes of access wait for this one.

    So a domain that must not be surprised by others, such as one that counts administrators, calls `begin` first.
    """
    revision, end = state.lock(tx)
    record, end = end.append(
        {
            "action": change.action,
            "workspace": change.workspace,
            "resource_type": change.resource_type,
            "resource_id": change.resource_id,
            "resource_name": change.name,
        },
        before=_json(change.before),
        after=_json(change.after),
        by=caller.current(),
        reason="",
        now=now,
    )
    audit.add(tx, record, change.resource_type, change.resource_id)
    for each in (change.forget, *change.forget_also):
        if each is not None:
            revision += 1
            state.add_change(tx, revision, each, now)
    state.advance(tx, revision, end)
    instruments.changes_total.labels(change.action).inc()


def begin(tx: Transaction) -> None:
    """Waits for all other changes of access, and lets them wait until the transaction ends."""
    state.lock(tx)


def _json(value: Mapping[str, Value]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if value else ""
