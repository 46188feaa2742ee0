"""A schema is what its tables say, is made once however many begin, and stops a program that doesn't know it.

From the first release on, a database file of each release is kept beside this file and upgraded; so far there is none.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql

from modelry_server.databases import migrations
from modelry_server.kernel.sql.database import Database, DatabaseUnusable, SchemaUnknown
from modelry_server.targets import ROOMS
from tests.parts.deployment import REPOSITORY
from tests.parts.eventually import at_once
from tests.server.kernel.sql.test_deadlines import looking_after

SOURCES = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))
POSTGRES: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")},
    "PYTHONPATH": SOURCES,
}


def database(room: str, url: str) -> Database:
    return Database(url, room=room, migrations=migrations(room), tables=tables_of(room))


def tables_of(room: str) -> sa.MetaData:
    tables = importlib.import_module(f"modelry_server.{room}.store.tables")
    [metadata] = [each for each in vars(tables).values() if isinstance(each, sa.MetaData)]
    return metadata


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """The database, seen from outside."""
    found = sa.create_engine(database_url)
    yield found
    found.dispose()


@pytest.mark.parametrize("room", ROOMS)
def test_the_migrations_make_exactly_the_tables_of_the_room(room: str, database_url: str, engine: sa.Engine) -> None:
    db = database(room, database_url)
    metadata = tables_of(room)

    db.upgrade()
    db.close()

    with engine.connect() as connection:
        options: dict[str, Any] = {"version_table": db.version_table, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        inspector = sa.inspect(connection)
        assert set(inspector.get_table_names()) == {*metadata.tables, db.version_table}
        for name, table in metadata.tables.items():
            found = {column["name"]: column for column in inspector.get_columns(name)}
            assert list(found) == [column.name for column in table.columns]
            assert {key: each["nullable"] for key, each in found.items()} == {c.name: c.nullable for c in table.columns}
            assert inspector.get_pk_constraint(name)["constrained_columns"] == [c.name for c in table.primary_key]
            assert {
                index["name"]: index["column_names"] for index in inspector.get_indexes(name) if not _doubled(index)
            } == {index.name: [column.name for column in index.columns] for index in table.indexes}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("room", ROOMS)
def test_texts_by_which_rows_are_found_are_compared_by_their_bytes(
    room: str, database_url: str, engine: sa.Engine
) -> None:
    db = database(room, database_url)
    db.upgrade()
    db.close()

    with engine.connect() as connection:
        columns = connection.execute(
            sa.text("SELECT table_name, column_name, collation_name FROM information_schema.columns")
        )
        made = {(table, column) for table, column, collation in columns if collation == "C"}

    tables = tables_of(room).tables.values()
    texts: dict[tuple[str, str], Any] = {
        (t.name, c.name): c.type for t in tables for c in t.columns if isinstance(c.type, sa.String)
    }
    parts: list[tuple[str, Any]] = [(t.name, part) for t in tables for part in (*t.constraints, *t.indexes)]
    keys = {(name, column.name) for name, part in parts for column in part.columns}
    bytewise = {name for name, text in texts.items() if text.dialect_impl(POSTGRES).collation == "C"}
    assert keys & texts.keys() <= bytewise
    assert bytewise == made & texts.keys()


@pytest.mark.parametrize("room", ROOMS)
def test_tables_without_row_ids_are_made_so(room: str, tmp_path: Path) -> None:
    db = database(room, f"sqlite:///{tmp_path / 'room.db'}")
    db.upgrade()

    with db.read() as tx:
        rows = tx.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        made = {row.name: row.sql for row in rows}
    db.close()

    wanted = {
        name for name, table in tables_of(room).tables.items() if table.dialect_options["sqlite"]["with_rowid"] is False
    }
    assert {name for name, sql in made.items() if "WITHOUT ROWID" in sql} == wanted


def test_all_rooms_fit_into_one_database(database_url: str) -> None:
    rooms = [database(room, database_url) for room in ROOMS]

    for db in rooms:
        db.upgrade()

    for db in rooms:
        db.check()
        db.close()


def test_o05_programs_that_upgrade_at_once_make_the_schema_once(database_url: str) -> None:
    db = database("tracking", database_url)
    program = (
        "import sys; from pathlib import Path; from modelry_server.kernel.sql.database import Database\n"
        "db = Database(sys.argv[1], room='tracking', migrations=Path(sys.argv[2]))\n"
        "print('ready', flush=True); sys.stdin.readline(); db.upgrade(); db.check(); db.close()"
    )
    command = [sys.executable, "-c", program, database_url, str(db.migrations)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with ExitStack() as stack:
        programs = [
            stack.enter_context(subprocess.Popen(command, **pipes, text=True, env=ENVIRONMENT)) for _ in range(3)
        ]
        for each in programs:
            assert each.stdout
            assert each.stdout.readline() == "ready\n"

        ended = [each.communicate("go\n", timeout=60) for each in programs]

    assert [(each.returncode, error) for each, (_, error) in zip(programs, ended, strict=True)] == [(0, "")] * 3
    db.check()
    db.close()


def test_threads_that_upgrade_at_once_make_the_schema_once(database_url: str) -> None:
    programs = [database(room, database_url) for room in ROOMS for _ in range(2)]

    answers = at_once([db.upgrade for db in programs])

    assert [type(answer) for answer in answers] == [tuple] * len(programs), answers
    for db in programs:
        db.check()
        db.close()


@pytest.mark.parametrize("room", ROOMS)
def test_upgrading_again_changes_nothing(room: str, database_url: str) -> None:
    db = database(room, database_url)
    before, made = db.upgrade()

    again = db.upgrade()

    assert (before, again) == (None, (made, made))
    db.close()


@pytest.mark.parametrize("room", ROOMS)
def test_a_database_without_a_schema_is_refused_with_the_command_to_run(room: str, database_url: str) -> None:
    db = database(room, database_url)

    with pytest.raises(SchemaUnknown) as caught:
        db.check()

    assert room in str(caught.value)
    assert str(caught.value).endswith("run, with the same options and MODELRY_ variables: modelry db upgrade")
    db.close()


@pytest.mark.parametrize("room", ROOMS)
def test_o05_a_schema_of_another_program_is_refused_and_both_are_named(room: str, database_url: str) -> None:
    db = database(room, database_url)
    _, known = db.upgrade()
    with db.write() as tx:
        tx.execute(sa.text(f"UPDATE {db.version_table} SET version_num = '9999'"))

    for ask in (db.check, db.versions, db.upgrade):
        with pytest.raises(SchemaUnknown, match=f"9999 of a newer Modelry; this program knows {known}"):
            ask()
    db.close()


CHANGED = {
    "ALTER TABLE metric_summaries DROP COLUMN min_bits": "there is no column metric_summaries.min_bits",
    "DROP TABLE params": "there is no table params",
    "ALTER TABLE runs ADD COLUMN color VARCHAR NOT NULL DEFAULT 'red'": "",
    "ALTER TABLE runs ADD COLUMN color VARCHAR": "",
    "CREATE TABLE notes (id INTEGER NOT NULL)": "",
    "DROP INDEX runs_by_start": "",
}
"""What another state of the first migration may have made otherwise, and how a difference that counts is told."""


@pytest.mark.parametrize("statement", CHANGED)
def test_a_schema_of_the_same_version_that_lacks_something_is_refused(statement: str, database_url: str) -> None:
    db = database("tracking", database_url)
    _, known = db.upgrade()
    with db.write() as tx:
        tx.execute(sa.text(statement))

    for ask in (db.check, db.versions, db.upgrade):
        if not CHANGED[statement]:
            ask()
            continue
        with pytest.raises(SchemaUnknown) as caught:
            ask()
        assert CHANGED[statement] in str(caught.value)
        assert f"has the schema {known}, but not as this program makes it" in str(caught.value)
        assert "the database of tracking" in str(caught.value)
        assert "under the same version" in str(caught.value)
    db.close()


ALTERED = {
    "ADD COLUMN color VARCHAR NOT NULL": "experiments.color can't be empty, and this program does not know it",
    "DROP CONSTRAINT experiments_by_name": "experiments has no key of name, workspace",
    "ALTER COLUMN delete_time SET NOT NULL": "the column experiments.delete_time can't be empty",
    "ALTER COLUMN revision TYPE INTEGER": "the column experiments.revision is INTEGER and not BIGINT",
    "DROP CONSTRAINT experiments_pkey": "experiments has no key of experiment_id",
}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("change", ALTERED)
def test_what_would_make_statements_fail_is_named(change: str, database_url: str, engine: sa.Engine) -> None:
    db = database("tracking", database_url)
    db.upgrade()
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM experiments"))
        connection.execute(sa.text(f"ALTER TABLE experiments {change}"))

    with pytest.raises(SchemaUnknown, match=ALTERED[change]):
        db.check()
    db.close()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_tables_that_are_not_on_the_search_path_do_not_count(database_url: str, engine: sa.Engine) -> None:
    db = database("access", database_url)
    db.upgrade()
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA elsewhere"))
        connection.execute(sa.text("ALTER TABLE workspaces SET SCHEMA elsewhere"))

    with pytest.raises(SchemaUnknown, match="there is no table workspaces"):
        db.check()
    db.close()


def test_the_folder_to_move_is_named(tmp_path: Path) -> None:
    db = database("tracking", f"sqlite:///{tmp_path / 'data' / 'tracking.db'}")
    db.upgrade()
    with db.write() as tx:
        tx.execute(sa.text("DROP TABLE params"))

    with pytest.raises(SchemaUnknown) as caught:
        db.check()

    assert str(caught.value).endswith(
        f"move the folder {tmp_path / 'data'} away, or name a new one in server.data_folder"
    )
    db.close()


def test_a_file_that_is_missing_is_made_by_an_upgrade_only(tmp_path: Path) -> None:
    db = database("access", f"sqlite:///{tmp_path / 'new' / 'access.db'}")

    before, known = db.versions()
    with pytest.raises(SchemaUnknown):
        db.check()
    made = [*tmp_path.iterdir()]
    db.upgrade()

    assert (before, made) == (None, [])
    assert db.versions() == (known, known)
    db.close()


def test_a_server_on_an_empty_database_does_not_start_and_says_what_to_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelry_server", "--target=tracking", f"--server.data-folder={tmp_path}"]

    ended = subprocess.run(
        [*command, "--server.listen=127.0.0.1:0"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "tracking" in ended.stderr
    assert ended.stderr.endswith(": modelry db upgrade --target tracking\n")
    assert "Traceback" not in ended.stderr


def _migrations(folder: Path, *lines: str) -> Path:
    """A folder with one migration that does this."""
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text("from modelry_server.kernel.sql.schema import migrate\n\nmigrate()\n")
    body = "".join(f"    {line}\n" for line in lines)
    (folder / "versions" / "0001_one.py").write_text(
        "import threading\n\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = '0001'\ndown_revision = None"
        f"\n\n\ndef upgrade():\n{body}"
    )
    return folder


def test_a_migration_may_take_longer_than_a_write(database_url: str, tmp_path: Path) -> None:
    folder = _migrations(
        tmp_path / "migrations",
        "op.create_table('one', sa.Column('id', sa.Integer))",
        "threading.Event().wait(0.6)",
    )
    db = Database(database_url, room="one", migrations=folder, longest_write_s=0.3)

    with looking_after(db):
        assert db.upgrade() == (None, "0001")
    db.close()


def test_a_migration_waits_for_a_lock_for_a_limited_time_and_says_so(
    database_url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    folder = _migrations(tmp_path / "migrations", "op.drop_table('one')")
    with engine.begin() as tx:
        tx.execute(sa.text("CREATE TABLE one (id INTEGER)"))
    db = Database(database_url, room="one", migrations=folder, longest_write_s=0.3)
    assert db.versions() == (None, "0001")

    with engine.begin() as other:
        other.execute(sa.text("INSERT INTO one VALUES (1)"))
        with pytest.raises(DatabaseUnusable, match=r"can't be upgraded: (another program holds a|.* due to) lock"):
            db.upgrade()

    assert db.upgrade() == (None, "0001")
    db.close()


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    folder = _migrations(
        tmp_path / "migrations",
        "op.create_table('half', sa.Column('id', sa.Integer))",
        "raise RuntimeError('no more')",
    )
    db = Database(database_url, room="half", migrations=folder)

    with pytest.raises(RuntimeError, match="no more"):
        db.upgrade()

    with db.read() as tx:
        assert sa.inspect(tx).get_table_names() == []
    db.close()


def _doubled(index: Any) -> bool:
    """Whether an index is there because of a constraint, which is compared as one."""
    return "duplicates_constraint" in index or str(index["name"]).startswith("sqlite_autoindex")
