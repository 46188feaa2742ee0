"""`modelry sync`: delivers what was logged while no server answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelry_cli.terminal import output
from modelry_cli.terminal.output import Format
from modelry_cli.terminal.words import counted

if TYPE_CHECKING:
    from modelry.types import SyncReport

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def sync(
    address: Annotated[
        str | None,
        typer.Option(help="Deliver all to this server: host:port. Default: the one that each was logged for."),
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
        output.write_text(f"{_told(report)}.")
    elif not report.problems:
        output.write_text("There is nothing to deliver.")
    for problem in report.problems:
        output.refuse(problem)
    if report.problems:
        raise typer.Exit(1)


def _told(report: SyncReport) -> str:
    """What a delivery did; a part of it that did not happen is not mentioned."""
    processes = f"{report.files_delivered} process{'' if report.files_delivered == 1 else 'es'}"
    delivered = f"delivered {_counted(report.requests_delivered, report.points_delivered)}"
    in_use = counted(report.files_in_use, "file")
    parts = [
        f"{delivered} of {processes}" if report.files_delivered else delivered if report.requests_delivered else "",
        f"{_counted(report.requests_refused, report.points_refused)} refused" if report.requests_refused else "",
        f"{_counted(report.requests_left, report.points_left)} left" if report.requests_left else "",
        f"{in_use} in use by processes that are still running" if report.files_in_use else "",
    ]
    told = ", ".join(filter(None, parts))
    return told[:1].upper() + told[1:]


def _counted(requests: int, points: int) -> str:
    return counted(requests, "request") + (f" with {counted(points, 'point')}" if points else "")


def command() -> Any:
    """The command; it has no verbs."""
    return typer.main.get_command(_app)
