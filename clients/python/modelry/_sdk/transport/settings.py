"""What the environment says and what holds without it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from modelry.errors import InvalidArgument

DEFAULT_PORT = 5100
DEFAULT_TRACKING_URI = f"grpc://127.0.0.1:{DEFAULT_PORT}"
DEFAULT_WORKSPACE = "default"
ELSEWHERE = ("access", "artifacts", "registry")
"""Rooms that may have an address of their own, see `room_variable`."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LOOPBACK = re.compile(r"^(localhost|127(\.\d{1,3}){3}|\[::1\])$")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of this process. Durations are seconds."""

    timeout: float
    start_timeout: float
    exit_timeout: float
    flush_interval: float
    buffer_points: int
    spool_folder: Path
    workspace: str
    insecure: bool
    experiment_name: str
    experiment_id: str
    run_id: str


def read() -> Settings:
    """Reads the settings from `MODELRY_*` variables.

    Raises InvalidArgument for a value that can't be read, naming the variable and what would be right.
    """
    return Settings(
        timeout=_duration("MODELRY_TIMEOUT", 30.0, shortest=0.001),
        start_timeout=_duration("MODELRY_START_TIMEOUT", 5.0, shortest=0.001),
        exit_timeout=_duration("MODELRY_EXIT_TIMEOUT", 30.0),
        flush_interval=_duration("MODELRY_FLUSH_INTERVAL", 0.2),
        buffer_points=_count("MODELRY_BUFFER_POINTS", 2_000_000),
        spool_folder=_spool_folder(),
        workspace=os.environ.get("MODELRY_WORKSPACE", DEFAULT_WORKSPACE),
        insecure=_truth("MODELRY_INSECURE"),
        experiment_name=os.environ.get("MODELRY_EXPERIMENT_NAME", ""),
        experiment_id=os.environ.get("MODELRY_EXPERIMENT_ID", ""),
        run_id=os.environ.get("MODELRY_RUN_ID", ""),
    )


_chosen_uri = ""


def tracking_uri() -> str:
    """The tracking URI that was chosen in this process, else that of the environment, else the default one."""
    return _chosen_uri or os.environ.get("MODELRY_TRACKING_URI") or DEFAULT_TRACKING_URI


def room_variable(room: str) -> str:
    """The variable that says where a room is that lives apart."""
    return f"MODELRY_{room.upper()}_URI"


def room_uris(address: Address) -> list[tuple[str, str]]:
    """The rooms that the environment places elsewhere than its tracking URI, with their URIs.

    None for an address that is not that of the environment: whoever names another server means all of it.
    """
    if address.target != parse_address(os.environ.get("MODELRY_TRACKING_URI") or DEFAULT_TRACKING_URI).target:
        return []
    given = ((room, os.environ.get(room_variable(room), "")) for room in ELSEWHERE)
    return [(room, uri) for room, uri in given if uri]


def choose_tracking_uri(uri: str | None) -> None:
    """Chooses the tracking URI of this process; None or an empty one undoes it. Raises InvalidArgument."""
    global _chosen_uri
    if uri:
        parse_address(uri)
    _chosen_uri = uri or ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: as it was given, what gRPC dials, and whether it is this machine."""

    uri: str
    target: str
    loopback: bool


def parse_address(uri: str, name: str = "tracking URI") -> Address:
    """Reads an address: `grpc://host:port`, `host:port`, `dns:///host:port` or `unix:///path`.

    The port is 5100 where none is given. Raises InvalidArgument for anything else, saying what would be right; `name`
    is what the address is called there.
    """
    scheme, separator, rest = uri.strip().partition("://")
    if not separator:
        scheme, rest = "grpc", uri.strip()
    if scheme == "unix" and rest.startswith("/") and len(rest) > 1:
        return Address(uri, target=f"unix:{rest}", loopback=True)
    if scheme == "dns" and rest.startswith("/"):
        return Address(uri, target=f"dns:///{_host_and_port(uri, rest[1:], name)}", loopback=False)
    if scheme == "grpc":
        target = _host_and_port(uri, rest, name)
        return Address(uri, target=target, loopback=_LOOPBACK.match(target.rpartition(":")[0]) is not None)
    raise InvalidArgument(
        f"{name} {uri!r} has the scheme {scheme!r}, which this client does not speak; "
        f"write grpc://host:port (such as {DEFAULT_TRACKING_URI}), or unix:///path of a socket",
        reason="TRACKING_URI_INVALID",
        metadata={"tracking_uri": uri, "scheme": scheme},
    )


def _host_and_port(uri: str, text: str, name: str) -> str:
    match = re.match(r"^(\[[0-9a-fA-F:.]+\]|[^\s:/?#\[\]@]+)(?::(\d{1,5}))?/?$", text)
    port = int(match[2] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise InvalidArgument(
            f"{name} {uri!r} is not a host and a port from 1 to 65535; write grpc://host:port, "
            f"such as {DEFAULT_TRACKING_URI}",
            reason="TRACKING_URI_INVALID",
            metadata={"tracking_uri": uri},
        )
    return f"{match[1]}:{port}"


def _spool_folder() -> Path:
    given = os.environ.get("MODELRY_SPOOL_DIR")
    if given:
        return Path(given).expanduser()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "modelry" / "spool"


def _duration(variable: str, default: float, shortest: float = 0.0) -> float:
    text = os.environ.get(variable)
    if not text:
        return default
    match = re.match(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*$", text)
    if match is None:
        raise _unreadable(variable, text, "a duration with its unit, such as 500ms, 30s or 2m")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds < shortest:
        raise _unreadable(variable, text, "a duration of at least 1ms: without time no call gets an answer")
    return seconds


def _count(variable: str, default: int) -> int:
    text = os.environ.get(variable)
    if not text:
        return default
    if not text.strip().isdecimal() or int(text) == 0:
        raise _unreadable(variable, text, "a whole number above 0")
    return int(text)


def _truth(variable: str) -> bool:
    text = os.environ.get(variable, "").strip().lower()
    if text in {"", "0", "false", "no"}:
        return False
    if text in {"1", "true", "yes"}:
        return True
    raise _unreadable(variable, text, "1 or 0")


def _unreadable(variable: str, text: str, wanted: str) -> InvalidArgument:
    return InvalidArgument(
        f"{variable}={text!r} can't be read; it is {wanted}",
        reason="SETTING_INVALID",
        metadata={"variable": variable, "value": text},
    )
