"""The program `modelry`. It is installed with the SDK, also where what the commands need is not."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from modelry_cli.terminal import output

_NEEDED = {
    "cli": ("the command line", ("click", "rich", "shellingham", "typer")),
    "server,cli": (
        "this command",
        (
            "alembic",
            "backports",
            "cryptography",
            "google.rpc",
            "grpc_health",
            "grpc_reflection",
            "grpc_status",
            "joserfc",
            "lark",
            "minio",
            "numpy",
            "opentelemetry",
            "orjson",
            "prometheus_client",
            "psycopg",
            "sqlalchemy",
            "tsdownsample",
            "urllib3",
        ),
    ),
}
"""What needs which modules, by the extras of the package that install them."""


def advice(module: str) -> str:
    """What to install if a module is missing. Empty if no extra of the package has it."""
    for extras, (user, modules) in _NEEDED.items():
        if any(module == each or module.startswith(f"{each}.") for each in modules):
            return f"{user} needs {module}, which is not installed; in a checkout, run: pip install '.[{extras}]'"
    return ""


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 refused, 2 wrong use."""
    # The errors of Modelry say what gRPC's core would log about a port or a peer.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # A stream that the shell has closed is None. What is written to it is discarded.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        from modelry_cli.tree import app

        app(prog_name="modelry")
    except ModuleNotFoundError as missing:
        if not (told := advice(missing.name or "")):
            raise
        output.refuse_plainly(told)
        raise SystemExit(1) from None


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
