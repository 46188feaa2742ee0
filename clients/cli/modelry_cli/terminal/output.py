"""Output: tables for people, JSON for programs. Nothing else in this package prints.

Texts from a server are not trusted: control characters and invisible ones are shown as escapes, in tables, in JSON and
in errors, so that the name of a run can't control the terminal. Nothing is read as markup, and a cell of a list is cut.
"""

from __future__ import annotations

import codecs
import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from modelry_cli.terminal.words import ago, clean, cut, escaped, moment, said, zone

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Column as DrawnColumn
    from rich.table import Table
    from rich.text import Text

T = TypeVar("T")
_STYLES = {
    **dict.fromkeys(("FINISHED", "READY", "Production"), "green"),
    **dict.fromkeys(("FAILED", "KILLED", "LOST", "DELETED"), "red"),
    **dict.fromkeys(("RUNNING", "PENDING", "SCHEDULED", "Staging"), "yellow"),
    **dict.fromkeys(("None", "Archived"), "dim"),
}
_NOT_A_TERMINAL_COLUMNS = 10_000
_WRAPPED_COLUMNS = 24
_WHOLE_COLUMNS = 36  # an id stays whole
_LEAST_COLUMNS = 10  # of what takes several lines
_GAP = 2
_TITLE_LETTERS = 32
_CELL_LETTERS = 500
_JUDGED_BYTES = 8192
_REMARK_LETTERS = 4000
_HALVES = re.compile("[\ud800-\udfff]")
_LAYOUT = {"\n", "\t"}


class Format(StrEnum):
    """The form of an answer."""

    TABLE = "table"
    JSON = "json"


@dataclasses.dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table: its title, and the value of a cell.

    On a narrow screen, columns with `spare` are left out, the highest number first, and columns with `wraps` or with
    long values take several lines. Then the others are left out, the last one first. A long value that is `whole` never
    takes several lines, so that it can be copied.
    """

    title: str
    cell: Callable[[T], object]
    wraps: bool = False
    spare: int = 0
    whole: bool = False


# --- JSON ----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value for JSON: times in ISO 8601, NaN, infinities and paths as texts, dataclasses by their fields.

    Half of a surrogate pair, as in a file name that is no Unicode, becomes U+FFFD: strict readers refuse its escape.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {_whole(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, str | PurePath):
        return _whole(str(value))
    if value is None or isinstance(value, int | float):
        return value
    return [plain(inner) for inner in value]


def write_json(value: object) -> None:
    """Writes one JSON document. What would steer a terminal is an escape in it, which a reader turns back."""
    text = json.dumps(plain(value), ensure_ascii=not _speaks_unicode(), indent=2, allow_nan=False)
    print(escaped(text, lambda letter: letter if letter == "\n" else json.dumps(letter)[1:-1]))


def write_json_line(value: object) -> None:
    """Writes a JSON document on one line, at once, for programs that read one after the other."""
    text = json.dumps(plain(value), ensure_ascii=not _speaks_unicode(), allow_nan=False)
    print(escaped(text, lambda letter: json.dumps(letter)[1:-1]), flush=True)


# --- tables --------------------------------------------------------------------------------------------------------


def write_list(items: Sequence[T], columns: Sequence[Column[T]], *, nothing: str, more: bool = False) -> None:
    """Writes a table with a row for each item, or `nothing` if there is none, and a hint if there are more.

    Where not even the first column fits, each item is a block with a line for each column.
    """
    if not items:
        note(nothing)
        return
    shown = fitting(columns, items, _console().width)
    table = _table(*((column.title, not column.wraps) for column in shown))
    for column, drawn in zip(shown, table.columns, strict=True):
        if column.whole:
            drawn.min_width = _width(column, items)
    for item in items:
        table.add_row(*(_cell(column.cell(item)) for column in shown))
    for position, column in enumerate(shown):
        if all(isinstance(column.cell(item), int | float) or column.cell(item) in ("", None) for item in items):
            table.columns[position].justify = "right"
    _draw(table)
    if len(shown) < len(columns):
        left_out = ", ".join(column.title for column in columns if column not in shown)
        note(f"Left out because the screen is too narrow: {left_out}.")
    if more:
        shown_items = f"The first {len(items)} are" if len(items) > 1 else "Only the first is"
        note(f"{shown_items} shown; --limit shows more, --output json shows all.")


def write_one(thing: Mapping[str, object], *, aside: bool = False) -> None:
    """Writes one thing: a line for each value, a table for each mapping and list. Skips empty values.

    What is only `aside` goes to standard error.
    """
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
    _draw(lines, errors=aside)
    for title, table in blocks:
        _console(errors=aside).print()
        _console(errors=aside).print(_text(title.replace("_", " "), style="bold"))
        _draw(table, errors=aside)


def write_grid(titles: Sequence[str], rows: Iterable[tuple[Sequence[object], bool]]) -> None:
    """Writes a table of rows. Rows marked true are bold."""
    table = _table(*((title, position == 0) for position, title in enumerate(titles)))
    for cells, marked in rows:
        table.add_row(*(_cell(cell, style="bold" if marked else "") for cell in cells))
    _draw(table)


def write_text(text: str) -> None:
    """Writes lines as they are, with control characters as escapes."""
    _console().print(_text(text, keep=_LAYOUT), soft_wrap=True)


def write_line(text: str) -> None:
    """Writes a line at once, with control characters as escapes."""
    print(clean(text, keep=_LAYOUT), flush=True)


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def is_text(content: bytes) -> bool:
    """Whether a terminal can show content: its beginning is UTF-8 without NUL."""
    start = content[:_JUDGED_BYTES]
    if b"\0" in start:
        return False
    try:
        # A letter that is cut at the end of what is judged is no fault.
        codecs.getincrementaldecoder("utf-8")().decode(start, final=len(start) == len(content))
    except UnicodeDecodeError:
        return False
    return True


def write_bytes(content: bytes) -> None:
    """Writes the content of a file to standard output: byte for byte, but to a terminal with escapes."""
    if is_terminal():
        write_text(content.decode(errors="replace"))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


# --- asides --------------------------------------------------------------------------------------------------------


def note(text: str) -> None:
    """Writes a remark for people to standard error."""
    _remark(_text(cut(text, _REMARK_LETTERS), keep=_LAYOUT, style="dim"))


def refuse(text: str) -> None:
    """Writes to standard error why something was not done."""
    _remark(_text("error: ", style="bold red") + _text(cut(text, _REMARK_LETTERS), keep=_LAYOUT))


def refuse_plainly(text: str) -> None:
    """The same without colours and lines that fit the terminal, for a Python without the packages for these."""
    print(f"error: {clean(text)}", file=sys.stderr)


@contextmanager
def progress(title: str, *, unit: str = "bytes") -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, if it is a terminal. The yielded function takes the done and total amounts."""
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
        task = bars.add_task(clean(cut(title, _TITLE_LETTERS)), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


# --- how it is drawn -----------------------------------------------------------------------------------------------


def _console(*, errors: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if errors else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _NOT_A_TERMINAL_COLUMNS, highlight=False)


def _draw(table: Table, *, errors: bool = False) -> None:
    """Draws a table. What is long takes several lines in any column, so that it leaves room for the others.

    On a screen that is too narrow for it, each row is a block. In a file or a pipe no line ends with blanks, which one
    long value would give to all others.
    """
    for column in table.columns:
        if column.min_width is None and _widest(column) > _WHOLE_COLUMNS:
            column.no_wrap = False
    console = _console(errors=errors)
    least = (_widest(each) if each.no_wrap else min(_widest(each), _LEAST_COLUMNS) for each in table.columns)
    if _beside(least) > console.width:
        _draw_blocks(table, console)
        return
    if console.file.isatty():
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), file=console.file)


