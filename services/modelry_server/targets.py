"""Maps each target to its services. `all` is every service in one process; services behave alike in both."""

import importlib
import ipaddress
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from modelry_server.config import Config
from modelry_server.kernel import ownership
from modelry_server.kernel.access import Access, Judge
from modelry_server.kernel.config import ConfigurationInvalid, place
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.sql.database import LONGEST_WRITE_S, Database, DatabaseUnusable, file_of, read_url
from modelry_server.kernel.transport import keys, sockets
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Limits, Room, Server
from modelry_server.permissions import PERMISSIONS, may

ROOMS = ("access", "tracking", "artifacts", "registry")
"""The services, from the one that calls no other to the one that calls most."""

TARGETS: dict[str, tuple[str, ...]] = {"all": ROOMS, **{name: (name,) for name in ROOMS}}
"""Target to the services that it runs. A process imports these and no others."""

HERE = Path(__file__).parent


def database(config: Config, room: str, **options: Any) -> Database:
    """The database of a service; by default a SQLite file of its own in the data folder."""
    section = getattr(config, room)
    return Database(
        _database_url(config, room),
        room=room,
        migrations=HERE / room / "migrations",
        synchronous=section.sqlite_synchronous,
        prepared=section.postgres_prepared,
        longest_write_s=max(LONGEST_WRITE_S, config.server.call_limit),
        **options,
    )


def listening(target: str, config: Config) -> tuple[str, str]:
    """Where a target listens for clients: the key of the setting, and the address."""
    if config.server.listen or target == "all":
        return "server.listen", config.server.listen or "127.0.0.1:5100"
    return f"{target}.address", getattr(config, target).address


def listening_internally(target: str, config: Config) -> tuple[str, str] | None:
    """Where a target listens for other services: the key of the setting, and the address. None for Unix sockets."""
    if target == "all":
        return None
    if config.server.internal_listen:
        return "server.internal_listen", config.server.internal_listen
    return f"{target}.internal_address", internal_address(target, config)


def internal_address(room: str, config: Config) -> str:
    """Where a service that has a process of its own is reached by others: by default a socket in the data folder."""
    given: str = getattr(config, room).internal_address
    return given or sockets.address_of(config.server.folder().absolute() / "internal" / f"{room}.sock")


def database_mistakes(rooms: Sequence[str], config: Config) -> Iterator[str]:
    """What is wrong with the URLs of the databases and with the data folder, a line for each."""
    folders = {config.server.folder(): "server.data_folder"}
    for room in rooms:
        try:
            url = read_url(room, _database_url(config, room))
        except ConfigurationInvalid as wrong:
            yield from wrong.mistakes
            continue
        if file := file_of(url):
            folders.setdefault(file.parent, f"{room}.database_url")
    judged = {folder.absolute(): key for folder, key in reversed(folders.items())}
    for folder, key in judged.items():
        if problem := ownership.folder_problem(folder):
            yield f"{key} = {str(folder)!r}: {problem}"


def mistakes(target: str, config: Config) -> Iterator[str]:
    """What is wrong with the settings for a target, beyond what each section knows: a line for each."""
    server = config.server
    key, listen = listening(target, config)
    if not _is_of_this_machine(listen):
        unless = "" if key == "server.listen" else ", or set server.listen"
        yield (
            f"{key} = {listen!r}: other machines could reach it, and no authentication is configured; "
            f"use 127.0.0.1:<port>{unless}"
        )
    if server.service_key and not keys.is_usable(server.service_key.reveal()):
        yield f"server.service_key = (secret): must have at least {keys.SHORTEST} printable ASCII characters, no spaces"
    found = listening_internally(target, config)
    if found is None and server.internal_listen:
        yield f"server.internal_listen = {server.internal_listen!r}: all services in one process use no internal port"
    if found:
        yield from _internal_mistakes(found, config)
    yield from database_mistakes(TARGETS[target], config)


def take_databases(target: str, config: Config) -> list[int]:
    """Takes the SQLite files of a target for this process, each for its service, until the descriptors are closed.

    A file that is not there yet is left out. Raises DatabaseUnusable if another process has one.
    """
    taken = []
    for room in TARGETS[target]:
        file = file_of(read_url(room, _database_url(config, room)))
        if file is None or not file.exists():
            continue
        of_room = file.with_name(f"{file.name}.{room}")  # services may share a file
        try:
            taken.append(ownership.lock(of_room))
        except BlockingIOError:
            holder = ownership.holder_of(of_room)
            for each in taken:
                os.close(each)
            raise DatabaseUnusable(
                f"another server uses the database of {room} in the folder {file.parent}: "
                f"process {holder or 'unknown'}; stop it first, or choose another folder: server.data_folder "
                "(`modelry up --data-folder`)"
            ) from None
        except OSError:
            continue  # Opening the database says what is wrong with the folder. Some file systems have no locks.
    return taken


