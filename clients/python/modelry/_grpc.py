"""gRPC, imported so that small calls are quick.

Since gRPC 1.80 a pool of threads reads from the network, and on few cores to hand each event of a call from thread to
thread costs a third of an empty one: 0.52 ms in the place of 0.37 (docs/adr/0001). Without the pool, who waits for a
call reads; while nobody waits, a channel looks after its connection every five seconds, which is late after an outage,
so that is chosen too. gRPC decides when it is first imported, by environment variables, which are there for as long as
that takes: nobody else sees them. Nothing is chosen where `GRPC_EXPERIMENTS` is set already, where the program imported
gRPC before, and where it was not measured.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata

__all__ = ["grpc"]

_CHOICE = {
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
    "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS": "100",
}
_RELEASES = (1, 80), (1, 85)  # the first and the last with both names; others complain of words that they do not know


def _is_measured() -> bool:
    release = tuple(int(part) for part in metadata.version("grpcio").split(".")[:2])
    first, last = _RELEASES
    return sys.platform == "linux" and first <= release <= last


_chosen: dict[str, str] = {}
if "grpc" not in sys.modules and "GRPC_EXPERIMENTS" not in os.environ and _is_measured():
    _chosen = {name: value for name, value in _CHOICE.items() if name not in os.environ}
os.environ.update(_chosen)
try:
    import grpc
finally:
    for _name in _chosen:
        os.environ.pop(_name, None)
