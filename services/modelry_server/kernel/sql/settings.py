"""The settings that each service has for its database."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelry_server.kernel.config import Secret, in_folder, setting

_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!:memory:|file:)(.+)")


def _anchored(url: str, folder: Path) -> str:
    """The URL, with the path of a SQLite file as meant from a folder."""
    found = _FILE.fullmatch(url)
    return url if found is None else found[1] + in_folder(found[2], folder)


def synchronous(default: str) -> Any:
    """The setting of SQLite's commits, with a default that suits the service."""
    return setting(
        default,
        "Whether SQLite waits for the disk at each commit (`full`) or lets the operating system write later "
        "(`normal`). If the process is killed, neither loses anything; a power cut may take the last commits of "
        "`normal`.",
        choices=("full", "normal"),
    )


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the database of a service is, and how it is used. Each service's section inherits this."""

    database_url: Secret = setting(
        Secret(""),
        "SQLAlchemy URL of the service's database. Empty: SQLite, in a file in the data folder that is named after the "
        "service.",
        anchored=_anchored,
    )
    sqlite_synchronous: str = synchronous("full")
    postgres_prepared: str = setting(
        "auto",
        "Whether connections to PostgreSQL keep prepared statements, which halves the time of a small call. `auto`: "
        "unless a connection pooler is detected. Behind a pooler that supports prepared statements, `always` is "
        "faster.",
        choices=("auto", "always", "never"),
    )
