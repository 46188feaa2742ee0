"""`modelry model`: registered models, under which versions are numbered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from modelry_cli.options import (
    AllowExisting,
    CheckTimeout,
    Description,
    Filter,
    FilterWord,
    Limit,
    ModelName,
    ModelUri,
    NewDescription,
    NewName,
    OrderBy,
    Reason,
    Tag,
    TagKeys,
    TagWords,
    Yes,
    agreed,
    pairs,
)
from modelry_cli.session import Session, asks
from modelry_cli.terminal.output import Column, note

if TYPE_CHECKING:
    from modelry.types import Model

app = typer.Typer(help="Registered models: names under which versions are numbered.", no_args_is_help=True)


@asks(app, "list")
def list_models(session: Session, filter: Filter = "", order_by: OrderBy = None, limit: Limit = None) -> None:
    """Lists models, by name."""
    found = session.client.models.search(filter, order_by=order_by or ())
    columns: list[Column[Model]] = [
        Column("NAME", lambda model: model.name),
        Column("LAST VERSION", lambda model: model.last_version_number or ""),
        Column("ALIASES", lambda model: dict(sorted(model.aliases.items())), wraps=True),
        Column("DESCRIPTION", lambda model: model.description, wraps=True),
        Column("TAGS", lambda model: model.tags, wraps=True, spare=2),
        Column("UPDATED", lambda model: model.update_time, spare=1),
    ]
    session.show_all(found, columns, limit=limit, nothing="No models.")


@asks(app, "search", hidden=True)
def search_models(session: Session, filter: FilterWord, limit: Limit = None) -> None:
    """Lists the models that a filter finds."""
    list_models(session, filter, limit=limit)


@asks(app, "get")
def get_model(session: Session, model: ModelName) -> None:
    """Shows a model."""
    session.show(session.client.models.get(model))


@asks(app, "create")
def create_model(
    session: Session,
    model: ModelName,
    description: Description = "",
    tag: Tag = None,
    allow_existing: AllowExisting = False,
) -> None:
    """Creates a model. `modelry version create` adds versions."""
    made = session.client.models.create(model, description=description, tags=pairs(tag), allow_existing=allow_existing)
    session.show(made)


@asks(app, "update")
def update_model(
    session: Session,
    model: ModelName,
    name: NewName = None,
    description: NewDescription = None,
    reason: Reason = "",
) -> None:
    """Changes the name or the description of a model."""
    if name is None and description is None:
        raise typer.BadParameter("nothing to change; give --name or --description")
    models = session.client.models
    if description is not None:
        changed = models.update(model, description=description, reason=reason)
    if name is not None:
        changed = models.rename(model, name, reason=reason)
    session.show(changed)


@asks(app, "check")
def check_model(session: Session, uri: ModelUri, timeout: CheckTimeout = 900.0) -> None:
    """Loads a model in a fresh environment, predicts its input example, and says what is missing or fails.

    The exit code is 1 if something is wrong.
    """
    from modelry import models

    found = models.check(uri, timeout=timeout, progress=note, client=session.client)
    drawn = {
        "model_uri": found.model_uri,
        "result": "nothing is wrong" if found.ok else f"{len(found.problems)} wrong",
        **{f"{each.kind} {each.subject}": each.message for each in found.problems},
        "example": "predicted" if found.predicted else "not predicted",
        "environment": found.environment,
        "python": found.python,
        "seconds": found.seconds,
    }
    session.show(found, drawn)
    if not found.ok:
        raise typer.Exit(1)


@asks(app, "delete")
def delete_model(session: Session, model: ModelName, reason: Reason = "", yes: Yes = False) -> None:
    """Deletes a model with its versions. Its audit records stay."""
    agreed(f"Delete the model {model!r} with all its versions?", yes)
    session.client.models.delete(model, reason=reason)
    session.done(f"Deleted model {model}.", model_name=model)


@asks(app, "set-tags")
def set_tags(session: Session, model: ModelName, tags: TagWords) -> None:
    """Sets tags, all or none."""
    session.show(session.client.models.set_tags(model, pairs(tags)))


@asks(app, "delete-tags")
def delete_tags(session: Session, model: ModelName, keys: TagKeys) -> None:
    """Removes tags, all or none."""
    session.show(session.client.models.delete_tags(model, keys))
