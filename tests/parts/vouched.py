"""What a service sends with a call to another one, for tests that call internal listeners."""

from __future__ import annotations

from modelry_server.kernel.caller import NOBODY, Caller
from modelry_server.kernel.transport.vouching import METADATA, Voucher


def vouched(
    key: str, room: str, caller: Caller = NOBODY, *, knows_callers: bool = False
) -> tuple[tuple[str, str], ...]:
    """The metadata by which a service with the key calls a room: for itself, or for a caller.

    `knows_callers` is as the platform's setting.
    """
    return ((METADATA, Voucher(key, knows_callers=knows_callers).say(caller, to=room)),)
