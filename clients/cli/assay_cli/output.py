"""What people and programs see: tables for the ones, JSON for the others. Nothing else in this package prints.

What a server sends is never trusted: control characters are shown as escapes, so that a run's name can't move the
cursor, and nothing is read as markup.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

T = TypeVar("T")
_STYLES = {
    **dict.fromkeys(("FINISHED", "READY", "Production"), "green"),
    **dict.fromkeys(("FAILED", "KILLED", "DELETED"), "red"),
    **dict.fromkeys(("RUNNING", "PENDING", "SCHEDULED", "Staging"), "yellow"),
    **dict.fromkeys(("None", "Archived"), "dim"),
}
_NOT_A_TERMINAL_COLUMNS = 10_000
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_LAYOUT = {"\n", "\t"}


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


@dataclasses.dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table: its title, what stands in it, and whether it must stay whole on a narrow screen."""

    title: str
    cell: Callable[[T], object]
    whole: bool = False


# --- JSON ----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as JSON knows it: times in ISO 8601, numbers that are none as texts, dataclasses by their fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    return [plain(inner) for inner in value]


def write_json(value: object) -> None:
    """Writes one JSON document."""
    print(json.dumps(plain(value), ensure_ascii=not _speaks_unicode(), indent=2, allow_nan=False))


# --- texts ---------------------------------------------------------------------------------------------------------


def clean(text: str, *, keep: Iterable[str] = ()) -> str:
    """The text with every character that could steer a terminal, or hide in it, as an escape."""
    kept = set(keep)
    return "".join(
        letter if letter in kept or unicodedata.category(letter) not in _UNSHOWN else _escaped(letter)
        for letter in text
    )


def ago(time: datetime, now: datetime | None = None) -> str:
    """A time as people say it; the date when it is more than a month away."""
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    if not -60 < seconds < 30 * 86400:
        return time.astimezone().strftime("%Y-%m-%d")
    if seconds < 10:
        return "just now"
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(seconds // size)
        if count:
            return f"{counted(count, unit)} ago"
    return "just now"


def lasted(start: datetime | None, end: datetime | None) -> str:
    """How long something took; empty while it has not ended."""
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
    """A value as a table says it."""
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


# --- tables --------------------------------------------------------------------------------------------------------


def write_list(items: Sequence[T], columns: Sequence[Column[T]], *, nothing: str, more: bool = False) -> None:
    """Writes a table with a row for each item; `nothing` when there is none, a hint when there are more."""
    if not items:
        note(nothing)
        return
    table = _table(*((column.title, column.whole) for column in columns))
    for item in items:
        cells = [column.cell(item) for column in columns]
        table.add_row(*(_text(cell) for cell in cells))
    for position, column in enumerate(columns):
        if all(isinstance(column.cell(item), int | float) or column.cell(item) in ("", None) for item in items):
            table.columns[position].justify = "right"
    _console().print(table)
    if more:
        note(f"The first {len(items)} are shown; --limit shows more, --output json shows all.")


def write_one(thing: Mapping[str, object]) -> None:
    """Writes what is known of one thing: a line for each value, a table for each mapping and list. Skips the empty."""
    lines = _table(("", True), ("", False), headed=False)
    blocks: list[tuple[str, Table]] = []
    for key, value in thing.items():
        if value in ("", None) or (isinstance(value, Mapping | list | tuple) and not value):
            continue
        if isinstance(value, Mapping):
            blocks.append((key, _of_mapping(value)))
        elif isinstance(value, list | tuple) and isinstance(value[0], Mapping):
            blocks.append((key, _of_rows(value)))
        else:
            lines.add_row(_text(key.replace("_", " "), style="bold"), _text(_when(value)))
    _console().print(lines)
    for title, table in blocks:
        _console().print()
        _console().print(_text(title.replace("_", " "), style="bold"))
        _console().print(table)


def write_grid(titles: Sequence[str], rows: Iterable[tuple[Sequence[object], bool]]) -> None:
    """Writes a table of rows; those marked true stand out."""
    table = _table(*((title, position == 0) for position, title in enumerate(titles)))
    for cells, marked in rows:
        table.add_row(*(_text(cell, style="bold" if marked else "") for cell in cells))
    _console().print(table)


def write_text(text: str) -> None:
    """Writes lines as they are, but for control characters."""
    _console().print(_text(text, keep=_LAYOUT), soft_wrap=True)


def write_bytes(content: bytes) -> None:
    """Writes the content of a file to standard output, byte for byte."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


# --- asides --------------------------------------------------------------------------------------------------------


def note(text: str) -> None:
    """Says something to people only, on standard error."""
    _console(errors=True).print(_text(text, keep=_LAYOUT, style="dim"), soft_wrap=True)


def refuse(text: str) -> None:
    """Says on standard error why something was not done."""
    _console(errors=True).print(_text("error: ", style="bold red") + _text(text, keep=_LAYOUT), soft_wrap=True)


@contextmanager
def progress(title: str, *, unit: str = "bytes") -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal; what it yields is told how much is done, and of how much."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount = (
        (DownloadColumn(binary_units=True), TransferSpeedColumn())
        if unit == "bytes"
        else (MofNCompleteColumn(), TextColumn(unit))
    )
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *amount, TimeRemainingColumn())
    console = _console(errors=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(clean(title), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


# --- how it is drawn -----------------------------------------------------------------------------------------------


def _console(*, errors: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if errors else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _NOT_A_TERMINAL_COLUMNS, highlight=False)


def _table(*columns: tuple[str, bool], headed: bool = True) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=headed, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title, whole in columns:
        table.add_column(_text(title), no_wrap=whole, overflow="fold")
    return table


def _of_mapping(value: Mapping[str, object]) -> Table:
    if all(isinstance(inner, Mapping) for inner in value.values()):
        return _of_rows([{"": key, **inner} for key, inner in value.items() if isinstance(inner, Mapping)])
    table = _table(("", True), ("", False), headed=False)
    for key, inner in value.items():
        table.add_row(_text(f"  {key}"), _text(inner))
    return table


def _of_rows(rows: Sequence[Mapping[str, object]]) -> Table:
    titles = list(dict.fromkeys(key for row in rows for key in row))
    table = _table(*((title.replace("_", " "), title == titles[0]) for title in titles))
    for row in rows:
        cells: list[RenderableType] = [_text(row.get(title)) for title in titles]
        table.add_row(*cells)
    return table


def _text(value: object, *, keep: Iterable[str] = (), style: str = "") -> Text:
    from rich.text import Text

    return Text(clean(said(value), keep=keep), style=style or _STYLES.get(str(value), ""))


def _when(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S %Z} ({ago(value)})"
    return value


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