def build(target: str, config: Config, *, judge: Judge = may) -> Server:
    """A server for a target, not yet started. `judge` says who may do what.

    Raises ConfigurationInvalid; SchemaUnknown if a database is not ready for this program.
    """
    if wrong := [*mistakes(target, config)]:
        raise ConfigurationInvalid(wrong)
    names, server = TARGETS[target], config.server
    key = server.service_key.reveal()
    databases = {name: database(config, name) for name in names}
    for each in databases.values():
        each.check()
    if found := listening_internally(target, config):
        internal, addresses = {target: found[1]}, {name: internal_address(name, config) for name in ROOMS}
        for folder in {path.parent for each in (found[1], *addresses.values()) if (path := sockets.path_of(each))}:
            sockets.require_private(folder)
        key = key or keys.shared_key(server.folder())
    else:
        folder = sockets.make_folder()
        internal, key = {name: sockets.address_of(folder / f"{name}.sock") for name in names}, key or keys.new_key()
        addresses = internal

    def neighbours(wanted: Sequence[str]) -> dict[str, Neighbour]:
        return {name: Neighbour(name, addresses[name], key=key, call_s=server.call_limit) for name in wanted}

    return Server(
        [_room(name, config, databases[name], neighbours=neighbours, access=Access(judge)) for name in names],
        address=listening(target, config)[1],
        internal=internal,
        key=key,
        permissions=PERMISSIONS,
        limits=Limits(
            workers=server.workers,
            streams=server.streams,
            connections=server.connections,
            drain_s=server.drain,
            idle_s=server.idle_limit,
            call_s=server.call_limit,
            share=2,
        ),
    )


def _internal_mistakes(listening: tuple[str, str], config: Config) -> Iterator[str]:
    """What is wrong with the addresses by which services reach each other."""
    server, found = config.server, dict([listening])
    for name in ROOMS:
        found.setdefault(f"{name}.internal_address", internal_address(name, config))
    for key, address in found.items():
        path = sockets.path_of(address)
        if path is None and not server.service_key:
            yield (
                f"{key} = {address!r}: a port needs server.service_key. If all services run on this machine, leave "
                f"{key} empty: they then use Unix sockets in the data folder, which no other user can reach"
            )
        if path and (length := len(os.fsencode(path))) > sockets.LONGEST:
            reason = f"the path of a socket may have at most {sockets.LONGEST} bytes, and {str(path)!r} has {length}"
            if _is_given(key, config):
                yield f"{key} = {address!r}: {reason}"
            else:
                yield f"server.data_folder = {server.data_folder!r}: {reason}; use a shorter path"
                return


def _is_given(key: str, config: Config) -> bool:
    section, name = key.split(".")
    return bool(getattr(getattr(config, section), name))


def _room(
    name: str,
    config: Config,
    db: Database,
    *,
    neighbours: Callable[[Sequence[str]], dict[str, Neighbour]],
    access: Access,
) -> Room:
    module = importlib.import_module(f"modelry_server.{name}.module")
    own = neighbours(module.NEIGHBOURS)
    room: Room = module.build(getattr(config, name), db, folder=config.server.folder(), neighbours=own, access=access)
    jobs = [Job(f"{name}.db.{job}", interval, run) for job, (interval, run) in db.background_jobs().items()]

    def close() -> None:
        room.close()
        for neighbour in own.values():
            neighbour.close()

    return replace(room, jobs=[*room.jobs, *jobs], interrupt=db.interrupt, close=close, files=room.files + db.files)


def _database_url(config: Config, room: str) -> str | sa.URL:
    """The URL that is set, or that of a file in the data folder, whose path may have any character."""
    given: str = getattr(config, room).database_url.reveal()
    return given or sa.URL.create("sqlite", database=str(config.server.folder().absolute() / f"{room}.db"))


def _is_of_this_machine(listen: str) -> bool:
    found = place(listen)
    if found is None or found[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(found[0]).is_loopback
    except ValueError:
        return False
