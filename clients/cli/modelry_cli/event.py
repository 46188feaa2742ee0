"""`modelry event`: what happened in the registry, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit, within
from modelry_cli.output import Column
from modelry_cli.session import Session, asks

if TYPE_CHECKING:
    from modelry._sdk.nouns.events import Event

SHORT = 32
"""How long a value may be to stand in a table."""

app = typer.Typer(help="What happened in the registry, for programs that follow it.", no_args_is_help=True)


@asks(app, "list")
def list_events(
    session: Session,
    model: Annotated[str, typer.Option(help="Only of this model.", metavar="MODEL")] = "",
    after: Annotated[
        int, typer.Option(help="Only those after this cursor.", metavar="CURSOR", min=0, callback=within(64))
    ] = 0,
    limit: Limit = None,
) -> None:
    """Lists events, the oldest first; go on with the cursor of the last one."""
    columns: list[Column[Event]] = [
        Column("CURSOR", lambda event: event.cursor),
        Column("WHEN", lambda event: event.create_time),
        Column("TYPE", lambda event: event.type),
        Column("MODEL", lambda event: event.model, wraps=True),
        Column("VERSION", lambda event: event.number or ""),
        Column("PAYLOAD", _payload, wraps=True, spare=1),
    ]
    found = session.client.events.list(after, name=model)
    if model and after == 0 and not found[:1]:
        session.client.models.get(model)  # says if there is none
    session.show_all(found, columns, limit=limit, nothing="Nothing happened since.")


def _payload(event: Event) -> dict[str, object]:
    """What is short enough for a table."""
    return {key: value for key, value in event.payload.items() if value and len(str(value)) <= SHORT}
