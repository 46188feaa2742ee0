"""Values as people read them: times, durations, sizes, and texts without control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def clean(text: str, *, keep: Iterable[str] = ()) -> str:
    """The text with control characters and invisible characters as escapes."""
    kept = set(keep)
    return "".join(
        letter if letter in kept or unicodedata.category(letter) not in _UNSHOWN else _escaped(letter)
        for letter in text
    )


def ago(time: datetime, now: datetime | None = None) -> str:
    """A time as people read it, such as `2 hours ago`; a date if it is more than a month away."""
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    if not -60 < seconds < 30 * 86400:
        return local(time).strftime("%Y-%m-%d")
    if seconds < 10:
        return "just now"
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(seconds // size)
        if count:
            return f"{counted(count, unit)} ago"
    return "just now"


def local(time: datetime) -> datetime:
    """A time in the time zone of this machine, or in UTC at the ends of the calendar, where that has none."""
    try:
        return time.astimezone()
    except (OverflowError, ValueError):
        return time


def moment(time_ms: int) -> str:
    """The local time of milliseconds since 1970; the number, if it is beyond every calendar."""
    try:
        return f"{local(datetime.fromtimestamp(time_ms / 1000, UTC)):%Y-%m-%d %H:%M:%S}"
    except (OSError, OverflowError, ValueError):
        return f"{time_ms} ms"


def lasted(start: datetime | None, end: datetime | None) -> str:
    """How long something took. Empty while it has not ended."""
    if start is None or end is None:
        return ""
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def size(count: int) -> str:
    """A number of bytes with its unit."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def counted(count: int, what: str) -> str:
    """A number of things, with the word in singular or plural."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def said(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return ago(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={said(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(said(inner) for inner in value)
    return str(value)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
