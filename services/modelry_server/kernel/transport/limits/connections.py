"""The connections to a listener, as Linux counts them: gRPC tells neither how many there are nor which it has refused.

Linux picks those of a port itself: to ask for 1,000 of them takes about a millisecond, and to read /proc/net/tcp, which
lists all of the machine, thirty.
"""

import socket
import struct
from collections.abc import Iterable

from modelry_server.kernel.telemetry import Log
from modelry_server.kernel.transport.limits.held import held, limit

# From linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h. Numbers are those of the machine, ports big-endian.
_SOCK_DIAG, _BY_FAMILY, _REQUEST, _DUMP, _ERROR, _DONE = 4, 20, 1, 0x300, 2, 3
_HEAD, _LENGTH_AND_KIND = struct.Struct("=IHHII"), struct.Struct("=IH")
_WHICH, _SOCKET_ID = struct.Struct("=BBxxI"), struct.Struct(">H46x")  # of the ends of a socket, only the port here
_ESTABLISHED = 1 << 1
_PATIENCE_S = 1.0
_log = Log("rpc")


class Connections:
    """Tells the metrics how many connections a listener has, and the log when it has as many as it may have.

    `listener` is its name, `most` how many it may have.
    """

    def __init__(self, listener: str, most: int) -> None:
        self._listener, self._most = listener, most
        limit.labels(listener, "connection").set(most)

    def look(self, ports: Iterable[int]) -> None:
        """Counts the connections to the ports. Does nothing where the system does not tell."""
        counts = [established(port) for port in ports]
        if None in counts:
            return
        count = sum(filter(None, counts))
        held.labels(self._listener, "connection").set(count)
        if count >= self._most:
            _log.seldom("rpc.connections_full", per=self._listener, listener=self._listener, connections=count)


def established(port: int) -> int | None:
    """How many TCP connections to a port of this machine are open. None where the system is not Linux, or hides it."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    try:
        return sum(_established(family, port) for family in (socket.AF_INET, socket.AF_INET6))
    except OSError:
        return None


def _established(family: int, port: int) -> int:
    asked = _WHICH.pack(family, socket.IPPROTO_TCP, _ESTABLISHED) + _SOCKET_ID.pack(port)
    head = _HEAD.pack(_HEAD.size + len(asked), _BY_FAMILY, _REQUEST | _DUMP, 0, 0)
    count = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE_S)
        kernel.send(head + asked)
        while True:
            answer, at = kernel.recv(1 << 16), 0
            while at < len(answer):
                length, kind = _LENGTH_AND_KIND.unpack_from(answer, at)
                if kind == _DONE:
                    return count
                if kind == _ERROR:
                    raise OSError("the kernel does not tell")
                count += 1
                at += -(-length // 4) * 4
