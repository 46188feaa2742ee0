"""Messages as they arrive: parsed and judged before any handler sees them."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DeadlinePassed, FieldInvalid
from modelry_server.kernel.transport import texts, wire
from modelry_server.kernel.transport.limits.gate import Gate

MESSAGE_BYTES = 4 << 20
"""The largest message, in bytes: gRPC's own default, which every client can receive."""

SMALL_BYTES = 4 << 10
"""The largest request of health or reflection, in bytes. It names one thing."""

LARGE_BYTES = 256 << 10
"""A larger message is judged before it is parsed, and waits until it is the only one."""


def parsed(large: Gate, deserialize: Callable[[bytes], Any], content: bytes) -> Any:
    """The message in these bytes. Raises FieldInvalid if they are no message, or one that no handler should see.

    A large message takes a place of `large` while it is judged and parsed: it can be many times as large then.
    """
    if len(content) <= LARGE_BYTES:
        return _judged(deserialize, content)
    who = caller.current()
    if not large.enter(who.peer, who.deadline, len(content)):
        raise DeadlinePassed
    try:
        return _judged(deserialize, content)
    finally:
        large.leave(who.peer)


def small(deserialize: Callable[[bytes], Any], content: bytes) -> Any:
    """The message in these bytes, of a rpc that needs no large ones. Raises FieldInvalid like `parsed`.

    What answers such a rpc may keep its request, or repeat it in the answer.
    """
    if len(content) > SMALL_BYTES:
        problem = f"has {len(content)} bytes, at most {SMALL_BYTES} are allowed in a request of health or reflection"
        raise FieldInvalid({"message": problem})
    return _judged(deserialize, content)


def _judged(deserialize: Callable[[bytes], Any], content: bytes) -> Any:
    try:
        if len(content) > LARGE_BYTES:
            wire.judge(deserialize(b"").DESCRIPTOR, content)
        message = deserialize(content)
    except DecodeError:
        problem = "can't be parsed: it is cut off, of another type, or contains invalid UTF-8"
        raise FieldInvalid({"message": problem}) from None
    texts.judge(message, content)
    return message
