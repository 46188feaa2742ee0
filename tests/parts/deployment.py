"""The platform as its users run it: real processes, all rooms in one or each in its own."""

from __future__ import annotations

import os
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

from modelry_server.config import Config
from modelry_server.kernel.config import load
from modelry_server.targets import ROOMS, database

REPOSITORY = Path(__file__).parents[2]
START_S = 30.0
_Stub = TypeVar("_Stub")


class Deployment:
    """The platform at work. `addresses` says where each room answers; in `all` it is the same for each."""

    def __init__(
        self,
        name: str,
        folder: Path,
        database_urls: Mapping[str, str],
        settings: Mapping[str, str],
        rooms: Sequence[str] = ROOMS,
    ) -> None:
        self.name = name
        self.rooms = tuple(rooms)
        self.targets = ("all",) if name == "all" else self.rooms
        self.folder = folder
        self.addresses = {room: f"127.0.0.1:{port}" for room, port in zip(ROOMS, _free_ports(len(ROOMS)), strict=True)}
        if name == "all":
            self.addresses = dict.fromkeys(ROOMS, self.addresses["access"])
        self.flags = {"server.data-folder": str(folder), "server.drain": "2s", **settings}
        self.flags |= {f"{room}.database-url": url for room, url in database_urls.items()}
        if name == "split":
            self.flags |= {f"{room}.address": address for room, address in self.addresses.items()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._channels: dict[str, grpc.Channel] = {}

    @property
    def address(self) -> str:
        """Where tracking answers, as a client is told."""
        return self.addresses["tracking"]

    def environment(self) -> dict[str, str]:
        """What a client's process needs to find every room."""
        return {f"MODELRY_{room.upper()}_URI": address for room, address in self.addresses.items()}

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
            command += [f"--{key}={value}" for key, value in flags.items()]
            with (self.folder / f"{each}.log").open("ab") as log:
                self._processes[each] = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
        for each in wanted:
            self._await(each)

    def kill(self, target: str | None = None) -> None:
        """Ends one target, or all, at once, as a crash does (SIGKILL)."""
        self._end(target, signal.SIGKILL)

    def stop(self, target: str | None = None) -> None:
        """Asks one target, or all, to drain and end (SIGTERM)."""
        self._end(target, signal.SIGTERM)

    def target_of(self, room: str) -> str:
        """The target that runs a room."""
        return "all" if self.name == "all" else room

    def process(self, target: str) -> subprocess.Popen[bytes]:
        """The process of a target."""
        return self._processes[target]

    def channel(self, room: str) -> grpc.Channel:
        """A channel to a room, kept for all tests."""
        if room not in self._channels:
            options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50)]
            self._channels[room] = grpc.insecure_channel(self.addresses[room], options=options)
        return self._channels[room]

    def stub(self, kind: type[_Stub]) -> _Stub:
        """A stub of a service, by its class."""
        room = kind.__module__.split(".")[2]
        return kind(self.channel(room))  # type: ignore[call-arg]

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


@contextmanager
def running(
    name: str,
    folder: Path,
    database_urls: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    rooms: Sequence[str] = ROOMS,
) -> Iterator[Deployment]:
    """A deployment that has started: `all` or `split`, by default on SQLite files in the folder.

    A split one may run the first few rooms only, where a test needs no more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deployment = Deployment(name, folder, database_urls or {}, settings or {}, rooms)
    deployment.upgrade()
    deployment.start()
    try:
        yield deployment
    finally:
        deployment.close()


def _environment() -> dict[str, str]:
    kept: dict[str, Any] = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
    sources = [str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services")]
    return {**kept, "PYTHONPATH": os.pathsep.join(sources)}


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
