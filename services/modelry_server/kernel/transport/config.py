"""The settings of a process: where it listens, how it is protected, and what its listeners hold."""

from dataclasses import dataclass
from pathlib import Path

from modelry_server.kernel.config import Address, Duration, Secret, in_folder, setting


def _home() -> str:
    return str(Path.home() / ".local" / "share" / "modelry")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What every process needs, whichever services it runs."""

    listen: Address = setting(
        "",
        "Where to listen for clients: `host:port`, with 0 for any port, or `unix:PATH`, `unix:///PATH` to clients. "
        "Empty: `127.0.0.1:5100` for all services in one process, or the `address` of the service.",
        least=0,
    )
    internal_listen: Address = setting(
        "",
        "Where a service that has a process of its own listens for other services, if not at its `internal_address`, "
        "such as `0.0.0.0:5201`. All services in one process use Unix sockets.",
        least=0,
    )
    authentication: str = setting(
        "none",
        "Whether callers must say who they are. `none`: the server listens on its own machine only.",
        choices=("none", "required"),
    )
    drop_authentication: bool = setting(
        False,
        "`true` says: this installation had authentication, and everybody who reaches it may do everything from now "
        "on. Without it, databases that were used with authentication are not opened without. For one start with "
        "`authentication = 'none'`; with `'required'` it is refused.",
    )
    tls_certificate_file: str = setting(
        "",
        "The certificate of this server as PEM, followed by the chain to its authority. With it, all ports use TLS. It "
        "and the key are read again when they change. Empty: no TLS.",
        anchored=in_folder,
    )
    tls_key_file: str = setting(
        "",
        "The key of the certificate as PEM, without a password. Only its user and group may read it.",
        anchored=in_folder,
    )
    mtls_listen: Address = setting(
        "",
        "A second port for clients, which asks each of them for a certificate of `client_ca_file`. Empty: none.",
        least=0,
    )
    client_ca_file: str = setting(
        "",
        "The authorities whose certificates `mtls_listen` takes, as PEM. Read again when it changes.",
        anchored=in_folder,
    )
    ca_file: str = setting(
        "",
        "The authorities of the certificates of other services, as PEM, where these are reached at ports with TLS. "
        "Read at the start. Empty: those that the system trusts.",
        anchored=in_folder,
    )
    encrypted_in_front: bool = setting(
        False,
        "`true` says: something in front of the server, such as a proxy or a service mesh, encrypts every connection "
        "from other machines, to services, too. Only then may a port without TLS be reached by them.",
    )
    service_key: Secret = setting(
        Secret(""),
        "The key by which services recognize each other: at least 32 printable ASCII characters. Services on several "
        "machines need the same key here. Best given in the environment or the file: other users of the machine can "
        "see a command line. Empty: the file `service.key` in the data folder, which the first process makes; all "
        "services in one process use a random key.",
    )
    data_folder: str = setting(
        "",
        "The folder of SQLite files, local blobs, the service key and the sockets between services. Empty: "
        "`~/.local/share/modelry`.",
        anchored=in_folder,
    )
    log_level: str = setting("info", "What is logged.", choices=("debug", "info", "warning", "error"))
    workers: int = setting(
        16,
        "Calls that are at work at once, for each listener. One caller has at most half. At most half of them are "
        "searches, and a quarter searches of one caller. A caller is a principal, or without authentication a "
        "connection.",
        least=2,
        most=256,
    )
    streams: int = setting(
        256,
        "Streams that may be open at once, for each listener. One caller has at most half: a principal, or without "
        "authentication a connection.",
        least=2,
        most=1000,
    )
    connections: int = setting(
        2000,
        "Connections that may be open at once, for each listener. More are closed at once. They are fewer if the "
        "process may not open so many files beside those of databases, content and streams (`ulimit -Hn`); then the "
        "server logs `server.few_files`.",
        least=10,
        most=100_000,
    )
    call_limit: Duration = setting(
        60.0,
        "How long a unary call may take, if its own deadline is not earlier; then it fails with `CALL_TOO_LONG`. "
        "Streams have no such limit.",
        least=1,
    )
    idle_limit: Duration = setting(
        300.0, "How long a call or stream may wait for its client; then it is cancelled.", least=1
    )
    drain: Duration = setting(10.0, "How long calls in flight may take at shutdown.", least=0)
    metrics_port: int = setting(
        0, "Port for Prometheus metrics over HTTP, on the server's host. 0: none.", least=0, most=65535
    )

    def folder(self) -> Path:
        """The data folder, with the default filled in."""
        return Path(self.data_folder or _home()).expanduser()
