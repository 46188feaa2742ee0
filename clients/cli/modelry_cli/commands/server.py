"""`modelry server`: runs one service, or all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from modelry_cli.settings import File, alone


def serve(
    settings: dict[str, str],
    target: Annotated[str, typer.Option(help="all, access, tracking, artifacts or registry.")] = "all",
    config: File = None,
) -> None:
    """Runs one service, or all of them, until SIGTERM. The databases must be up to date: `modelry db upgrade`.

    Each setting has the same name in the file (section tracking, key address) and in the environment
    (MODELRY_TRACKING_ADDRESS). An option wins over the environment, the environment over the file.
    """
    from modelry_server.__main__ import run

    raise typer.Exit(run(target, file=config, flags=settings))


command = alone(serve)
