"""The databases of services: where they are, what is wrong with that, and whose process uses them."""

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from modelry_server.config import Config
from modelry_server.kernel import ownership
from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.sql.database import LONGEST_WRITE_S, Database, DatabaseUnusable, file_of, read_url
from modelry_server.kernel.telemetry import Log

_LOCKED = "authentication-required"
_HERE = Path(__file__).parent
_log = Log("databases")


def database(config: Config, room: str, **options: Any) -> Database:
    """The database of a service; by default a SQLite file of its own in the data folder."""
    section = getattr(config, room)
    return Database(
        _url(config, room),
        room=room,
        migrations=migrations(room),
        tables=importlib.import_module(f"modelry_server.{room}.store.tables").metadata,
        synchronous=section.sqlite_synchronous,
        prepared=section.postgres_prepared,
        longest_write_s=max(LONGEST_WRITE_S, config.server.call_limit),
        **options,
    )


def migrations(room: str) -> Path:
    """The folder with the migrations of a service."""
    return _HERE / room / "migrations"


def database_mistakes(rooms: Sequence[str], config: Config) -> Iterator[str]:
    """What is wrong with what the settings say of databases and of the data folder, a line for each."""
    if config.server.drop_authentication and config.server.authentication == "required":
        yield (
            "server.drop_authentication = True: server.authentication = 'required' keeps authentication; take one of "
            "them out (drop_authentication is for a single start with authentication = 'none')"
        )
    folders = {config.server.folder(): "server.data_folder"}
    for room in rooms:
        try:
            url = read_url(room, _url(config, room))
        except ConfigurationInvalid as wrong:
            yield from wrong.mistakes
            continue
        if file := file_of(url):
            folders.setdefault(file.parent, f"{room}.database_url")
    judged = {folder.absolute(): key for folder, key in reversed(folders.items())}
    for folder, key in judged.items():
        if problem := ownership.folder_problem(folder):
            yield f"{key} = {str(folder)!r}: {problem}"


def require_same_locks(databases: Mapping[str, Database], config: Config) -> None:
    """Notes in each database that callers have to say who they are, if the settings say so.

    From then on it is opened without that only if the settings say so in so many words: else one forgotten setting
    would let everybody in. Raises ConfigurationInvalid.
    """
    server = config.server
    opened = []
    for room, db in databases.items():
        if server.authentication == "required":
            if not db.has_mark(_LOCKED):
                db.set_mark(_LOCKED, on=True)
        elif db.has_mark(_LOCKED):
            if server.drop_authentication:
                db.set_mark(_LOCKED, on=False)
                right = (
                    "before authentication is required again, review all role bindings, service accounts and tokens: "
                    "what anybody makes from now on stays"
                )
                _log.warning("authentication.dropped", service=room, right=right)
            else:
                opened.append(room)
    if opened:
        raise ConfigurationInvalid(
            [
                "server.authentication = 'none': callers of this installation have to say who they are, as the database"
                f" of {opened[0]} says; start it with server.authentication = 'required' (`modelry up --auth`), or set "
                "server.drop_authentication, and everybody who reaches it may do everything from then on"
            ]
        )


def take_databases(rooms: Sequence[str], config: Config) -> dict[str, int]:
    """Takes the SQLite files of services for this process, each for its service, until the descriptors are closed.

    Gives the descriptor of each service. A file that is not there yet is left out. Raises DatabaseUnusable if another
    process has one.
    """
    taken: dict[str, int] = {}
    for room in rooms:
        file = file_of(read_url(room, _url(config, room)))
        if file is None or not file.exists():
            continue
        of_room = file.with_name(f"{file.name}.{room}")  # services may share a file
        try:
            taken[room] = ownership.lock(of_room)
        except BlockingIOError:
            holder = ownership.holder_of(of_room)
            for each in taken.values():
                os.close(each)
            raise DatabaseUnusable(
                f"another server uses the database of {room} in the folder {file.parent}: "
                f"process {holder or 'unknown'}; stop it first, or choose another folder: server.data_folder "
                "(`modelry up --data-folder`)"
            ) from None
        except OSError:
            continue  # Opening the database says what is wrong with the folder. Some file systems have no locks.
    return taken


def _url(config: Config, room: str) -> str | sa.URL:
    """The URL that is set, or that of a file in the data folder, whose path may have any character."""
    given: str = getattr(config, room).database_url.reveal()
    return given or sa.URL.create("sqlite", database=str(config.server.folder().absolute() / f"{room}.db"))
