"""gRPC, imported so that small calls are quick.

Since gRPC 1.80 a pool of threads reads from the network, and on few cores to hand each event of a call from thread to
thread costs a third of an empty one: 0.52 ms in the place of 0.37 (docs/adr/0001). gRPC decides on it when it is first
imported, by an environment variable, which is there for as long as that takes: nobody else sees it. Nothing is chosen
where the variable is set already, where the program imported gRPC before, and where it was not measured.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata

__all__ = ["grpc"]

_VARIABLE = "GRPC_EXPERIMENTS"
_WHO_WAITS_READS = "-event_engine_client,-event_engine_listener"
_RELEASES = (1, 80), (1, 85)  # the first and the last with both names; others complain of words that they do not know


def _is_measured() -> bool:
    release = tuple(int(part) for part in metadata.version("grpcio").split(".")[:2])
    first, last = _RELEASES
    return sys.platform == "linux" and first <= release <= last


_choosing = "grpc" not in sys.modules and _VARIABLE not in os.environ and _is_measured()
if _choosing:
    os.environ[_VARIABLE] = _WHO_WAITS_READS
try:
    import grpc
finally:
    if _choosing:
        os.environ.pop(_VARIABLE, None)
