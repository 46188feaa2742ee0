"""`modelry up`: all services in one process on this machine."""

from __future__ import annotations

import getpass
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.settings import File, alone
from modelry_cli.terminal import output

if TYPE_CHECKING:
    from modelry_server.config import Config

BOOTSTRAP_FILE = "bootstrap.token"
DEFAULT_PORT = 5100


def up(
    settings: dict[str, str],
    port: Annotated[
        int | None,
        typer.Option(
            help="The port on this machine. 0: any free port. Default: 5100, or what server.listen says.",
            min=0,
            max=65535,
        ),
    ] = None,
    data_folder: Annotated[
        Path | None, typer.Option(help="The folder of all data. Default: ~/.local/share/modelry.", metavar="FOLDER")
    ] = None,
    auth: Annotated[
        bool,
        typer.Option(
            "--auth", help="Callers must say who they are: for a machine that others use, too. See `modelry login`."
        ),
    ] = False,
    config: File = None,
) -> None:
    """Starts all services in one process on this machine, until Ctrl-C. Creates or upgrades the databases first.

    It has all options of `modelry server`.
    """
    from modelry_server.__main__ import run

    given = {}
    if port is not None:
        given["server.listen"] = f"127.0.0.1:{port}"
    if data_folder is not None:
        given["server.data-folder"] = str(data_folder)
    if auth:
        given["server.authentication"] = "required"
    defaults = {"server.log-level": "warning"}
    raise typer.Exit(run("all", file=config, flags=given | settings, defaults=defaults, upgrade=True, announce=_banner))


def _next_steps(config: Config) -> list[str]:
    """What to do first: where callers are known and nobody is yet, to make the first administrator."""
    if config.server.authentication == "none":
        return ["  modelry experiment list", "  modelry run list"]
    file = config.server.folder().resolve() / BOOTSTRAP_FILE
    if file.exists():
        return [f"  modelry user create-administrator {getpass.getuser()} --bootstrap-file {shlex.quote(str(file))}"]
    how = "modelry login" if config.access.issuers_file else "modelry login --token"
    return [f"  {how}", "  modelry whoami"]


def _banner(config: Config, port: int) -> None:
    from modelry_server.addresses import listening
    from modelry_server.kernel.transport import sockets

    given = listening("all", config)[1]
    path = sockets.path_of(given)
    scheme = "grpcs://" if config.server.tls_certificate_file else ""
    address = f"{scheme}{given.rpartition(':')[0]}:{port}" if path is None else sockets.uri_of(path)
    output.write_text(
        "\n".join(
            (
                "Modelry is up.",
                "",
                f"  address      {address}",
                f"  data folder  {config.server.folder().resolve()}",
                "",
                "In another terminal:",
                "",
                *(() if port == DEFAULT_PORT and not scheme else (f"  export MODELRY_TRACKING_URI={address}",)),
                *_next_steps(config),
                "",
                "Ctrl-C stops it. The data folder stays.",
            )
        )
    )


command = alone(up)
