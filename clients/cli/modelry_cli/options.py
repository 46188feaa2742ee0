"""Options and arguments that several nouns have, and how they are read."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from modelry_cli import output


def within(bits: int) -> Callable[[int | None], int | None]:
    """Checks that a whole number has so many bits at most, as the contract's have. One that has more is wrong use."""

    def check(number: int | None) -> int | None:
        least, most = -(1 << bits - 1), (1 << bits - 1) - 1
        if number is not None and not least <= number <= most:
            raise typer.BadParameter(f"{number} has more than {bits} bits; use {least} to {most}")
        return number

    return check


Filter = Annotated[str, typer.Option(help="Which ones: see docs/filters.md.", metavar="FILTER")]
FilterWord = Annotated[str, typer.Argument(help="Which ones: see docs/filters.md.", metavar="FILTER")]
OrderBy = Annotated[
    list[str] | None, typer.Option(help="Sort key, such as 'metrics.acc DESC'; may be given again.", metavar="KEY")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="How many at most. Default: 50 in a table, all in JSON.", metavar="N")
]
Deleted = Annotated[bool, typer.Option("--deleted", help="Those that were deleted, in place of the others.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", help="A tag; may be given again.", metavar="KEY=VALUE")]
TagWords = Annotated[list[str], typer.Argument(help="Tags.", metavar="KEY=VALUE...")]
TagKeys = Annotated[list[str], typer.Argument(help="Keys of tags.", metavar="KEY...")]
Reason = Annotated[str, typer.Option(help="Why; goes into the audit record.", metavar="TEXT")]
Description = Annotated[str, typer.Option(help="What it is.", metavar="TEXT")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
ModelName = Annotated[str, typer.Argument(help="The registered model.", metavar="MODEL")]
Number = Annotated[int, typer.Argument(help="The version's number.", metavar="NUMBER", min=1, callback=within(64))]
ExperimentWord = Annotated[str, typer.Argument(help="An experiment's id, or its name.", metavar="EXPERIMENT")]
RunId = Annotated[str, typer.Argument(help="The run, 32 hexadecimal characters.", metavar="RUN_ID")]


def pairs(words: Sequence[str] | None) -> dict[str, str]:
    """`KEY=VALUE` words as a mapping. A word that is none is wrong use."""
    found: dict[str, str] = {}
    for word in words or ():
        key, separator, value = word.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"{word!r} is not KEY=VALUE")
        found[key] = value
    return found


def numbers(words: Sequence[str] | None) -> dict[str, float]:
    """`KEY=NUMBER` words as a mapping; `nan` and `inf` are numbers.

    A word that is none, or a number too big for 64 bits, is wrong use.
    """
    found: dict[str, float] = {}
    for key, value in pairs(words).items():
        try:
            found[key] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{key}={value!r} is not a number") from None
        if math.isinf(found[key]) and "inf" not in value.lower():
            raise typer.BadParameter(f"{key}={value!r} is too big; use at most 1.797e308, or write inf")
    return found


def agreed(question: str, yes: bool) -> None:
    """Asks before something that can't be undone; where nobody can be asked, `--yes` must have been given."""
    if yes:
        return
    if not sys.stdin.isatty():
        output.refuse(f"{question} That can't be undone, and there is no terminal to ask at: confirm it with --yes")
        raise typer.Exit(2)
    typer.confirm(f"{question} That can't be undone.", abort=True)
