"""Maps each target to its services. `all` is every service in one process; services behave alike in both."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from modelry_server.addresses import address_mistakes, authorities_file, listening, meeting, tls_files
from modelry_server.config import Config
from modelry_server.databases import database, database_mistakes, require_same_locks
from modelry_server.identities import identified
from modelry_server.kernel.access import Access, Judge, Open
from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Limits, Room, Server
from modelry_server.kernel.transport.tls import ServerTls, client_credentials
from modelry_server.permissions import PERMISSIONS

ROOMS = ("access", "tracking", "artifacts", "registry")
"""The services, from the one that calls no other to the one that calls most."""

TARGETS: dict[str, tuple[str, ...]] = {"all": ROOMS, **{name: (name,) for name in ROOMS}}
"""Target to the services that it runs. A process imports these and no others."""


def mistakes(target: str, config: Config) -> Iterator[str]:
    """What is wrong with the settings for a target, beyond what each section knows: a line for each."""
    yield from address_mistakes(target, config, rooms=ROOMS)
    yield from database_mistakes(TARGETS[target], config)


def build(target: str, config: Config, *, judge: Judge | None = None) -> Server:
    """A server for a target, not yet started. `judge` says who may do what; by default as the settings say.

    Raises ConfigurationInvalid; SchemaUnknown if a database is not ready for this program.
    """
    if wrong := [*mistakes(target, config)]:
        raise ConfigurationInvalid(wrong)
    names, server = TARGETS[target], config.server
    databases = {name: database(config, name) for name in names}
    for each in databases.values():
        each.check()
    require_same_locks(databases, config)
    met = meeting(target, config, rooms=ROOMS)
    files = tls_files(config)
    credentials = client_credentials(authorities_file(config)) if files else None

    def neighbours(wanted: Sequence[str]) -> dict[str, Neighbour]:
        options: Any = {"key": met.key, "knows_callers": server.authentication == "required"}
        options |= {"credentials": credentials, "call_s": server.call_limit}
        return {name: Neighbour(name, met.reached[name], **options) for name in wanted}

    callers = identified(neighbours(["access"])["access"]) if server.authentication == "required" else None
    access = Access(judge or (callers.authority if callers else Open()))
    return Server(
        [_room(name, config, databases[name], neighbours=neighbours, access=access) for name in names],
        address=listening(target, config)[1],
        internal=met.listening,
        key=met.key,
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
        callers=callers,
        tls=ServerTls(files) if files else None,
        mtls_address=server.mtls_listen,
    )


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
