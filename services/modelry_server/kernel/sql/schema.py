"""A database's schema: which version it has, which one this program needs, whether it is like that, and the upgrade."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed
from modelry_server.kernel.ownership import make_private
from modelry_server.kernel.sql.backend import Backend, Transaction
from modelry_server.kernel.sql.differences import differences, told
from modelry_server.kernel.sql.errors import DatabaseUnusable, SchemaMissing, SchemaUnknown

_BESIDE = ("wal", "shm", "journal")  # how the names of SQLite's files beside the database end
_upgrading = threading.Lock()  # Alembic keeps what it is working on in global variables


class _Opened(Protocol):
    """A database, as its schema needs it."""

    room: str
    url: sa.URL
    migrations: Path
    tables: sa.MetaData | None
    backend: Backend
    longest_write_s: float

    def read(self) -> AbstractContextManager[Transaction]: ...

    def migrating(self) -> AbstractContextManager[Transaction]: ...


class Schema:
    """The schema of one database."""

    def __init__(self, database: _Opened) -> None:
        self._database = database
        self.version_table = f"{database.room}_schema_version"
        self._named = f"the database of {database.room}, {database.url.render_as_string()},"

    def check(self) -> None:
        """Does nothing if the schema is the one that this program needs, but to take SQLite's files from other users.

        Raises SchemaUnknown if it is another one, DatabaseUnusable if the database can't be opened.
        """
        present, known = self.versions()
        if present != known:
            state = "has no schema yet" if present is None else f"has the schema {present}, this program knows {known}"
            raise SchemaMissing(f"{self._named} {state}")
        with self._opened():
            self._make_private()

    def versions(self) -> tuple[str | None, str]:
        """The version in the database, None before the first upgrade, and the version that this program needs.

        Creates nothing. Raises SchemaUnknown if the schema is newer than this program, or has its version and lacks
        something that it needs; DatabaseUnusable if the database can't be opened.
        """
        known = self._known_versions()
        with self._opened():
            present = self._present_version() if self._exists() else None
        if present is not None and present not in known:
            raise SchemaUnknown(
                f"{self._named} has the schema {present} of a newer Modelry; this program knows {known[0]} and can't "
                "use it: install the release that upgraded it, or a newer one"
            )
        if present == known[0]:
            self._compare(present)
        return present, known[0]

    def upgrade(self) -> tuple[str | None, str]:
        """Upgrades the schema to the version that this program needs. Returns the versions before and after.

        Creates SQLite's file, which no other user can read, and its folder. Raises what `versions` raises, and changes
        nothing then; SchemaUnknown also if an older schema was not what the upgrade needs.
        """
        from alembic import command

        with _upgrading:
            before, known = self.versions()
            with self._opened():
                if file := self._database.backend.file:
                    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    make_private(file)
                    self._make_private()
            with self._opened("upgraded"):
                command.upgrade(self._alembic(), "head")
            if before != known:
                self._compare(known)
            return before, known

    def run_migrations(self, context: Any) -> None:
        """Runs all revisions of Alembic's context in one transaction, one program at a time."""
        with self._database.migrating() as tx:
            tx.begin()  # for SQLAlchemy only: Alembic commits after each revision unless it sees a transaction
            self._database.backend.lock_schema(tx, self.version_table, self._database.longest_write_s)
            context.configure(connection=tx, version_table=self.version_table, transactional_ddl=False)
            context.run_migrations()

    def _compare(self, version: str) -> None:
        """Raises SchemaUnknown if the database lacks something that this program needs.

        The version does not tell: before the first release, a migration is changed in place.
        """
        tables = self._database.tables
        if tables is None:
            return
        with self._opened(), self._database.read() as tx:
            found = differences(tx, tables)
        if found:
            file = self._database.backend.file
            place = f"the folder {file.absolute().parent}" if file else "the database"
            setting = "server.data_folder" if file else f"{self._database.room}.database_url"
            raise SchemaUnknown(
                f"{self._named} has the schema {version}, but not as this program makes it: {told(found)}. Another "
                "state of Modelry made it under the same version, and no upgrade leads from one to the other: move "
                f"{place} away, or name a new one in {setting}"
            )

    def _make_private(self) -> None:
        """Makes SQLite's files readable for this user only. SQLite gives new ones the mode of the database."""
        if file := self._database.backend.file:
            for each in (file, *(file.with_name(f"{file.name}-{ending}") for ending in _BESIDE)):
                if each.exists():
                    make_private(each)

    @contextmanager
    def _opened(self, done: str = "opened") -> Iterator[None]:
        """Turns the error of a database that can't be opened, or else `done`, into one that names it and says why."""
        try:
            yield
        except (DatabaseUnavailable, sa.exc.SQLAlchemyError, self._database.backend.driver_error, OSError) as error:
            cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
            said = str(getattr(cause, "orig", None) or cause or error)
            if isinstance(error, OSError) and error.filename:
                said = f"{error.filename}: {error.strerror}"
            if isinstance(cause, DeadlinePassed):  # only the wait for the lock of an upgrade has an end
                said = "another program holds a lock on it; end that program, or try again later"
            raise DatabaseUnusable(f"{self._named} can't be {done}: {' '.join(said.split())}") from error

    def _exists(self) -> bool:
        """False if the file is missing: opening it would create it."""
        file = self._database.backend.file
        try:
            return file is None or bool(file.stat())
        except FileNotFoundError:
            return False

    def _present_version(self) -> str | None:
        table = sa.table(self.version_table, sa.column("version_num", sa.String))
        with self._database.read() as tx:
            if not sa.inspect(tx).has_table(self.version_table):
                return None
            return tx.execute(sa.select(table.c.version_num)).scalar_one_or_none()

    def _known_versions(self) -> list[str]:
        """The versions that this program knows, the newest first."""
        from alembic.script import ScriptDirectory

        found = [each.revision for each in ScriptDirectory(str(self._database.migrations)).walk_revisions()]
        if not found:
            raise SchemaUnknown(f"{self._database.migrations} contains no migrations")
        return found

    def _alembic(self) -> Any:
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self._database.migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["schema"] = self
        return config


def migrate() -> None:
    """What the `env.py` of each service's migrations runs."""
    from alembic import context

    schema: Schema = context.config.attributes["schema"]
    schema.run_migrations(context)
