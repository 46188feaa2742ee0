"""`modelry run logs`: what the processes of a run wrote to standard output and standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import RunId
from modelry_cli.session import Session, asks
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Format

if TYPE_CHECKING:
    from modelry.types import ConsoleLine


def add_to(app: typer.Typer) -> None:
    """Adds the command to those for runs."""
    asks(app, "logs")(read_console)


def read_console(
    session: Session,
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    grep: Annotated[
        str, typer.Option("--grep", help="Only lines that this regular expression finds.", metavar="TEXT")
    ] = "",
    times: Annotated[bool, typer.Option("--times", "-t", help="Show the time and the stream of each line.")] = False,
    rank: Annotated[int | None, typer.Option(min=0, help="Only of this process of a job. Default: all.")] = None,
) -> None:
    """Shows the console output of a run, while it runs and later. JSON has a document on each line."""
    lines = session.client.runs.console(run_id, follow=follow, grep=grep, rank=rank)
    for line in lines:
        if session.format is Format.JSON:
            output.write_json_line(line)
        else:
            output.write_line(f"{_beginning(line)} {line.text}" if times else line.text)


def _beginning(line: ConsoleLine) -> str:
    rank = f" rank {line.rank}" if line.rank else ""
    return f"{line.time.astimezone():%Y-%m-%d %H:%M:%S} {line.stream}{rank}"
