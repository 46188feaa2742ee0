"""`modelry experiment`: each experiment groups the runs that answer one question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import (
    AllowExisting,
    Deleted,
    Description,
    ExperimentWord,
    Filter,
    FilterWord,
    Limit,
    NewDescription,
    NewName,
    OrderBy,
    Tag,
    TagKeys,
    TagWords,
    pairs,
)
from modelry_cli.session import Session, asks
from modelry_cli.terminal.output import Column

if TYPE_CHECKING:
    from modelry import Client, Experiment

app = typer.Typer(help="Experiments: each groups the runs that answer one question.", no_args_is_help=True)


@asks(app, "list")
def list_experiments(
    session: Session, filter: Filter = "", order_by: OrderBy = None, deleted: Deleted = False, limit: Limit = None
) -> None:
    """Lists experiments, the newest first."""
    found = session.client.experiments.search(
        filter, order_by=order_by or (), lifecycle="DELETED" if deleted else "ACTIVE"
    )
    columns: list[Column[Experiment]] = [
        Column("ID", lambda experiment: experiment.experiment_id),
        Column("NAME", lambda experiment: experiment.name, wraps=True),
        Column("DESCRIPTION", lambda experiment: experiment.description, wraps=True, spare=2),
        Column("TAGS", lambda experiment: experiment.tags, wraps=True, spare=1),
        Column("CREATED", lambda experiment: experiment.create_time),
    ]
    session.show_all(found, columns, limit=limit, nothing="No experiments.")


@asks(app, "search", hidden=True)
def search_experiments(session: Session, filter: FilterWord, limit: Limit = None) -> None:
    """Lists the experiments that a filter finds."""
    list_experiments(session, filter, limit=limit)


@asks(app, "get")
def get_experiment(session: Session, experiment: ExperimentWord) -> None:
    """Shows an experiment, also a deleted one."""
    session.show(named(session.client, experiment))


@asks(app, "create")
def create_experiment(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name, unique in the workspace.")],
    description: Description = "",
    tag: Tag = None,
    allow_existing: AllowExisting = False,
) -> None:
    """Creates an experiment."""
    made = session.client.experiments.create(
        name, description=description, tags=pairs(tag), allow_existing=allow_existing
    )
    session.show(made)


@asks(app, "update")
def update_experiment(
    session: Session, experiment: ExperimentWord, name: NewName = None, description: NewDescription = None
) -> None:
    """Changes the name or the description of an experiment."""
    if name is None and description is None:
        raise typer.BadParameter("nothing to change; give --name or --description")
    found = named(session.client, experiment)
    changed = session.client.experiments.update(
        found.experiment_id, name=name, description=description, etag=found.etag
    )
    session.show(changed)


@asks(app, "delete")
def delete_experiment(session: Session, experiment: ExperimentWord) -> None:
    """Deletes an experiment. `restore` undoes it."""
    deleted = session.client.experiments.delete(named(session.client, experiment).experiment_id)
    session.done(
        f"Deleted experiment {deleted.experiment_id}, {deleted.name}; "
        f"undo it with: modelry experiment restore {deleted.experiment_id}",
        experiment_id=deleted.experiment_id,
    )


@asks(app, "restore")
def restore_experiment(session: Session, experiment: ExperimentWord) -> None:
    """Restores a deleted experiment."""
    session.show(session.client.experiments.restore(named(session.client, experiment).experiment_id))


@asks(app, "set-tags")
def set_tags(session: Session, experiment: ExperimentWord, tags: TagWords) -> None:
    """Sets tags, all or none."""
    found = named(session.client, experiment)
    session.show(session.client.experiments.set_tags(found.experiment_id, pairs(tags)))


@asks(app, "delete-tags")
def delete_tags(session: Session, experiment: ExperimentWord, keys: TagKeys) -> None:
    """Removes tags, all or none."""
    found = named(session.client, experiment)
    session.show(session.client.experiments.delete_tags(found.experiment_id, keys))


def named(client: Client, word: str) -> Experiment:
    """The experiment of the client's workspace with an id, or else with a name.

    Raises ExperimentNotFound. The error names the other workspace if the id belongs to one.
    """
    from modelry.errors import ExperimentNotFound, FieldInvalid

    elsewhere = ""
    if word.isascii() and word.isdecimal():
        try:
            found = client.experiments.get(word)
            if found.workspace == client.workspace:
                return found
            elsewhere = found.workspace
        except (ExperimentNotFound, FieldInvalid):
            pass
    try:
        return client.experiments.get_by_name(word)
    except ExperimentNotFound as missing:
        if not elsewhere:
            raise
        raise ExperimentNotFound(
            f"{missing.message}; experiment {word} is in the workspace {elsewhere!r}: use --workspace {elsewhere}",
            metadata={**missing.metadata, "workspace": elsewhere},
        ) from None
