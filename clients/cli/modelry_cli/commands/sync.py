"""`modelry sync`: delivers what was logged while no server answered, lists it, and deletes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelry_cli.options import Yes, agreed
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column, Format
from modelry_cli.terminal.words import counted, size

if TYPE_CHECKING:
    from modelry.spool import Undelivered
    from modelry.types import SyncReport

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def sync(
    files: Annotated[
        list[str] | None, typer.Argument(help="With --discard: files of the spool, as --list names them.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Deliver all to this server: host:port. Default: the one that each was logged for."),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show what is not delivered yet, and deliver nothing.")] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Delete the files, with what waits in them, and deliver nothing.")
    ] = False,
    yes: Yes = False,
    output_format: Annotated[
        Format, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
    ] = Format.TABLE,
) -> None:
    """Delivers what ended processes could not send. Nothing is written twice.

    Exit code 1 if something is left or was refused.
    """
    import modelry

    if (show and discard) or (address is not None and (show or discard)):
        raise typer.BadParameter("give one of --address, --list and --discard")
    if discard != bool(files):
        raise typer.BadParameter("--discard needs files, as `modelry sync --list` names them; only --discard takes any")
    try:
        if show:
            _list(output_format)
        elif files:
            _discard(files, yes, output_format)
        else:
            _deliver(address, output_format)
    except modelry.ModelryError as refused:
        output.refuse(str(refused))
        raise typer.Exit(1) from None


def _deliver(address: str | None, output_format: Format) -> None:
    import modelry

    with output.progress("Delivering", unit="requests") as progress:
        report = modelry.sync(address, progress=progress)
    if output_format is Format.JSON:
        output.write_json(report)
    elif report.requests_delivered or report.requests_left or report.requests_refused or report.files_in_use:
        output.write_text(f"{_told(report)}.")
    elif not report.problems:
        output.write_text("There is nothing to deliver.")
    for problem in report.problems:
        output.refuse(problem)
    if report.problems:
        if _is_something_left():
            output.note(
                "`modelry sync --list` shows what is left. It stays until it is delivered, such as after you have got "
                "a role or a token back: `modelry whoami` shows what you may do. Only what can never be delivered is "
                "for `modelry sync --discard FILE`, which deletes it for ever."
            )
        raise typer.Exit(1)


def _is_something_left() -> bool:
    import modelry
    from modelry import spool

    try:
        return bool(spool.undelivered())
    except modelry.ModelryError:
        return False  # A problem says why the spool can't be read.


def _list(output_format: Format) -> None:
    from modelry import spool

    found = spool.undelivered()
    if output_format is Format.JSON:
        output.write_json(found)
        return
    columns: list[Column[Undelivered]] = [
        Column("FILE", lambda each: each.path.name, whole=True),
        Column("LOGGED FOR", lambda each: each.address, wraps=True),
        Column("WAITING", lambda each: each.told(), wraps=True),
        Column("SIZE", lambda each: size(each.size_bytes), spare=3),
        Column("SINCE", lambda each: each.create_time, spare=2),
        Column("STATE", lambda each: "in use" if each.in_use else each.problem or "left", wraps=True),
        Column("RUNS", lambda each: each.run_ids, wraps=True, spare=1),
    ]
    output.write_list(found, columns, nothing="Everything is delivered.")
    if found:
        output.note(f"They are in {found[0].path.parent}.")


def _discard(words: Sequence[str], yes: bool, output_format: Format) -> None:
    from modelry import spool

    known = {each.path.name: each for each in spool.undelivered()}
    chosen = []
    for word in dict.fromkeys(words):
        each = known.get(Path(word).name)
        if each is None or (Path(word).name != word and Path(word).resolve() != each.path.resolve()):
            output.refuse(f"{word} is not in the spool; `modelry sync --list` shows what is")
            raise typer.Exit(1)
        if each.in_use:
            output.refuse(f"{word} is in use by a process that is still running, which delivers it itself")
            raise typer.Exit(1)
        chosen.append(each)
    lost = "; ".join(map(_lost, chosen))
    agreed(f"Delete {counted(len(chosen), 'file')} of the spool? Lost is {lost}.", yes)
    for each in chosen:
        spool.discard(each.path)
    if output_format is Format.JSON:
        output.write_json(chosen)
    else:
        output.write_text(f"Deleted {counted(len(chosen), 'file')} of the spool. Lost is {lost}.")


def _lost(each: Undelivered) -> str:
    runs = f" of run {', '.join(each.run_ids)}" if each.run_ids else ""
    logged_for = f", logged for {each.address}" if each.address else ""
    return f"{each.told()}{runs}{logged_for}"


def _told(report: SyncReport) -> str:
    """What a delivery did; a part of it that did not happen is not mentioned."""
    delivered = f"delivered {_counted(report.requests_delivered, report.points_delivered)}"
    in_use = counted(report.files_in_use, "file")
    parts = [
        f"{delivered} from {counted(report.files_delivered, 'file')}"
        if report.files_delivered
        else delivered
        if report.requests_delivered
        else "",
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
