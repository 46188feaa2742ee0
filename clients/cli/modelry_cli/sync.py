"""`modelry sync`: delivers what was logged while no server answered."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelry_cli import output
from modelry_cli.output import Format

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def sync(
    address: Annotated[
        str | None, typer.Option(help="Deliver all to this server, instead of the one each was logged for.")
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
    ] = Format.TABLE,
) -> None:
    """Delivers what ended processes could not send. Nothing is written twice.

    Exit code 1 if something is left or was refused.
    """
    import modelry

    try:
        with output.progress("Delivering", unit="requests") as progress:
            report = modelry.sync(address, progress=progress)
    except modelry.ModelryError as refused:
        output.refuse(str(refused))
        raise typer.Exit(1) from None
    if output_format is Format.JSON:
        output.write_json(report)
    elif report.requests_delivered or report.requests_left or report.requests_refused or report.files_in_use:
        output.write_text(
            f"Delivered {report.requests_delivered} requests of {report.files_delivered} processes; "
            f"{report.requests_refused} refused, {report.requests_left} left, "
            f"{report.files_in_use} files belong to processes that are still running."
        )
    elif not report.problems:
        output.write_text("There is nothing to deliver.")
    for problem in report.problems:
        output.refuse(problem)
    if report.problems:
        raise typer.Exit(1)


def command() -> Any:
    """The command; it has no verbs."""
    return typer.main.get_command(_app)
