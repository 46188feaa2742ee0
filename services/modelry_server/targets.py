"""What a process runs: the table of targets. `all` is every room in one process; no room can tell."""

import importlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelry_server.config import Config
from modelry_server.kernel.access import Access, Judge
from modelry_server.kernel.config import ConfigurationInvalid, place
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.sql.database import Database, read_url
from modelry_server.kernel.transport import sockets
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Limits, Room, Server
from modelry_server.permissions import PERMISSIONS, may

ROOMS = ("access", "tracking", "artifacts", "registry")
"""The rooms, from the one that asks nobody to the one that asks most."""

TARGETS: dict[str, tuple[str, ...]] = {"all": ROOMS, **{name: (name,) for name in ROOMS}}
"""Target to the rooms that it runs. A process imports the rooms that it runs and no other."""

HERE = Path(__file__).parent


def database(config: Config, room: str, **options: Any) -> Database:
    """The database of a room; the default is a SQLite file of its own in the data folder."""
    section = getattr(config, room)
    return Database(
        _database_url(config, room),
        room=room,
        migrations=HERE / room / "migrations",
        synchronous=section.sqlite_synchronous,
        prepared=section.postgres_prepared,
        **options,
    )


def listening(target: str, config: Config) -> tuple[str, str]:
    """Where a target listens: the key that says so, and the address."""
    if config.server.listen or target == "all":
        return "server.listen", config.server.listen or "127.0.0.1:5100"
    return f"{target}.address", getattr(config, target).address


def database_mistakes(rooms: Sequence[str], config: Config) -> Iterator[str]:
    """What is wrong with the URLs of the rooms' databases, a line for each."""
    for room in rooms:
        try:
            read_url(room, _database_url(config, room))
        except ConfigurationInvalid as wrong:
            yield from wrong.mistakes


def mistakes(target: str, config: Config) -> Iterator[str]:
    """What is wrong with the settings for a target, beyond what each section knows: a line for each."""
    key, listen = listening(target, config)
    if not _is_of_this_machine(listen):
        unless = "" if key == "server.listen" else ", or set server.listen"
        yield (
            f"{key} = {listen!r}: other machines could reach it, and no authentication is configured; "
            f"use 127.0.0.1:<port>{unless}"
        )
    yield from database_mistakes(TARGETS[target], config)


def build(target: str, config: Config, *, judge: Judge = may) -> Server:
    """A server for a target, not yet started. `judge` says who may do what.

    Raises ConfigurationInvalid; SchemaUnknown if a database is not ready for this program.
    """
    if wrong := [*mistakes(target, config)]:
        raise ConfigurationInvalid(wrong)
    names = TARGETS[target]
    _, listen = listening(target, config)
    databases = {name: database(config, name) for name in names}
    for each in databases.values():
        each.check()
    folder = sockets.make_folder() if len(names) > 1 else None
    own = {name: f"unix:{folder}/{name}.sock" for name in names} if folder else {}
    rooms = [_room(name, config, databases[name], addresses=own, judge=judge) for name in names]
    server = config.server
    limits = Limits(workers=server.workers, streams=server.streams, drain_s=server.drain)
    return Server(rooms, address=listen, sockets=own, permissions=PERMISSIONS, limits=limits)


def _room(name: str, config: Config, db: Database, *, addresses: Mapping[str, str], judge: Judge) -> Room:
    module = importlib.import_module(f"modelry_server.{name}.module")
    neighbours = {
        each: Neighbour(each, addresses.get(each) or getattr(config, each).address) for each in module.NEIGHBOURS
    }
    room: Room = module.build(
        getattr(config, name), db, folder=config.server.folder(), neighbours=neighbours, access=Access(judge)
    )
    chores = [Job(f"{name}.db.{chore}", interval, run) for chore, (interval, run) in db.chores().items()]

    def close() -> None:
        room.close()
        for neighbour in neighbours.values():
            neighbour.close()

    return replace(room, jobs=[*room.jobs, *chores], close=close)


def _database_url(config: Config, room: str) -> str:
    return getattr(config, room).database_url or f"sqlite:///{config.server.folder() / room}.db"


def _is_of_this_machine(listen: str) -> bool:
    found = place(listen)
    if found is None or found[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(found[0]).is_loopback
    except ValueError:
        return False
