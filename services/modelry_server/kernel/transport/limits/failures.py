"""How many credentials that are not accepted may come: of one address, and with the same first characters.

Whoever guesses is slowed down without a question to access. The same one again within a second counts once. A
credential that was accepted lately is not affected.
"""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote

from modelry_server.kernel.errors import TooManyFailures

INTERVAL_S = 60.0
"""Failures count for so long, in seconds."""
OF_ADDRESS = 100
"""The most failures of one address within the interval."""
OF_PREFIX = 20
"""The most failures of credentials with the same beginning within the interval."""

_MOST_KEPT = 20_000
_PREFIX = 12  # of an API token: what all have, and 6 random characters


class Failures:
    """Counts failures, and refuses before a credential is looked at when there were too many."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def check(self, peer: str, bearer: str) -> None:
        """Raises TooManyFailures if too many came from this address, or with this beginning."""
        for key, most in _keys(peer, bearer):
            since, count = self._counted.get(key, (0.0, 0))
            if count >= most and self._clock() - since < INTERVAL_S:
                raise TooManyFailures(most, INTERVAL_S)

    def note(self, peer: str, bearer: str) -> None:
        """Notes a failure."""
        now = self._clock()
        with self._lock:
            for key, _ in _keys(peer, bearer):
                since, count = self._counted.get(key, (now, 0))
                if now - since >= INTERVAL_S:
                    since, count = now, 0
                self._counted[key] = (since, count + 1)
                self._counted.move_to_end(key)
            while len(self._counted) > _MOST_KEPT:
                self._counted.popitem(last=False)


def _keys(peer: str, bearer: str) -> list[tuple[tuple[str, str], int]]:
    found = [(("address", address_of(peer)), OF_ADDRESS)]
    if bearer.startswith("mdy_"):  # tokens of an issuer all begin alike
        found.append((("prefix", bearer[:_PREFIX]), OF_PREFIX))
    return found


def address_of(peer: str) -> str:
    """The address of a peer without its port, as gRPC writes both: `ipv4:127.0.0.1:5100`, `ipv6:%5B::1%5D:5100`.

    Of IPv6 it is the network of 64 bits: one machine has all addresses of that, and could take another one each time.
    """
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return peer.rpartition(":")[0]
    if kind == "ipv6":
        host = unquote(rest).rpartition(":")[0].strip("[]").partition("%")[0]
        with suppress(ValueError):
            address = ipaddress.IPv6Address(host)
            return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return peer
