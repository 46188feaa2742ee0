"""`assay event`: what happened in the registry, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from assay_cli.options import Limit
from assay_cli.output import Column
from assay_cli.session import Session, asks

if TYPE_CHECKING:
    from assay._sdk.events import Event

app = typer.Typer(help="What happened in the registry, for programs that follow it.", no_args_is_help=True)


@asks(app, "list")
def list_events(
    session: Session,
    model: Annotated[str, typer.Option(help="Only of this model.", metavar="MODEL")] = "",
    after: Annotated[int, typer.Option(help="Only those after this cursor.", metavar="CURSOR", min=0)] = 0,
    limit: Limit = None,
) -> None:
    """Lists events, the oldest first; go on with the cursor of the last one."""
    columns: list[Column[Event]] = [
        Column("CURSOR", lambda event: event.cursor),
        Column("WHEN", lambda event: event.create_time),
        Column("TYPE", lambda event: event.type, whole=True),
        Column("MODEL", lambda event: event.model),
        Column("VERSION", lambda event: event.number or ""),
        Column("PAYLOAD", lambda event: {key: value for key, value in event.payload.items() if value}),
    ]
    session.show_all(
        session.client.events.list(after, name=model), columns, limit=limit, nothing="Nothing happened since."
    )
