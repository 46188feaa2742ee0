"""The platform as its users run it: real processes, all services in one or each in its own."""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import grpc

from modelry_server.addresses import internal_address
from modelry_server.config import Config
from modelry_server.databases import database
from modelry_server.kernel.config import load
from modelry_server.targets import ROOMS
from tests.parts import free_port
from tests.parts.certificates import Authority
from tests.parts.eventually import eventually
from tests.parts.vouched import vouched

REPOSITORY = Path(__file__).parents[2]
START_S = 30.0
_Stub = TypeVar("_Stub")


class Deployment:
    """The platform at work.

    `addresses` says where each service answers clients; in `all` that is the same for each. What only services may call
    is at the internal listeners: `stub` finds it and signs with `service_key`.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        database_urls: Mapping[str, str],
        settings: Mapping[str, str],
        rooms: Sequence[str] = ROOMS,
        open_files: tuple[int, int] | None = None,
        authority: Authority | None = None,
        file: Path | None = None,
    ) -> None:
        self.name = name
        self._file = file
        self.authority = authority
        self._open_files = open_files
        self.rooms = tuple(rooms)
        self.targets = ("all",) if name == "all" else self.rooms
        self.folder = folder
        places = [f"127.0.0.1:{free_port()}" for _ in ROOMS]
        self.addresses = dict(zip(ROOMS, places, strict=True))
        if name == "all":
            self.addresses = dict.fromkeys(ROOMS, self.addresses["access"])
        self.flags = {"server.data-folder": str(folder), "server.drain": "2s", **settings}
        self.flags |= {f"{room}.database-url": url for room, url in database_urls.items()}
        if authority:
            self.certificate = authority.issue("server")
            self.flags |= {
                "server.tls-certificate-file": str(self.certificate.certificate),
                "server.tls-key-file": str(self.certificate.key),
                "server.ca-file": str(authority.file),
            }
            if name == "split":
                self.flags |= {f"{room}.internal-address": f"localhost:{free_port()}" for room in ROOMS}
                self.flags |= {"server.service-key": "for-tests-" + secrets.token_hex(16)}
        if name == "split":
            self.flags |= {f"{room}.address": address for room, address in self.addresses.items()}
        else:
            self.flags |= {"server.service-key": "for-tests-" + secrets.token_hex(16)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._begun = 0
        """Where the log of the last start begins, of the process of all services."""
        self._channels: dict[str, grpc.Channel] = {}

    @property
    def address(self) -> str:
        """Where tracking answers, as a client is told."""
        return self.addresses["tracking"]

    def environment(self) -> dict[str, str]:
        """What a client's process needs to find every room."""
        scheme = "grpcs://" if self.authority else ""
        found = {f"MODELRY_{room.upper()}_URI": scheme + address for room, address in self.addresses.items()}
        return found | ({"MODELRY_CA_FILE": str(self.authority.file)} if self.authority else {})

    def upgrade(self) -> None:
        """Brings all databases to the schema of this program."""
        config = load(Config, environment={}, flags=self.flags)
        for room in self.rooms:
            db = database(config, room)
            db.upgrade()
            db.close()

    def start(self, target: str | None = None) -> None:
        """Starts one target, or all that are not running, and waits until each answers."""
        wanted = [each for each in self.targets if target in (None, each) and each not in self._processes]
        for each in wanted:
            flags = {**self.flags, "server.listen": self.addresses["access" if each == "all" else each]}
            command = [sys.executable, "-m", "modelry_server", f"--target={each}"]
            if self._file:
                write(self._file, flags)
                command.append(f"--config={self._file}")
            else:
                command += [f"--{key}={value}" for key, value in flags.items()]
            with (self.folder / f"{each}.log").open("ab") as log:
                self._begun = len(self.log(each)) if each == "all" and (self.folder / "all.log").exists() else 0
                self._processes[each] = subprocess.Popen(
                    command, stdout=log, stderr=log, env=_environment(), preexec_fn=self._limit_files
                )
        for each in wanted:
            self._await(each)

    def _limit_files(self) -> None:
        if self._open_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._open_files)

    def kill(self, target: str | None = None) -> None:
        """Ends one target, or all, at once, as a crash does (SIGKILL)."""
        self._end(target, signal.SIGKILL)

    def stop(self, target: str | None = None) -> None:
        """Asks one target, or all, to drain and end (SIGTERM)."""
        self._end(target, signal.SIGTERM)

    def target_of(self, room: str) -> str:
        """The target that runs a service."""
        return "all" if self.name == "all" else room

    def process(self, target: str) -> subprocess.Popen[bytes]:
        """The process of a target."""
        return self._processes[target]

    @property
    def knows_callers(self) -> bool:
        """Whether callers have to say who they are."""
        return self.flags.get("server.authentication") == "required"

    @property
    def service_key(self) -> str:
        """The key by which the services know each other."""
        given = self.flags.get("server.service-key")
        return given or (self.folder / "service.key").read_text()

    def internal_address(self, room: str) -> str:
        """Where a service answers other services."""
        if self.name == "split":
            return internal_address(room, load(Config, environment={}, flags=self.flags))
        # The last start may not have been logged yet.
        started = eventually(
            lambda: [line for line in self.log("all")[self._begun :].splitlines() if '"server.started"' in line]
        )
        address: str = json.loads(started[-1])["internal"][room]
        return address

    def channel(self, room: str) -> grpc.Channel:
        """A channel to where a service answers clients, kept for all tests."""
        return self._channel(self.addresses[room])

    def internal_channel(self, room: str) -> grpc.Channel:
        """A channel to where a service answers other services, kept for all tests. It says nothing of a service."""
        return self._channel(self.internal_address(room))

    def stub(self, kind: type[_Stub]) -> _Stub:
        """A stub of a service, by its class; of an internal one as a service."""
        _, side, room, *_ = kind.__module__.split(".")
        if side == "api":
            return kind(self.channel(room))  # type: ignore[call-arg]
        vouching = grpc.intercept_channel(
            self.internal_channel(room), _Vouching(self.service_key, room, self.knows_callers)
        )
        return kind(vouching)  # type: ignore[call-arg]

    def _channel(self, address: str) -> grpc.Channel:
        if address not in self._channels:
            options = [
                ("grpc.max_reconnect_backoff_ms", 200),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.http2.bdp_probe", 0),  # else a slow machine's channel may take in a whole file unread
            ]
            if self.authority and not address.startswith("unix:"):
                trusted = grpc.ssl_channel_credentials(self.authority.file.read_bytes())
                self._channels[address] = grpc.secure_channel(address, trusted, options=options)
            else:
                self._channels[address] = grpc.insecure_channel(address, options=options)
        return self._channels[address]

    def log(self, target: str) -> str:
        """What a target has printed."""
        return (self.folder / f"{target}.log").read_text(errors="replace")

    def close(self) -> None:
        """Ends everything."""
        for channel in self._channels.values():
            channel.close()
        self.stop()

    def _end(self, target: str | None, number: signal.Signals) -> None:
        ending = [each for each in list(self._processes) if target in (None, each)]
        for each in ending:
            self._processes[each].send_signal(number)
        for each in ending:
            process = self._processes.pop(each)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _await(self, target: str) -> None:
        host, port = self.addresses["access" if target == "all" else target].rsplit(":", 1)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._processes[target].poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            with suppress(subprocess.TimeoutExpired):
                self._processes[target].wait(0.02)
        raise RuntimeError(f"{target} did not start:\n{self.log(target)}")


