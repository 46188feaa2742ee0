"""Where a target listens, how services reach each other, and what is wrong with the settings for that."""

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelry_server.config import Config
from modelry_server.kernel.config import place
from modelry_server.kernel.transport import keys, sockets


@dataclass(frozen=True, slots=True)
class Meeting:
    """How the services of a process and all others reach each other: addresses by the name of the service."""

    listening: Mapping[str, str]
    """Where the services of this process listen for others."""
    reached: Mapping[str, str]
    """Where every service is reached by this process."""
    key: str
    """By which services recognize each other."""


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


def meeting(target: str, config: Config, *, rooms: Sequence[str]) -> Meeting:
    """How the services of a target and all `rooms` reach each other. Makes the folder of sockets, and the key if none.

    Raises ConfigurationInvalid if other users could open such a folder, or read the key.
    """
    key = config.server.service_key.reveal()
    if found := listening_internally(target, config):
        own, reached = found[1], {name: internal_address(name, config) for name in rooms}
        for folder in {path.parent for each in (own, *reached.values()) if (path := sockets.path_of(each))}:
            sockets.require_private(folder)
        return Meeting({target: own}, reached, key or keys.shared_key(config.server.folder()))
    folder = sockets.make_folder()
    inside = {name: sockets.address_of(folder / f"{name}.sock") for name in rooms}
    return Meeting(inside, inside, key or keys.new_key())


def address_mistakes(target: str, config: Config, *, rooms: Sequence[str]) -> Iterator[str]:
    """What is wrong with where a target listens, where it reaches `rooms`, and the key for that: a line for each."""
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
        reached = {f"{name}.internal_address": internal_address(name, config) for name in rooms}
        yield from _internal_mistakes(dict([found]) | reached, config)
    host, port = (place(listen) or ("127.0.0.1", 0))[0], server.metrics_port
    for where, address in filter(None, ((key, listen), found)):
        if port and place(address) in ((host, port), ("0.0.0.0", port), ("::", port)):
            yield f"server.metrics_port = {port}: the server itself listens there ({where} = {address!r}); use another"


def _internal_mistakes(addresses: Mapping[str, str], config: Config) -> Iterator[str]:
    """What is wrong with the addresses, by the key of each, by which services reach each other."""
    server = config.server
    for key, address in addresses.items():
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


def _is_of_this_machine(listen: str) -> bool:
    found = place(listen)
    if found is None or found[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(found[0]).is_loopback
    except ValueError:
        return False
