"""gRPC, imported with the settings that suit a client which logs from training code.

- No support for forks (`GRPC_ENABLE_FORK_SUPPORT=0`): a child that is forked after gRPC was loaded never uses it (see
  `modelry._sdk.transport.process`). With gRPC's own support, a child that is forked while another thread is in a call
  hangs; and by default each fork prints a line.
- No pool of threads that read from the network. Since gRPC 1.80 there is one, and on few cores handing each event of a
  call from thread to thread costs a third of an empty call: 0.52 ms instead of 0.37 (docs/adr/0001). Without the pool
  the thread that waits for a call reads. While no thread waits, a channel looks after its connection every five
  seconds, which is late after an outage, so that period is shortened too.
- Errors only on standard error (`GRPC_VERBOSITY=ERROR`). By default gRPC prints a line for each handshake of TLS that
  fails, in clients and in servers, where anybody can begin one.
- gevent's way of waiting, in a program whose threads gevent has replaced. Without it gRPC waits for a thread that can't
  run before gRPC returns.

gRPC reads these environment variables when it is first imported. They are set for as long as that takes, so nobody else
sees them. A variable that is set already is kept. Nothing is chosen if the program imported gRPC before, and the second
choice is made only for releases with which it was measured.

The release of protobuf is judged here too, before generated code asks it for what an old one lacks.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from importlib import metadata

__all__ = ["grpc"]

_FORKS = "GRPC_ENABLE_FORK_SUPPORT"
_READING = {
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
    "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS": "100",
}
_PROTOBUF = (6, 31, 1)  # the release that the generated code is made for
_RELEASES = (1, 80), (1, 85)  # the first and the last with both names; others complain of words that they do not know


def _require_package(name: str) -> None:
    """Raises ImportError if a file of the program has the name of a package that is needed, and is found before it."""
    found = sys.modules.get(name)
    file = getattr(found, "__file__", None)
    if file is not None and not hasattr(found, "__path__"):
        raise ImportError(f"{file} has the name of the package {name!r} and is imported in its place; rename the file")


def _require_protobuf() -> None:
    """Raises ImportError for a protobuf that is older than the generated code."""
    try:
        from google import protobuf
    except ImportError:
        _require_package("google")
        raise

    release = protobuf.__version__
    needed = ".".join(map(str, _PROTOBUF))
    found = tuple(int(part) for part in re.findall(r"\d+", release)[:3])
    try:
        from google.protobuf import runtime_version  # noqa: F401
    except ImportError:
        found = ()
    if found < _PROTOBUF:
        raise ImportError(
            f"Modelry needs protobuf {needed} or later, but {protobuf.__path__[0]} has {release}; "
            f"run: pip install --upgrade 'protobuf>={needed}'"
        )


def _is_measured() -> bool:
    release = tuple(int(part) for part in metadata.version("grpcio").split(".")[:2])
    first, last = _RELEASES
    return sys.platform == "linux" and first <= release <= last


def _choice() -> dict[str, str]:
    if "grpc" in sys.modules:
        return {}
    chosen = {_FORKS: "0", "GRPC_VERBOSITY": "ERROR"}
    if "GRPC_EXPERIMENTS" not in os.environ and _is_measured():
        chosen |= _READING
    return {name: value for name, value in chosen.items() if name not in os.environ}


if os.environ.get(_FORKS, "0").lower() not in {"0", "false", "no", "off", ""}:
    logging.getLogger("modelry").warning(
        "%s=%s is set: a child that is forked while another thread is in a call hangs in gRPC; unset it, or start "
        "children by the method 'spawn'",
        _FORKS,
        os.environ[_FORKS],
    )
_require_protobuf()
_chosen = _choice()
os.environ.update(_chosen)
try:
    import grpc
finally:
    for _name in _chosen:
        os.environ.pop(_name, None)
_require_package("grpc")
_monkey = sys.modules.get("gevent.monkey")
if _monkey is not None and _monkey.is_module_patched("threading"):
    from grpc.experimental import gevent as _gevent

    _gevent.init_gevent()
