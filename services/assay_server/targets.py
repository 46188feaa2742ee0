"""What a process runs: the table of targets. `all` is every room in one process; no room can tell."""

import importlib
import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay_server.config import Config
from assay_server.kernel import sockets
from assay_server.kernel.config import ConfigurationInvalid
from assay_server.kernel.db import Database
from assay_server.kernel.jobs import Job
from assay_server.kernel.server import Limits, Room, Server
from assay_server.permissions import PERMISSIONS, granted

ROOMS = ("access", "tracking", "artifacts", "registry")
"""The rooms, from the one that asks nobody to the one that asks most."""

TARGETS: dict[str, tuple[str, ...]] = {"all": ROOMS, **{name: (name,) for name in ROOMS}}
"""Target to the rooms that it runs. A process imports the rooms that it runs and no other."""

HERE = Path(__file__).parent


def database(config: Config, room: str, **options: Any) -> Database:
    """The database of a room; the default is a SQLite file of its own in the data folder."""
    section = getattr(config, room)
    return Database(
        section.database_url or f"sqlite:///{config.server.folder() / room}.db",
        room=room,
        migrations=HERE / room / "migrations",
        synchronous=section.sqlite_synchronous,
        prepared=section.postgres_prepared,
        **options,
    )


def build(target: str, config: Config) -> Server:
    """A server for a target, not yet started. Raises SchemaUnknown if a database is not ready for this program."""
    names = TARGETS[target]
    listen = config.server.listen or ("127.0.0.1:5100" if target == "all" else getattr(config, target).address)
    _refuse_strangers(listen)
    databases = {name: database(config, name) for name in names}
    for each in databases.values():
        each.check()
    folder = sockets.make_folder() if len(names) > 1 else None
    own = {name: f"unix:{folder}/{name}.sock" for name in names} if folder else {}
    rooms = [_room(name, config, databases[name], own) for name in names]
    server = config.server
    limits = Limits(workers=server.workers, streams=server.streams, drain_s=server.drain)
    return Server(rooms, address=listen, sockets=own, permissions=PERMISSIONS, granted=granted, limits=limits)


def _room(name: str, config: Config, db: Database, own: Mapping[str, str]) -> Room:
    module = importlib.import_module(f"assay_server.{name}.module")
    addresses = {each: own.get(each) or getattr(config, each).address for each in module.NEIGHBOURS}
    room: Room = module.build(getattr(config, name), db, folder=config.server.folder(), addresses=addresses)
    chores = [Job(f"{name}.db.{chore}", interval, run) for chore, (interval, run) in db.chores().items()]
    return replace(room, jobs=[*room.jobs, *chores])


def _refuse_strangers(listen: str) -> None:
    host = listen.rsplit(":", 1)[0].strip("[]")
    if host == "localhost" or listen.startswith("unix:"):
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise ConfigurationInvalid(
        [
            f"server.listen = {listen!r}: other machines could reach it, and no authentication is configured; "
            "use 127.0.0.1:<port>"
        ]
    )
