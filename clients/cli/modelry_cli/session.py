"""What all commands that ask a server share: its address, the workspace, and the form of the answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column, Format

if TYPE_CHECKING:
    from modelry import Client

Arguments = ParamSpec("Arguments")
T = TypeVar("T")

SHOWN = 50
"""How many things a table lists by default."""
_PANEL = "Server and output"
_SHARED = {
    "address": Annotated[
        str | None,
        typer.Option(
            help="The address of the server: host:port. Default: MODELRY_TRACKING_URI, else 127.0.0.1:5100.",
            metavar="ADDRESS",
            rich_help_panel=_PANEL,
        ),
    ],
    "workspace": Annotated[
        str | None,
        typer.Option(
            help="The workspace. Default: MODELRY_WORKSPACE, else default.",
            metavar="NAME",
            rich_help_panel=_PANEL,
        ),
    ],
    "output_format": Annotated[
        Format, typer.Option("--output", "-o", help="A table for people, or JSON for programs.", rich_help_panel=_PANEL)
    ],
}


@dataclass(frozen=True, slots=True)
class Session:
    """The client of a command, and the form of its answer. `address` and `workspace` are what the command named."""

    client: Client
    format: Format
    address: str | None = None
    workspace: str | None = None

    def show(self, thing: object, drawn: Mapping[str, object] | None = None) -> None:
        """Shows one thing. `drawn` is what a table shows, if that is not its fields."""
        if self.format is Format.JSON:
            output.write_json(thing)
            return
        fields = drawn if drawn is not None else thing if isinstance(thing, Mapping) else fields_of(thing)
        output.write_one({key: value for key, value in fields.items() if key != "etag"})

    def show_all(
        self,
        found: Sequence[T],
        columns: Sequence[Column[T]] | Callable[[Sequence[T]], Sequence[Column[T]]],
        *,
        limit: int | None = None,
        nothing: str = "Nothing found.",
        document: Callable[[T], object] = lambda item: item,
    ) -> None:
        """Shows a list. A table has at most `limit` or 50 rows; JSON has all, unless there is a limit."""
        if self.format is Format.JSON:
            output.write_json([document(item) for item in (found if limit is None else found[:limit])])
            return
        shown = SHOWN if limit is None else limit
        rows = found[: shown + 1]
        chosen = columns(rows[:shown]) if callable(columns) else columns
        output.write_list(rows[:shown], chosen, nothing=nothing, more=len(rows) > shown)

    def done(self, text: str, **outcome: object) -> None:
        """Says what was done, if there is nothing to show."""
        if self.format is Format.JSON:
            output.write_json(outcome)
        else:
            output.write_text(text)


def fields_of(thing: object) -> dict[str, object]:
    """The fields of a dataclass by name, as they are."""
    import dataclasses

    return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}  # type: ignore[arg-type]


def asks(
    app: typer.Typer, name: str, *, hidden: bool = False
) -> Callable[[Callable[Concatenate[Session, Arguments], None]], Callable[Concatenate[Session, Arguments], None]]:
    """Registers a function as a command that asks a server.

    The command has the options of the function, and `--address`, `--workspace` and `--output`, which make its session.
    If the server refuses, the reason goes to standard error and the exit code is 1.
    """

    def register(
        function: Callable[Concatenate[Session, Arguments], None],
    ) -> Callable[Concatenate[Session, Arguments], None]:
        @functools.wraps(function)
        def command(address: str | None, workspace: str | None, output_format: Format, **given: Any) -> None:
            from modelry import Client, ModelryError

            try:
                function(Session(Client(address, workspace), output_format, address, workspace), **given)  # type: ignore[call-arg]
            except BrokenPipeError:
                raise
            except ModelryError as refused:
                output.refuse(str(refused))
                raise typer.Exit(1) from None
            except OSError as failed:
                output.refuse(f"{failed.filename}: {failed.strerror}" if failed.filename else str(failed))
                raise typer.Exit(1) from None

        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        kind = inspect.Parameter.KEYWORD_ONLY
        defaults = {"address": None, "workspace": None, "output_format": Format.TABLE}
        shared = [inspect.Parameter(key, kind, default=defaults[key], annotation=_SHARED[key]) for key in _SHARED]
        parameters = [*(parameter.replace(kind=kind) for parameter in own), *shared]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, hidden=hidden)(command)
        return function

    return register
