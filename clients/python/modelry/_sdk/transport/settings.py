"""The settings: what the environment says, and the defaults.

Nothing is remembered here but where a relative folder was when it was first read.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from modelry._sdk.values.hosts import is_loopback as is_loopback
from modelry.errors import InvalidArgument

DEFAULT_PORT = 5100
DEFAULT_TRACKING_URI = f"grpc://127.0.0.1:{DEFAULT_PORT}"
TRACKING = "MODELRY_TRACKING_URI"
"""The variable of the environment with the tracking URI."""
DEFAULT_WORKSPACE = "default"
ELSEWHERE = ("access", "artifacts", "registry")
"""The services that may have an address of their own, see `service_variable`."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")
_HOST = r"\[[0-9a-fA-F:.]+(?:%[\w.~-]+)?\]|[^\s:/?#\[\]@]+"

_USER = re.compile(r"(?<=//).*@|^[^/]*@")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of this process. Durations are seconds."""

    timeout: float
    start_timeout: float
    exit_timeout: float
    flush_interval: float
    heartbeat_period: float
    buffer_points: int
    spool_folder: Path
    workspace: str
    insecure: bool
    ca_file: str
    client_certificate_file: str
    client_key_file: str
    experiment_name: str
    experiment_id: str
    run_id: str
    snapshot: bool
    snapshot_diff: bool
    system_metrics: bool
    system_metrics_interval: float
    console: bool
    console_interval: float


class _Reader(Protocol):
    """Reads one variable; the default is for one that is not set."""

    def __call__(self, variable: str, parse: Callable[[str, str], _T], default: _T, /) -> _T: ...


def read() -> Settings:
    """Reads the settings from the `MODELRY_*` variables.

    Raises InvalidArgument for a value that can't be read; the message says what would be right.
    """
    return _settings(_value)


def usable() -> Settings:
    """As `read`, but a value that can't be read counts as its default.

    For threads, for the exit, and for training that is under way: there, nobody could mend the value.
    """
    return _settings(_value_or_default)


def _settings(value: _Reader) -> Settings:
    return Settings(
        timeout=value("MODELRY_TIMEOUT", _positive_duration, 30.0),
        start_timeout=value("MODELRY_START_TIMEOUT", _positive_duration, 5.0),
        exit_timeout=value("MODELRY_EXIT_TIMEOUT", _duration, 30.0),
        flush_interval=value("MODELRY_FLUSH_INTERVAL", _duration, 0.2),
        heartbeat_period=value("MODELRY_HEARTBEAT_PERIOD", _period, 30.0),
        buffer_points=value("MODELRY_BUFFER_POINTS", _count, 2_000_000),
        spool_folder=_spool_folder(),
        workspace=os.environ.get("MODELRY_WORKSPACE", DEFAULT_WORKSPACE),
        insecure=value("MODELRY_INSECURE", _truth, False),
        ca_file=os.environ.get("MODELRY_CA_FILE", ""),
        client_certificate_file=os.environ.get("MODELRY_CLIENT_CERTIFICATE_FILE", ""),
        client_key_file=os.environ.get("MODELRY_CLIENT_KEY_FILE", ""),
        experiment_name=os.environ.get("MODELRY_EXPERIMENT_NAME", ""),
        experiment_id=os.environ.get("MODELRY_EXPERIMENT_ID", ""),
        run_id=os.environ.get("MODELRY_RUN_ID", ""),
        snapshot=value("MODELRY_SNAPSHOT", _truth, True),
        snapshot_diff=value("MODELRY_SNAPSHOT_DIFF", _truth, True),
        system_metrics=value("MODELRY_SYSTEM_METRICS", _truth, True),
        system_metrics_interval=value("MODELRY_SYSTEM_METRICS_INTERVAL", _positive_duration, 15.0),
        console=value("MODELRY_CONSOLE", _truth, True),
        console_interval=value("MODELRY_CONSOLE_INTERVAL", _positive_duration, 10.0),
    )


def tracking_uri() -> str:
    """The tracking URI of the environment, else the default one."""
    return os.environ.get(TRACKING) or DEFAULT_TRACKING_URI


def service_variable(service: str) -> str:
    """The variable with the address of a service that has one of its own."""
    return f"MODELRY_{service.upper()}_URI"


def service_uris(address: Address) -> list[tuple[str, str]]:
    """The services to which the environment gives another address than that of tracking, with their URIs.

    Empty if the address is not the environment's tracking URI: all services are then expected at that address.
    """
    own = parse_address(tracking_uri())
    if (address.target, address.tls) != (own.target, own.tls):
        return []
    given = ((service, os.environ.get(service_variable(service), "")) for service in ELSEWHERE)
    return [(service, uri) for service, uri in given if uri]


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a server: as it was given, as gRPC needs it, and whether it is on this machine.

    `tls` says that connections must be encrypted, also those on this machine.
    """

    uri: str
    target: str
    loopback: bool
    tls: bool = False

    @property
    def host(self) -> str:
        """The name or address of the machine."""
        if self.target.startswith("unix:"):
            return "localhost"
        host, _, _ = self.target.removeprefix("dns:///").rpartition(":")
        return host


