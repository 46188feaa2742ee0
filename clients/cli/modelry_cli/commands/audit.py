"""`modelry audit`: the record of every change in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit, OfVersion
from modelry_cli.session import Session, asks
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column, Format
from modelry_cli.terminal.words import counted, said

if TYPE_CHECKING:
    from modelry.types import AuditRecord

app = typer.Typer(help="The record of every change in the registry.", no_args_is_help=True)

_ERASED = "(erased)"

Model = Annotated[str, typer.Argument(help="The registered model.", metavar="MODEL")]
ModelId = Annotated[str, typer.Option(help="The id of the model, instead of its name; finds deleted models too.")]


@asks(app, "list")
def list_records(
    session: Session, model: Model = "", number: OfVersion = None, model_id: ModelId = "", limit: Limit = None
) -> None:
    """Lists who changed what, when and why, the newest first."""
    _need_one(model, model_id)
    columns: list[Column[AuditRecord]] = [
        Column("#", lambda record: record.sequence),
        Column("WHEN", lambda record: record.create_time, spare=1),
        Column("BY", lambda record: record.actor),
        Column("ACTION", lambda record: record.action),
        Column("VERSION", lambda record: record.version_number or ""),
        Column("CHANGE", _change, wraps=True),
        Column("REASON", _reason, wraps=True),
    ]
    found = session.client.audit.list(model, number, model_id=model_id)
    session.show_all(found, columns, limit=limit, nothing="No records.")


@asks(app, "verify")
def verify_records(session: Session, model: Model = "", model_id: ModelId = "") -> None:
    """Recomputes the chain of digests of a model. Exit code 1 if a record does not fit.

    It can't notice that the newest records were removed, or that the whole chain was written anew: note down the last
    digest elsewhere and compare it later.
    """
    _need_one(model, model_id)
    found = session.client.audit.verify(model, model_id=model_id)
    if session.format is Format.JSON:
        session.show(found)
    elif found.intact:
        erased = f" {counted(found.erased_count, 'text')} erased." if found.erased_count else ""
        records = counted(found.record_count, "record")
        output.write_text(f"{records}, all intact.{erased} Last digest: {found.last_digest}")
    if not found.intact:
        output.refuse(f"the audit records are broken: {found.problem}")
        raise typer.Exit(1)


def _need_one(model: str, model_id: str) -> None:
    if bool(model) == bool(model_id):
        raise typer.BadParameter("give the name of the model, or its --model-id")


def _reason(record: AuditRecord) -> str:
    return _ERASED if "reason" in record.erased else record.reason


def _change(record: AuditRecord) -> str:
    """The difference between two states, as `field: old -> new`. A state without another is shown if it is short."""
    before, after = record.before, record.after
    if "before" in record.erased or "after" in record.erased:
        return _ERASED
    if not before or not after:
        state = after or before
        return said(state) if len(state) <= 2 else ""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return ", ".join(f"{key}: {said(before.get(key)) or '-'} -> {said(after.get(key)) or '-'}" for key in keys)
