"""`modelry promotion`: moves of versions from stage to stage; `modelry version promote` makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit, ModelName, within
from modelry_cli.output import Column
from modelry_cli.session import Session, asks

if TYPE_CHECKING:
    from modelry._sdk.nouns.promotions import Promotion

app = typer.Typer(help="Moves of versions from stage to stage.", no_args_is_help=True)


@asks(app, "list")
def list_promotions(
    session: Session,
    model: ModelName,
    number: Annotated[int | None, typer.Option(help="Only of this version.", min=1, callback=within(64))] = None,
    limit: Limit = None,
) -> None:
    """Lists the moves of a model's versions, the newest first."""
    columns: list[Column[Promotion]] = [
        Column("NUMBER", lambda move: move.number),
        Column("FROM", lambda move: move.from_stage),
        Column("TO", lambda move: move.to_stage),
        Column("ARCHIVED", lambda move: move.archived_numbers),
        Column("WHEN", lambda move: move.create_time, spare=2),
        Column("BY", lambda move: move.user, spare=1),
        Column("REASON", lambda move: move.reason, wraps=True),
    ]
    found = session.client.promotions.list(model, number)
    session.show_all(found, columns, limit=limit, nothing=f"No version of {model} was moved.")
