"""What can be wrong with a database."""

import shlex
from pathlib import Path

from modelry_server.kernel.errors import Unavailable


class DatabaseUnusable(Exception):
    """The database can't be opened. The message names it, without its password, and says why."""


class SchemaUnknown(DatabaseUnusable):
    """The schema of the database is not the one that this program needs. The message says what to do."""


class SchemaMissing(SchemaUnknown):
    """The schema is older than the one that this program needs, or there is none yet: an upgrade helps."""

    def __init__(self, state: str) -> None:
        super().__init__(f"{state}; {how_to_upgrade()}")
        self.state = state


def how_to_upgrade(file: Path | None = None, target: str = "all") -> str:
    """The command that upgrades the databases of this process, whose settings are in a file if there is one.

    The other settings are not named: they may be secrets.
    """
    options = ["--config", shlex.quote(str(file))] if file else []
    options += ["--target", target] if target != "all" else []
    command = " ".join(["modelry db upgrade", *options])
    return f"run, with the same options and MODELRY_ variables: {command}"


class ConcurrentChange(Unavailable):
    """The transaction was rolled back because it conflicts with another one. Nothing was changed."""

    reason = "DATABASE_UNAVAILABLE"

    def __init__(
        self, message: str = "another request changed the same data; nothing was changed, send the call again"
    ) -> None:
        super().__init__(message)
