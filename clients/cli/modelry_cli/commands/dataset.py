"""`modelry dataset`: the datasets that runs used."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.commands.run import list_runs
from modelry_cli.options import Filter, FilterWord, Limit
from modelry_cli.session import Session, asks
from modelry_cli.terminal.output import Column

if TYPE_CHECKING:
    from modelry.types import Dataset

app = typer.Typer(help="Datasets that runs used.", no_args_is_help=True)


@asks(app, "list")
def list_datasets(session: Session, filter: Filter = "", limit: Limit = None) -> None:
    """Lists datasets, the newest first."""
    columns: list[Column[Dataset]] = [
        Column("DATASET ID", lambda dataset: dataset.dataset_id),
        Column("NAME", lambda dataset: dataset.name, wraps=True),
        Column("DIGEST", lambda dataset: dataset.digest),
        Column("SOURCE TYPE", lambda dataset: dataset.source_type, spare=3),
        Column("SOURCE", lambda dataset: dataset.source, wraps=True, spare=1),
        Column("CREATED", lambda dataset: dataset.create_time, spare=2),
    ]
    session.show_all(session.client.datasets.search(filter), columns, limit=limit, nothing="No datasets.")


@asks(app, "search", hidden=True)
def search_datasets(session: Session, filter: FilterWord, limit: Limit = None) -> None:
    """Lists the datasets that a filter finds."""
    list_datasets(session, filter, limit=limit)


@asks(app, "get")
def get_dataset(
    session: Session, dataset_id: Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET_ID")]
) -> None:
    """Shows a dataset with its schema and profile."""
    session.show(session.client.datasets.get(dataset_id))


@asks(app, "runs")
def list_runs_of_dataset(
    session: Session,
    dataset: Annotated[str, typer.Argument(help="The digest of the data, or the id of a dataset.", metavar="DIGEST")],
    limit: Limit = None,
) -> None:
    """Lists the runs that used a dataset, in all experiments, the newest first."""
    from modelry.errors import DatasetNotFound, FieldInvalid

    with suppress(DatasetNotFound, FieldInvalid):
        dataset = session.client.datasets.get(dataset).digest
    quoted = dataset.replace("'", "''")
    list_runs(session, filter=f"datasets.digest = '{quoted}'", limit=limit)
