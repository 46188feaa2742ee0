"""How a filter is refused: with the place, what is there, and what would be right."""

from modelry_server.kernel.errors import InvalidArgument

_AROUND = 60


class FilterSyntax(InvalidArgument):
    """A filter or a sort key can't be read, or is beyond a limit.

    The message names the column, from 1, and shows the text around it with a caret below. A store that can read
    a filter and yet refuses a comparison (a metric against a text) raises it with the column of the node and no `text`.
    """

    reason = "FILTER_SYNTAX"

    def __init__(self, column: int, found: str, expected: str, *, text: str = "", field: str = "filter") -> None:
        message = f"{field}, column {column}: found {found}, expected {expected}"
        super().__init__(
            f"{message}\n{_pointed(text, column)}" if text else message,
            field=field,
            column=column,
            found=found,
            expected=expected,
        )
        self.column = column


def _pointed(text: str, column: int) -> str:
    """Two lines: the text around the column, on one line whatever is in it, and a caret below."""
    at = min(column - 1, len(text))
    start, stop = max(0, at - _AROUND), at + _AROUND
    before, after = "…" if start else "", "…" if stop < len(text) else ""
    window = "".join(char if char.isprintable() else " " for char in text[start:stop])
    return f"  {before}{window}{after}\n  {' ' * (len(before) + at - start)}^"
