"""`modelry promotion`: moves of versions between stages; `modelry version promote` makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit, ModelName, OfVersion
from modelry_cli.session import Session, asks
from modelry_cli.terminal.output import Column

if TYPE_CHECKING:
    from modelry.types import Promotion

app = typer.Typer(help="Moves of versions between stages.", no_args_is_help=True)


@asks(app, "list")
def list_promotions(session: Session, model: ModelName, number: OfVersion = None, limit: Limit = None) -> None:
    """Lists the promotions of a model, the newest first."""
    columns: list[Column[Promotion]] = [
        Column("PROMOTION ID", lambda promotion: promotion.promotion_id, spare=4),
        Column("VERSION", lambda promotion: promotion.version_number),
        Column("FROM", lambda promotion: promotion.from_stage),
        Column("TO", lambda promotion: promotion.to_stage),
        Column("STATE", lambda promotion: promotion.state, spare=3),
        Column("ARCHIVED", lambda promotion: promotion.archived_version_numbers),
        Column("WHEN", lambda promotion: promotion.create_time, spare=2),
        Column("BY", lambda promotion: promotion.creator, spare=1),
        Column("REASON", lambda promotion: promotion.reason, wraps=True),
    ]
    found = session.client.promotions.list(model, number)
    session.show_all(found, columns, limit=limit, nothing=f"{model} has no promotions.")


@asks(app, "get")
def get_promotion(
    session: Session, promotion_id: Annotated[str, typer.Argument(help="The promotion.", metavar="PROMOTION_ID")]
) -> None:
    """Shows a promotion."""
    session.show(session.client.promotions.get(promotion_id))