class _Vouching(grpc.UnaryUnaryClientInterceptor):
    """Signs each call as a service does, for itself."""

    def __init__(self, key: str, room: str, knows_callers: bool) -> None:
        self._key, self._room, self._knows_callers = key, room, knows_callers

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Adds the statement."""
        metadata = [
            *(client_call_details.metadata or ()),
            *vouched(self._key, self._room, knows_callers=self._knows_callers),
        ]
        return continuation(client_call_details._replace(metadata=metadata), request)


@contextmanager
def running(
    name: str,
    folder: Path,
    database_urls: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    rooms: Sequence[str] = ROOMS,
    open_files: tuple[int, int] | None = None,
    authority: Authority | None = None,
    file: Path | None = None,
) -> Iterator[Deployment]:
    """A deployment that has started: `all` or `split`, by default on SQLite files in the folder.

    A split one may run the first few rooms only, where a test needs no more. `open_files` are the soft and the hard
    limit of each process, by default those of the test. With an `authority` all ports have TLS. With a `file` the
    settings are there, and not on the command line, which everybody on the machine can read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deployment = Deployment(name, folder, database_urls or {}, settings or {}, rooms, open_files, authority, file)
    deployment.upgrade()
    deployment.start()
    try:
        yield deployment
    finally:
        deployment.close()


def write(file: Path, flags: Mapping[str, str]) -> None:
    """Writes settings to a configuration file that only its user can read."""
    sections: dict[str, list[str]] = {}
    for key, value in flags.items():
        section, name = key.split(".", 1)
        sections.setdefault(section, []).append(f"{name.replace('-', '_')} = {json.dumps(value)}")
    file.touch(mode=0o600)
    file.write_text("\n".join("\n".join([f"[{section}]", *lines]) for section, lines in sections.items()) + "\n")


def _environment() -> dict[str, str]:
    kept: dict[str, Any] = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
    sources = [str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services")]
    return {**kept, "PYTHONPATH": os.pathsep.join(sources)}