def _draw_blocks(table: Table, console: Console) -> None:
    """Draws each row of a table as a block. The terminal breaks what is too long, so it is whole when it is copied."""
    from rich.text import Text

    rows = zip(*(column.cells for column in table.columns), strict=True)
    for number, row in enumerate(rows):
        if table.show_header and number:
            console.print()
        line = Text()
        for column, cell in zip(table.columns, row, strict=True):
            if not isinstance(cell, Text) or not cell.plain:
                continue
            title = column.header if table.show_header and isinstance(column.header, Text) else Text()
            if title.plain:
                line += Text(f"{title.plain}: ", style="bold")
            line += cell + "\n" if table.show_header else cell + " "
        line.rstrip()
        console.print(line, soft_wrap=True)


def _widest(column: DrawnColumn) -> int:
    from rich.text import Text

    return max((text.cell_len for text in (column.header, *column.cells) if isinstance(text, Text)), default=0)


def _beside(widths: Iterable[int]) -> int:
    """How wide columns are that stand side by side."""
    return sum(width + _GAP for width in widths) - _GAP


def fitting(columns: Sequence[Column[T]], items: Sequence[T], width: int) -> list[Column[T]]:
    """The columns that fit a screen. All of them if not even the first one does."""
    shown = list(columns)
    widths = {column.title: _width(column, items) for column in columns}
    for column in sorted(columns, key=lambda column: -column.spare):
        if column.spare == 0 or _beside(widths[each.title] for each in shown) <= width:
            break
        shown.remove(column)
    least = {
        each.title: min(widths[each.title], _LEAST_COLUMNS) if _may_fold(each, items) else widths[each.title]
        for each in shown
    }
    while shown and _beside(least[each.title] for each in shown) > width:
        shown.pop()
    return shown or list(columns)


def _width(column: Column[T], items: Sequence[T]) -> int:
    widest = _widest_of(column, items)
    return min(widest, _WRAPPED_COLUMNS) if _may_fold(column, items) else widest


def _may_fold(column: Column[T], items: Sequence[T]) -> bool:
    return column.wraps or (not column.whole and _widest_of(column, items) > _WHOLE_COLUMNS)


def _widest_of(column: Column[T], items: Sequence[T]) -> int:
    return max(len(column.title), *(_cell(column.cell(item)).cell_len for item in items))


def _table(*columns: tuple[str, bool], headed: bool = True) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=headed, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
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


def _remark(text: Text) -> None:
    _console(errors=True).print(text, soft_wrap=True)


def _cell(value: object, *, style: str = "") -> Text:
    """A cell of a list, cut: what stands beside it stays readable."""
    return _text(cut(said(value), _CELL_LETTERS), style=style or _STYLES.get(str(value), ""))


def _text(value: object, *, keep: Iterable[str] = (), style: str = "") -> Text:
    from rich.text import Text

    return Text(clean(said(value), keep=keep), style=style or _STYLES.get(str(value), ""))


def _when(value: object) -> object:
    if isinstance(value, datetime):
        told, since = f"{moment(value)} {zone(value)}", ago(value)
        return told if told.startswith(since) else f"{told} ({since})"
    return value


def _whole(text: str) -> str:
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
