"""Values as people read them: times, durations, sizes, and texts without control characters.

Whatever was logged has such a form: a time that no calendar has, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_NOT_PLAIN = re.compile("[^ -~]")
_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters by their category, and as wide as a blank
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clean(text: str, *, keep: Iterable[str] = ()) -> str:
    """The text with control characters and invisible characters as escapes, but for those to keep."""
    kept = set(keep)
    return escaped(text, lambda letter: letter if letter in kept else letter.encode("unicode_escape").decode("ascii"))


def escaped(text: str, escape: Callable[[str], str]) -> str:
    """The text with an escape for each letter that steers what shows it, or can't be seen.

    These are controls, marks of direction, ends of lines, halves of pairs, private letters and fillers.
    """
    return _NOT_PLAIN.sub(lambda found: escape(found[0]) if _is_unshown(found[0]) else found[0], text)


def cut(text: str, longest: int) -> str:
    """The text, cut after so many letters."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def moment(time: datetime) -> str:
    """A time to the second: local time, or UTC in the first and last hours of the calendar, which has no local ones."""
    return f"{_local(time):%Y-%m-%d %H:%M:%S}"


def moment_of(time_ms: int) -> str:
    """As `moment`: the time so many milliseconds after 1970. A time outside of the calendar is the bare number."""
    try:
        return moment(_EPOCH + timedelta(milliseconds=time_ms))
    except OverflowError:
        return f"{time_ms} ms"


def zone(time: datetime) -> str:
    """The name of the zone in which `moment` tells a time."""
    return f"{_local(time):%Z}"


def _local(time: datetime) -> datetime:
    try:
        return time.astimezone()
    except (OverflowError, ValueError, OSError):
        return time.astimezone(UTC)


def ago(time: datetime, now: datetime | None = None) -> str:
    """A time as people read it, such as `2 hours ago`; a date if it is more than a month away."""
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    if not -60 < seconds < 30 * 86400:
        return f"{_local(time):%Y-%m-%d}"
    if seconds < 10:
        return "just now"
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(seconds // size)
        if count:
            return f"{counted(count, unit)} ago"
    return "just now"


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


def _is_unshown(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSHOWN or letter in _FILLERS
