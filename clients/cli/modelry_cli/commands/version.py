"""`modelry version`: versions of registered models, and their stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import (
    Description,
    Filter,
    FilterWord,
    Limit,
    ModelName,
    Number,
    OrderBy,
    OtherNumber,
    Reason,
    Tag,
    TagKeys,
    TagWords,
    Yes,
    agreed,
    pairs,
)
from modelry_cli.session import Session, asks, fields_of
from modelry_cli.terminal.output import Column, Format, write_text
from modelry_cli.terminal.words import counted, size

if TYPE_CHECKING:
    from modelry.types import ComparedMetric, Version

app = typer.Typer(help="Versions of registered models, and their stages.", no_args_is_help=True)

Stage = Annotated[
    str, typer.Argument(help="The stage; by default None, Staging, Production or Archived.", metavar="STAGE")
]


@asks(app, "list")
def list_versions(
    session: Session,
    model: Annotated[str | None, typer.Argument(help="Only of this model.", metavar="MODEL")] = None,
    filter: Filter = "",
    order_by: OrderBy = None,
    limit: Limit = None,
) -> None:
    """Lists versions, the newest first."""
    if model is not None:
        of_model = "model_name = '" + model.replace("'", "''") + "'"
        filter = f"{of_model} AND ({filter})" if filter else of_model
    found = session.client.versions.search(filter, order_by=order_by or ())
    if model is not None and not found[:1]:
        session.client.models.get(model)  # refuses a model that does not exist
    session.show_all(found, _columns(), limit=limit, nothing="No versions.")


@asks(app, "search", hidden=True)
def search_versions(session: Session, filter: FilterWord, limit: Limit = None) -> None:
    """Lists the versions that a filter finds."""
    list_versions(session, None, filter, limit=limit)


@asks(app, "latest")
def list_latest_versions(
    session: Session,
    model: ModelName,
    stage: Annotated[list[str] | None, typer.Option(help="Only in this stage. Can be repeated.")] = None,
) -> None:
    """Lists the newest version in each stage."""
    session.show_all(session.client.versions.latest(model, stage or ()), _columns(), nothing="No versions.")


@asks(app, "get")
def get_version(session: Session, model: ModelName, number: Number) -> None:
    """Shows a version."""
    show_version(session, session.client.versions.get(model, number))


@asks(app, "create")
def create_version(
    session: Session,
    model: ModelName,
    source: Annotated[
        str, typer.Argument(help="runs:/RUN_ID/PATH, or models:/NAME/NUMBER to copy one.", metavar="SOURCE")
    ],
    description: Description = "",
    tag: Tag = None,
    reason: Reason = "",
) -> None:
    """Creates the next version of a model from files of a run, which are frozen."""
    made = session.client.versions.create(model, source, description=description, tags=pairs(tag), reason=reason)
    show_version(session, made)


@asks(app, "update")
def update_version(
    session: Session,
    model: ModelName,
    number: Number,
    description: Annotated[str, typer.Option(help="The new description.", metavar="TEXT")],
    reason: Reason = "",
) -> None:
    """Changes the description of a version."""
    show_version(session, session.client.versions.update(model, number, description=description, reason=reason))


@asks(app, "promote")
def promote_version(
    session: Session,
    model: ModelName,
    number: Number,
    stage: Stage,
    archive_existing: Annotated[
        bool, typer.Option("--archive-existing", help="Move the other versions in the stage to the archive.")
    ] = False,
    reason: Reason = "",
) -> None:
    """Moves a version to a stage."""
    moved = session.client.promotions.promote(model, number, stage, archive_existing=archive_existing, reason=reason)
    if session.format is Format.JSON:
        session.show(moved)
        return
    if moved.promotion is None:
        session.done(
            f"Nothing changed: version {moved.version.version_number} of {moved.version.model_name} is in "
            f"{moved.version.stage} already."
        )
        return
    version, archived = moved.version, ", ".join(map(str, moved.archived_version_numbers))
    others = f"; archived version {archived}" if archived else ""
    session.done(f"Version {version.version_number} of {version.model_name} is in {version.stage}{others}.")


@asks(app, "compare")
def compare_versions(
    session: Session,
    model: ModelName,
    first: Number,
    second: OtherNumber,
) -> None:
    """Shows two versions side by side: metrics of their runs and evaluations, and what else differs."""
    found = session.client.versions.compare(model, first, second)
    if session.format is Format.JSON:
        session.show(found)
        return
    columns: list[Column[ComparedMetric]] = [
        Column("SOURCE", lambda row: row.source),
        Column("METRIC", lambda row: row.metric),
        Column(f"VERSION {found.first}", lambda row: _number(row.first)),
        Column(f"VERSION {found.second}", lambda row: _number(row.second)),
        Column("DIFFERENCE", lambda row: _number(row.difference)),
        Column("BETTER", lambda row: "-" if row.better is None else row.better),
        Column("SAME DATA", lambda row: "-" if row.same_data is None else row.same_data, spare=1),
    ]
    session.show_all(found.metrics, columns, limit=max(1, len(found.metrics)), nothing="Neither version has metrics.")
    for what, pairs_of in (("param", found.params), ("tag", found.tags)):
        for key, (own, other) in pairs_of.items():
            write_text(f"{what} {key}: {_shown(own)} -> {_shown(other)}")
    signature = {True: "the same", False: "different", None: "not known of both"}[found.same_signature]
    write_text(f"signature: {signature}; files: {'the same' if found.same_files else 'different'}")


@asks(app, "delete")
def delete_version(session: Session, model: ModelName, number: Number, reason: Reason = "", yes: Yes = False) -> None:
    """Deletes a version. Its number is never given again."""
    agreed(f"Delete version {number} of {model!r}?", yes)
    session.client.versions.delete(model, number, reason=reason)
    session.done(f"Deleted version {number} of {model}.", model_name=model, version_number=number)


@asks(app, "set-tags")
def set_tags(session: Session, model: ModelName, number: Number, tags: TagWords) -> None:
    """Sets tags, all or none."""
    show_version(session, session.client.versions.set_tags(model, number, pairs(tags)))


@asks(app, "delete-tags")
def delete_tags(session: Session, model: ModelName, number: Number, keys: TagKeys) -> None:
    """Removes tags, all or none."""
    show_version(session, session.client.versions.delete_tags(model, number, keys))


def show_version(session: Session, version: Version) -> None:
    """Shows a version. A table has its files in words."""
    files = f"{counted(version.file_count, 'file')}, {size(version.size_bytes)}"
    drawn = {"file_count": None, "size_bytes": None, "files": files, "owner": version.owner}
    flavors = {flavor.name: flavor.library_version or "-" for flavor in version.flavors}
    signature = fields_of(version.signature) if version.signature else None
    session.show(version, {**fields_of(version), **drawn, "flavors": flavors, "signature": signature})


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _shown(value: str | None) -> str:
    return "(none)" if value is None else value[:60]


def _columns() -> list[Column[Version]]:
    return [
        Column("MODEL", lambda version: version.model_name),
        Column("VERSION", lambda version: version.version_number),
        Column("STAGE", lambda version: version.stage),
        Column("ALIASES", lambda version: version.aliases, wraps=True),
        Column("STATE", lambda version: version.state, spare=3),
        Column("RUN ID", lambda version: version.run_id, spare=1),
        Column("SIZE", lambda version: size(version.size_bytes), spare=5),
        Column("CREATED", lambda version: version.create_time, spare=2),
        Column("BY", lambda version: version.creator, spare=4),
    ]
