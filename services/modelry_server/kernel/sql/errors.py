"""What can be wrong with a database."""

from modelry_server.kernel.errors import Unavailable


class DatabaseUnusable(Exception):
    """The database can't be opened. The message names it, without its password, and says why."""


class SchemaUnknown(DatabaseUnusable):
    """The schema of the database is not the one that this program needs. The message says what to do."""


class ConcurrentChange(Unavailable):
    """The transaction was rolled back because it conflicts with another one. Nothing was changed."""

    reason = "DATABASE_UNAVAILABLE"

    def __init__(
        self, message: str = "another request changed the same data; nothing was changed, send the call again"
    ) -> None:
        super().__init__(message)
