"""Options and arguments that several nouns share."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from modelry_cli.terminal import output
from modelry_cli.terminal.words import clean


def within(bits: int) -> Callable[[int | None], int | None]:
    """Checks that a whole number fits into so many bits, as in the contract. A larger one is wrong use."""

    def check(number: int | None) -> int | None:
        least, most = -(1 << bits - 1), (1 << bits - 1) - 1
        if number is not None and not least <= number <= most:
            raise typer.BadParameter(f"{number} does not fit into {bits} bits; use {least} to {most}")
        return number

    return check


NO_LIMIT = "none"
"""The word that stands for no limit."""


def most(word: str | None) -> str | None:
    """Checks that a word is a number of things, or stands for no limit. Any other one is wrong use."""
    if word is None or word == NO_LIMIT or (re.fullmatch("[0-9]{1,19}", word) and int(word) < 1 << 63):
        return word
    raise typer.BadParameter(f"{word!r} is neither {NO_LIMIT!r} nor a whole number from 0 to {(1 << 63) - 1}")


def _word(word: Any) -> Any:
    """The word as it is: `version_number` reads it, which also knows the model."""
    return word


def version_number(context: typer.Context, word: Any) -> int | None:
    """The number of a version. Another word is wrong use, and the error says where the numbers are."""
    if word is None or isinstance(word, int):
        return word
    if word.isascii() and word.isdecimal() and 0 < int(word[:20]) < 1 << 63:
        return int(word[:20])
    model = context.params.get("model") or "MODEL"
    raise typer.BadParameter(f"{word!r} is not a version number; `modelry version list {model}` shows the numbers")


Filter = Annotated[str, typer.Option(help="Which ones: see docs/filters.md.", metavar="FILTER")]
FilterWord = Annotated[str, typer.Argument(help="Which ones: see docs/filters.md.", metavar="FILTER")]
OrderBy = Annotated[
    list[str] | None, typer.Option(help="A sort key, such as 'metrics.acc DESC'. Can be repeated.", metavar="KEY")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="The most to show. Default: 50 in a table, all in JSON.", metavar="N")
]
Deleted = Annotated[bool, typer.Option("--deleted", help="Show deleted ones instead of active ones.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", help="A tag. Can be repeated.", metavar="KEY=VALUE")]
TagWords = Annotated[list[str], typer.Argument(help="Tags.", metavar="KEY=VALUE...")]
TagKeys = Annotated[list[str], typer.Argument(help="Keys of tags.", metavar="KEY...")]
Reason = Annotated[str, typer.Option(help="Why, for the audit record.", metavar="TEXT")]
Description = Annotated[str, typer.Option(help="What it is.", metavar="TEXT")]
NewName = Annotated[str | None, typer.Option(help="The new name.")]
NewDescription = Annotated[str | None, typer.Option(help="The new description.", metavar="TEXT")]
AllowExisting = Annotated[bool, typer.Option("--allow-existing", help="Accept one that has the name already.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")]
ModelName = Annotated[str, typer.Argument(help="The registered model.", metavar="MODEL")]
ModelUri = Annotated[
    str, typer.Argument(help="The model: runs:/RUN/PATH, models:/NAME/NUMBER, or a folder.", metavar="URI")
]
CheckTimeout = Annotated[float, typer.Option(help="The most seconds that the check may take.", metavar="SECONDS")]
Number = Annotated[
    int, typer.Argument(help="The version number.", metavar="NUMBER", parser=_word, callback=version_number)
]
OtherNumber = Annotated[
    int, typer.Argument(help="The other version number.", metavar="OTHER", parser=_word, callback=version_number)
]
OfVersion = Annotated[
    int | None,
    typer.Option("--number", help="Only of this version.", metavar="NUMBER", parser=_word, callback=version_number),
]
ExperimentWord = Annotated[str, typer.Argument(help="The id or the name of the experiment.", metavar="EXPERIMENT")]
UserWord = Annotated[str, typer.Argument(help="The name or the id of a person or a service account.", metavar="USER")]
GroupName = Annotated[str, typer.Argument(help="The group.", metavar="GROUP")]
RunId = Annotated[str, typer.Argument(help="The run, 32 hexadecimal characters.", metavar="RUN_ID")]


def pairs(words: Sequence[str] | None) -> dict[str, str]:
    """`KEY=VALUE` words as a mapping. Another word is wrong use."""
    found: dict[str, str] = {}
    for word in words or ():
        key, separator, value = word.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"{word!r} is not KEY=VALUE")
        found[key] = value
    return found


def numbers(words: Sequence[str] | None) -> dict[str, float]:
    """`KEY=NUMBER` words as a mapping; `nan` and `inf` are numbers.

    Another word, or a number that is too large for 64 bits, is wrong use.
    """
    found: dict[str, float] = {}
    for key, value in pairs(words).items():
        try:
            found[key] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{key}={value!r} is not a number") from None
        if math.isinf(found[key]) and "inf" not in value.lower():
            raise typer.BadParameter(f"{key}={value!r} is too large; use at most 1.797e308, or write inf")
    return found


def agreed(question: str, yes: bool, *, warning: str = "This can't be undone.", by: str = "--yes") -> None:
    """Asks before something of which the warning says why. Without a terminal, the options `by` are required."""
    if yes:
        return
    if not sys.stdin.isatty():
        output.refuse(f"{question} {warning} There is no terminal to ask; confirm it with {by}")
        raise typer.Exit(2)
    typer.confirm(clean(f"{question} {warning}"), abort=True, err=True)
