"""Where a target listens, how services reach each other, and what is wrong with the settings for that."""

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelry_server.config import Config
from modelry_server.kernel.config import place
from modelry_server.kernel.transport import keys, sockets, tls
from modelry_server.kernel.transport.config import ServerConfig

_SETTING = {"certificate": "tls_certificate_file", "key": "tls_key_file", "client_authorities": "client_ca_file"}
"""The settings of the files of a certificate."""


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


def listening_everywhere(target: str, config: Config) -> Iterator[tuple[str, str]]:
    """Every address that a target takes, but not the sockets of services in one process: keys and addresses."""
    yield listening(target, config)
    if found := listening_internally(target, config):
        yield found
    if config.server.mtls_listen:
        yield "server.mtls_listen", config.server.mtls_listen


def tls_files(config: Config) -> tls.Files | None:
    """The files of this process's certificate. None: its ports have no TLS."""
    server = config.server
    if not server.tls_certificate_file:
        return None
    clients = _path(server.client_ca_file) if server.client_ca_file else None
    return tls.Files(_path(server.tls_certificate_file), _path(server.tls_key_file), clients)


def authorities_file(config: Config) -> Path | None:
    """The authorities of other services' certificates. None: those that the system trusts."""
    return _path(config.server.ca_file) if config.server.ca_file else None


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
    unless = "" if key == "server.listen" else ", or set server.listen"
    yield from _reach_mistakes(key, listen, server, unless)
    if server.mtls_listen:
        yield from _reach_mistakes("server.mtls_listen", server.mtls_listen, server)
    yield from _tls_mistakes(config)
    if server.service_key and not keys.is_usable(server.service_key.reveal()):
        yield f"server.service_key = (secret): must have at least {keys.SHORTEST} printable ASCII characters, no spaces"
    found = listening_internally(target, config)
    if found is None and server.internal_listen:
        yield f"server.internal_listen = {server.internal_listen!r}: all services in one process use no internal port"
    if found:
        reached = {f"{name}.internal_address": internal_address(name, config) for name in rooms}
        yield from _internal_mistakes(dict([found]) | reached, config)
    host, port = (place(listen) or ("127.0.0.1", 0))[0], server.metrics_port
    for where, address in listening_everywhere(target, config):
        if port and place(address) in ((host, port), ("0.0.0.0", port), ("::", port)):
            yield f"server.metrics_port = {port}: the server itself listens there ({where} = {address!r}); use another"


def _reach_mistakes(key: str, address: str, server: ServerConfig, unless: str = "") -> Iterator[str]:
    """What is missing if other machines could reach an address of clients: authentication, and TLS."""
    if _is_of_this_machine(address):
        return
    if server.authentication == "none":
        yield (
            f"{key} = {address!r}: other machines could reach it, and no authentication is configured; "
            f"use 127.0.0.1:<port>{unless}, or set server.authentication = 'required'"
        )
    yield from _plain_mistakes(key, address, server)


def _plain_mistakes(key: str, address: str, server: ServerConfig) -> Iterator[str]:
    if not (_is_of_this_machine(address) or server.tls_certificate_file or server.encrypted_in_front):
        yield (
            f"{key} = {address!r}: other machines could reach it, and connections would not be encrypted; set "
            "server.tls_certificate_file and server.tls_key_file, or, if something in front of the server encrypts all "
            "connections, server.encrypted_in_front = true"
        )


def _tls_mistakes(config: Config) -> Iterator[str]:
    """What is wrong with the files of certificates, and with the settings that need each other."""
    server = config.server
    certificate, key = server.tls_certificate_file, server.tls_key_file
    if bool(certificate) != bool(key):
        given, lacks = ("certificate", "key") if certificate else ("key", "certificate")
        yield f"server.tls_{given}_file = {certificate or key!r}: needs server.tls_{lacks}_file, too"
    if certificate and server.encrypted_in_front:
        yield (
            "server.encrypted_in_front = True: with server.tls_certificate_file the server encrypts by itself; leave "
            "one of them empty"
        )
    if server.mtls_listen:
        if place(server.mtls_listen) is None:
            yield f"server.mtls_listen = {server.mtls_listen!r}: must be a port; at a socket nobody shows a certificate"
        lacking = [f"server.{name}" for name in _SETTING.values() if not getattr(server, name)]
        if lacking:
            yield f"server.mtls_listen = {server.mtls_listen!r}: needs {' and '.join(lacking)}, too"
    elif server.client_ca_file:
        yield f"server.client_ca_file = {server.client_ca_file!r}: is for server.mtls_listen, which is empty"
    files = tls_files(config)
    if files and key:
        try:
            tls.require_usable(files)
        except tls.FileUnusable as problem:
            yield f"server.{_SETTING[problem.role]} = {str(problem.file)!r}: {problem.why}"
    if authorities := authorities_file(config):
        try:
            tls.authorities_in(authorities)
        except tls.FileUnusable as problem:
            yield f"server.ca_file = {str(problem.file)!r}: {problem.why}"


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
        elif path is None:
            yield from _plain_mistakes(key, address, server)
        if path and (length := len(os.fsencode(path))) > sockets.LONGEST:
            reason = f"the path of a socket may have at most {sockets.LONGEST} bytes, and {str(path)!r} has {length}"
            if _is_given(key, config):
                yield f"{key} = {address!r}: {reason}"
            else:
                yield f"server.data_folder = {server.data_folder!r}: {reason}; use a shorter path"
                return


def _path(text: str) -> Path:
    return Path(text).expanduser()


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