def parse_address(uri: str, name: str = "") -> Address:
    """Reads an address: `grpc://host:port`, `host:port`, `grpcs://host:port`, `dns:///host:port` or `unix:///path`.

    The default port is 5100. With `grpcs` connections use TLS, also to this machine and whatever `insecure` says.
    Raises InvalidArgument for anything else. The message calls the address `name`, by default the variable of the
    environment that has it, and shows no user and password in it.
    """
    if not name:
        name = TRACKING if uri == os.environ.get(TRACKING) else "tracking URI"
    scheme, separator, rest = uri.strip().partition("://")
    if not separator:
        scheme, rest = "grpc", uri.strip()
    if scheme == "unix" and rest.startswith("/") and len(rest) > 1:
        return Address(uri, target=f"unix:{rest}", loopback=True)
    if scheme == "dns" and rest.startswith("/"):
        return Address(uri, target=f"dns:///{_host_and_port(uri, rest[1:], name)}", loopback=False)
    if scheme in ("grpc", "grpcs"):
        target = _host_and_port(uri, rest, name)
        loopback = is_loopback(target.rpartition(":")[0])
        return Address(uri, target=target, loopback=loopback, tls=scheme == "grpcs")
    raise InvalidArgument(
        f"{name} {public(uri)!r} has the scheme {scheme!r}, which is not supported; "
        f"write grpc://host:port (such as {DEFAULT_TRACKING_URI}), grpcs://host:port for TLS, or unix:///path for a "
        "socket",
        reason="TRACKING_URI_INVALID",
        metadata={"tracking_uri": public(uri), "scheme": scheme},
    )


def public(uri: str) -> str:
    """A URI without the user and the password in it, if there are any: for messages."""
    return _USER.sub("***@", uri)


def proxy_of(host: str) -> str:
    """The environment variable whose proxy gRPC uses for a host. Empty if there is none."""
    variable = next((name for name in _PROXIES if os.environ.get(name)), "")
    without = next((os.environ[name] for name in _NO_PROXIES if os.environ.get(name)), "")
    excepted = any(part.strip() and host.endswith(part.strip()) for part in without.split(","))
    return "" if excepted or is_loopback(host) else variable


def _host_and_port(uri: str, text: str, name: str) -> str:
    match = re.match(rf"^({_HOST})(?::(\d{{1,5}}))?/?$", text.replace("%25", "%"))
    port = int(match[2] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        right = f"grpc://host:port, such as {DEFAULT_TRACKING_URI}"
        if "@" in text:
            right += ", without a user or a password"
        elif text.count(":") > 1 and "[" not in text:
            right += f", and an IPv6 address in brackets: grpc://[::1]:{DEFAULT_PORT}"
        raise InvalidArgument(
            f"{name} {public(uri)!r} is not a host and a port (1 to 65535); write {right}",
            reason="TRACKING_URI_INVALID",
            metadata={"tracking_uri": public(uri)},
        )
    return f"{match[1]}:{port}"


def _spool_folder() -> Path:
    given = os.environ.get("MODELRY_SPOOL_DIR")
    try:
        if given:
            return _absolute(Path(given).expanduser())
        state = os.environ.get("XDG_STATE_HOME")
        folder = _absolute((Path(state) if state else Path.home() / ".local" / "state") / "modelry" / "spool")
    except RuntimeError:  # a user without a home, as in a container
        return _absolute(Path(given)) if given else _temporary()
    return folder if state or _may_be_made(folder) else _temporary()


def _absolute(folder: Path) -> Path:
    """The folder, in the working folder of its first reading if it is relative: a program may go elsewhere later."""
    try:
        return folder if folder.is_absolute() else _absolute_once(folder)
    except OSError:  # the working folder is gone
        return folder


@functools.cache
def _absolute_once(folder: Path) -> Path:
    return folder.absolute()


def _may_be_made(folder: Path) -> bool:
    """Whether this user can write to the folder, or make it."""
    present = next((parent for parent in (folder, *folder.parents) if os.path.exists(parent)), folder)
    return os.access(present, os.W_OK | os.X_OK)


def _temporary() -> Path:
    """The spool of a user who has no home. It is judged before it is used, see `spooling.places`."""
    try:
        place = Path(tempfile.gettempdir())
    except OSError:
        place = Path("/tmp")
    return place / f"modelry-spool-{os.geteuid() if hasattr(os, 'geteuid') else 'user'}"


def _value(variable: str, parse: Callable[[str, str], _T], default: _T) -> _T:
    text = os.environ.get(variable)
    return parse(variable, text) if text else default


def _value_or_default(variable: str, parse: Callable[[str, str], _T], default: _T) -> _T:
    try:
        return _value(variable, parse, default)
    except InvalidArgument:
        return default


def _duration(variable: str, text: str) -> float:
    match = re.match(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*$", text)
    if match is None:
        raise unreadable(variable, text, "a duration with its unit, such as 500ms, 30s or 2m")
    return float(match[1]) * _UNITS[match[2]]


def _positive_duration(variable: str, text: str) -> float:
    seconds = _duration(variable, text)
    if seconds < 0.001:
        raise unreadable(variable, text, "a duration of at least 1ms")
    return seconds


def _period(variable: str, text: str) -> float:
    seconds = _duration(variable, text)
    if seconds and not 1 <= seconds <= 3600:
        raise unreadable(variable, text, "a duration from 1s to 1h, or 0s for no heartbeats")
    return seconds


def _count(variable: str, text: str) -> int:
    if not text.strip().isdecimal() or int(text) == 0:
        raise unreadable(variable, text, "a whole number above 0")
    return int(text)


def _truth(variable: str, text: str) -> bool:
    plain = text.strip().lower()
    if plain in {"", "0", "false", "no"}:
        return False
    if plain in {"1", "true", "yes"}:
        return True
    raise unreadable(variable, text, "1 or 0")


def unreadable(variable: str, text: str, wanted: str) -> InvalidArgument:
    """The error for a variable whose value can't be read: its name, its value and what would be right."""
    return InvalidArgument(
        f"{variable}={text!r} is not valid; write {wanted}",
        reason="SETTING_INVALID",
        metadata={"variable": variable, "value": text},
    )
