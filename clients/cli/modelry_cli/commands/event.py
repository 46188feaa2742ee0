"""`modelry event`: what happened in the registry, in order."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit
from modelry_cli.session import SHOWN, Session, asks
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column, Format

if TYPE_CHECKING:
    from modelry.types import Event

SHORT = 32
"""The length up to which a value is shown in a table."""

app = typer.Typer(help="What happened in the registry, for programs that follow it.", no_args_is_help=True)


@asks(app, "list")
def list_events(
    session: Session,
    model: Annotated[str, typer.Option(help="Only of this model.", metavar="MODEL")] = "",
    type: Annotated[
        list[str] | None, typer.Option(help="Only of this type, such as version.promoted. Can be repeated.")
    ] = None,
    after: Annotated[str, typer.Option(help="Only events after this cursor.", metavar="CURSOR")] = "",
    limit: Limit = None,
) -> None:
    """Lists events, the oldest first, and says how to go on after them."""
    events = session.client.events
    if model and not after and not events.list(name=model, max_results=1):
        session.client.models.get(model)  # refuses a model that does not exist
    most = limit if limit is not None or session.format is Format.JSON else SHOWN
    found = events.list(after, name=model, types=type or (), max_results=most)
    if session.format is Format.JSON:
        session.show({"events": list(found), "next_cursor": found.next_cursor})
        return
    columns: list[Column[Event]] = [
        Column("WHEN", lambda event: event.create_time),
        Column("TYPE", lambda event: event.type),
        Column("MODEL", lambda event: event.model_name, wraps=True),
        Column("VERSION", lambda event: event.version_number or ""),
        Column("PAYLOAD", _payload, wraps=True, spare=1),
    ]
    output.write_list(list(found), columns, nothing="No events.")
    selected = [("--model", model)] if model else []
    selected += [("--type", name) for name in type or ()]
    words = " ".join(f"{option} {shlex.quote(word)}" for option, word in [*selected, ("--after", found.next_cursor)])
    output.note(f"Go on with: modelry event list {words}")


def _payload(event: Event) -> dict[str, object]:
    """The part of the payload that is short enough for a table."""
    return {key: value for key, value in event.payload.items() if value and len(str(value)) <= SHORT}
