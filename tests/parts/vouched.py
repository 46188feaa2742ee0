"""What a service sends with a call to another one, for tests that call internal listeners."""

from __future__ import annotations

from modelry_server.kernel.caller import NOBODY, Caller
from modelry_server.kernel.transport.vouching import METADATA, Voucher


def vouched(key: str, room: str, caller: Caller = NOBODY) -> tuple[tuple[str, str], ...]:
    """The metadata by which a service with the key calls a room: for itself, or for a caller."""
    return ((METADATA, Voucher(key).say(caller, to=room)),)
