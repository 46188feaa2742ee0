"""`modelry audit`: the record of every change in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit, within
from modelry_cli.output import Column
from modelry_cli.session import Session, asks
from modelry_cli.words import said

if TYPE_CHECKING:
    from modelry._sdk.nouns.audit import AuditRecord

app = typer.Typer(help="The record of every change in the registry.", no_args_is_help=True)


@asks(app, "list")
def list_records(
    session: Session,
    model: Annotated[str, typer.Argument(help="The registered model.", metavar="MODEL")] = "",
    number: Annotated[int | None, typer.Option(help="Only of this version.", min=1, callback=within(64))] = None,
    model_id: Annotated[str, typer.Option(help="In place of the name; finds deleted models too.")] = "",
    limit: Limit = None,
) -> None:
    """Lists who changed what, when and why, the newest first."""
    if bool(model) == bool(model_id):
        raise typer.BadParameter("name the model, or give its --model-id")
    columns: list[Column[AuditRecord]] = [
        Column("#", lambda record: record.sequence),
        Column("WHEN", lambda record: record.create_time, spare=1),
        Column("BY", lambda record: record.user),
        Column("ACTION", lambda record: record.action),
        Column("VERSION", lambda record: record.number or ""),
        Column("CHANGE", lambda record: _change(record.before, record.after), wraps=True),
        Column("REASON", lambda record: record.reason, wraps=True),
    ]
    found = session.client.audit.list(model, number, model_id=model_id)
    session.show_all(found, columns, limit=limit, nothing="No records.")


def _change(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What differs between two states, as `field: old -> new`; of what is new or gone only what is short."""
    if not before or not after:
        state = after or before
        return said(state) if len(state) <= 2 else ""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return ", ".join(f"{key}: {said(before.get(key)) or '-'} -> {said(after.get(key)) or '-'}" for key in keys)
