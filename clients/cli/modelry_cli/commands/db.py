"""`modelry db`: the schemas of the databases."""

from __future__ import annotations

import functools
import os
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.settings import File, configured
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Format

if TYPE_CHECKING:
    from pathlib import Path

    from modelry_server.kernel.sql.database import Database

app = typer.Typer(help="The databases of the services: show and upgrade their schemas.")

Target = Annotated[str, typer.Option(help="all, access, tracking, artifacts or registry.")]
OutputFormat = Annotated[Format, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]


def upgrade(
    settings: dict[str, str], target: Target = "all", config: File = None, output_format: OutputFormat = Format.TABLE
) -> None:
    """Upgrades databases to the schema of this program. Their content stays. Doing it again changes nothing."""
    from modelry_server.kernel.errors import ModelryError
    from modelry_server.kernel.sql.database import DatabaseUnusable

    done = []
    for database in _databases(settings, target, config):
        try:
            with closing(database):
                before, after = database.upgrade()
        except (DatabaseUnusable, ModelryError) as mistake:
            output.refuse(str(mistake))
            raise typer.Exit(1) from None
        done.append({"service": database.room, "before": before, "after": after})
        if output_format is Format.TABLE:
            said = "is up to date" if before == after else f"was {before or 'empty'}"
            output.write_text(f"{database.room:<10} {after}  ({said})")
    if output_format is Format.JSON:
        output.write_json(done)


def status(
    settings: dict[str, str], target: Target = "all", config: File = None, output_format: OutputFormat = Format.TABLE
) -> None:
    """Shows the schema of each database, and the one that this program needs. Exit code 1 if they differ."""
    from modelry_server.kernel.sql.database import DatabaseUnusable, how_to_upgrade

    found, problems = [], []
    for database in _databases(settings, target, config):
        try:
            with closing(database):
                present, known = database.versions()
        except DatabaseUnusable as mistake:
            problems.append(str(mistake))
            continue
        where = database.url.render_as_string()
        found.append({"service": database.room, "database": where, "present": present, "known": known})
    ready = all(each["present"] == each["known"] for each in found)
    if output_format is Format.JSON:
        output.write_json(found)
    elif found:
        rows = [
            (
                (each["service"], each["present"] or "none", each["known"], each["database"]),
                each["present"] != each["known"],
            )
            for each in found
        ]
        output.write_grid(["SERVICE", "SCHEMA", "NEEDED", "DATABASE"], rows)
    for problem in problems:
        output.refuse(problem)
    if not ready:
        output.note(f"To upgrade them, {how_to_upgrade(config, target)}")
    if problems or not ready:
        raise typer.Exit(1)


app.command("upgrade")(configured(upgrade))
app.command("status")(configured(status))


def _databases(settings: dict[str, str], target: str, config: Path | None) -> list[Database]:
    from modelry_server.config import Config
    from modelry_server.databases import database, database_mistakes
    from modelry_server.kernel.config import ConfigurationInvalid, load
    from modelry_server.targets import TARGETS

    if target not in TARGETS:
        raise typer.BadParameter(f"there is no target {target!r}; use one of {', '.join(TARGETS)}")
    rooms = TARGETS[target]
    rules = functools.partial(database_mistakes, rooms)
    try:
        # What the sections say of more than databases, such as the store and its secrets, is of no matter here.
        chosen = load(Config, file=config, environment=os.environ, flags=settings, rules=rules, judged=())
        return [database(chosen, room) for room in rooms]
    except ConfigurationInvalid as mistake:
        output.refuse(str(mistake))
        raise typer.Exit(1) from None
