"""Times and durations in requests."""

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from modelry_server.kernel.errors import FieldInvalid


def milliseconds(message: Message, field: str, *, prefix: str = "") -> int | None:
    """A time field as milliseconds; None if it is not set. Whether that is in a valid range is for the domain to judge.

    Raises FieldInvalid for nanoseconds that are more than a second.
    """
    if not message.HasField(field):
        return None
    time = getattr(message, field)
    if not 0 <= time.nanos < 1_000_000_000:
        raise FieldInvalid({f"{prefix}{field}": f"{time.nanos} nanos are not within a second: 0 to 999999999"})
    return int(time.seconds * 1000 + time.nanos // 1_000_000)


def in_words(time: int) -> str:
    """A time in milliseconds since the epoch for messages: in UTC, as ISO 8601 writes it."""
    try:
        moment = datetime.fromtimestamp(time // 1000, UTC) + timedelta(milliseconds=time % 1000)
    except (OverflowError, ValueError, OSError):
        return f"{time} ms since 1970"
    return moment.isoformat(timespec="milliseconds" if time % 1000 else "seconds").replace("+00:00", "Z")
