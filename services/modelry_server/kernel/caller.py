"""Who calls: travels with every call, through the room and on to its neighbours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Credential(StrEnum):
    """How a caller has proved who it is."""

    NONE = "none"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, until when, and on behalf of which trace.

    `subject` is the name of a person or program, and `credential` the kind of proof for it: while there is no
    authentication it is NONE, and the subject is what the client says of itself. `deadline` is a reading of
    `time.monotonic()`, or None for a call without one. `trace_id` is 32 hexadecimal characters. `peer` is the address
    that the call came from.
    """

    subject: str
    trace_id: str
    peer: str = ""
    deadline: float | None = None
    credential: Credential = Credential.NONE

    def time_left(self) -> float | None:
        """The seconds that are left, at least 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


NOBODY = Caller(subject="modelry", trace_id="0" * 32, credential=Credential.SERVICE)
"""Who calls when no call is being answered: the server itself, in its background jobs."""

_current: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def current() -> Caller:
    """Who is calling now."""
    return _current.get()


@contextmanager
def using(caller: Caller) -> Iterator[None]:
    """Makes `caller` the present one within the block."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)
