"""Times of the contract <-> times of Python, always UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelry._sdk.transport.answers import malformed
from modelry._sdk.values.texts import shown
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp


def time_of(message: Message, field: str) -> datetime | None:
    """The time in a field as timezone-aware UTC, or None if the field is not set.

    Raises DataLoss for what no time can be, which a sound server does not send.
    """
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    try:
        return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=stamp.nanos // 1000)
    except (OSError, OverflowError, ValueError):
        raise malformed(f"{stamp.seconds} s and {stamp.nanos} ns as {field}, which is no time") from None


def stamp_of(time: datetime | None) -> Timestamp | None:
    """The timestamp of a time. A time without a zone is local time, as in Python.

    Raises InvalidArgument for what is no time, such as a number, and for one that no timestamp can hold.
    """
    if time is None:
        return None
    from google.protobuf.timestamp_pb2 import Timestamp

    stamp = Timestamp()
    try:
        stamp.FromDatetime(time.astimezone(UTC))
    except (AttributeError, OverflowError, TypeError, ValueError):
        raise InvalidArgument(
            f"a time must be a datetime, not {shown(time)}; write seconds as datetime.fromtimestamp(seconds, UTC)"
        ) from None
    return stamp
