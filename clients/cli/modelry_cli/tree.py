"""The tree of commands: `modelry <noun> <verb>`. The file of a noun is imported when the noun is used."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelry_cli.terminal import output

_COMMANDS = {
    "Running the platform": {
        "up": "Start everything in one process on this machine.",
        "server": "Run one service, or all of them, as a server.",
        "db": "Show and upgrade the schemas of the databases.",
    },
    "Experiments and runs": {
        "experiment": "Experiments: each groups the runs that answer one question.",
        "run": "Runs: one execution of training code each.",
        "dataset": "Datasets that runs used.",
        "artifact": "Files of runs and of model versions.",
        "sync": "Deliver what was logged while no server answered.",
    },
    "Models": {
        "model": "Registered models: names under which versions are numbered.",
        "version": "Versions of registered models, and their stages.",
        "alias": "Aliases: names that point at one version of a model.",
        "promotion": "Moves of versions between stages.",
        "evaluation": "What versions were worth on data.",
        "audit": "The records of every change in the registry and in access.",
        "event": "What happened in the registry, for programs that follow it.",
    },
    "Teams": {
        "login": "Log in to a server, and keep the login on this machine.",
        "logout": "Log out of a server.",
        "workspace": "Workspaces, which separate teams.",
        "whoami": "Say who you are to a server, and what you may do.",
        "user": "People and service accounts.",
        "group": "Groups of people, of service accounts and of other groups.",
        "role": "Roles, and who has them where.",
        "token": "API tokens, by which people and service accounts are known.",
    },
}


class Nouns(TyperGroup):
    """The commands by name. Each is loaded when it is run, so that help and completion start fast."""

    def resolve_command(self, ctx: Any, args: Any) -> Any:
        """The command that the arguments name, loaded from its own file."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            module = importlib.import_module(f"modelry_cli.commands.{name}")
            command = typer.main.get_group(module.app) if hasattr(module, "app") else module.command()
            command.name = name
        return name, command, rest


app = typer.Typer(
    cls=Nouns,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _names in _COMMANDS.items():
    for _name, _help in _names.items():
        app.add_typer(typer.Typer(), name=_name, help=_help, rich_help_panel=_panel)


def _say_version(wanted: bool) -> None:
    if wanted:
        from modelry import __version__

        output.write_text(f"modelry {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version of Modelry.")
    ] = False,
) -> None:
    """Experiments, runs, models and their files: start the platform with `modelry up`."""
