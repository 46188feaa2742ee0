"""Every setting of the server as an option of a command, made from the configuration classes of the server."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

Arguments = ParamSpec("Arguments")
_PREFIX = "setting__"

File = Annotated[
    Path | None,
    typer.Option("--config", help="A TOML file with settings. The environment wins over it, options win over both."),
]


Function = Callable[Concatenate[dict[str, str], Arguments], None]


def configured(function: Function[Arguments]) -> Callable[..., None]:
    """A command that has every setting of the server as an option, `--section.key`.

    The first argument of the function is the given settings, as text by `section.key`. The server validates them.
    """

    @functools.wraps(function)
    def command(**given: Any) -> None:
        own = {key: value for key, value in given.items() if not key.startswith(_PREFIX)}
        flags = {
            key.removeprefix(_PREFIX).replace("__", ".").replace("_", "-"): value
            for key, value in given.items()
            if key.startswith(_PREFIX) and value is not None
        }
        function(flags, **own)  # type: ignore[call-arg]

    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=kind) for parameter in own] + _options()
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def alone(function: Function[Arguments]) -> Callable[[], Any]:
    """Makes a command without verbs that has every setting as an option."""

    def build() -> Any:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(configured(function))
        return typer.main.get_command(app)

    return build


def _options() -> list[inspect.Parameter]:
    from modelry_server.config import Config
    from modelry_server.kernel.config import sections

    parameters = []
    for section, kind in sections(Config):
        for field in dataclasses.fields(kind):
            option = typer.Option(
                f"--{section}.{field.name.replace('_', '-')}",
                help=_help(field),
                metavar="VALUE",
                show_default=False,
                rich_help_panel=f"{section}: {(kind.__doc__ or '').strip().splitlines()[0]}",
            )
            name = f"{_PREFIX}{section}__{field.name}"
            annotation = Annotated[str | None, option]
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            )
    return parameters


def _help(field: dataclasses.Field[Any]) -> str:
    from modelry_server.kernel.config import EMPTY, range_of, written

    choices = field.metadata["choices"]
    allowed = f" One of: {', '.join(choices)}." if choices else ""
    if numbers := range_of(field).replace("`", ""):
        allowed = f" {numbers[0].upper()}{numbers[1:]}."
    said = written(field).strip("`")
    default = "" if said == EMPTY else f" Default: {said}."
    return f"{field.metadata['doc']}{allowed}{default}"
