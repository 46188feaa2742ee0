"""Texts that are numbers, as params are: their value, and whether two of them are the same."""

import re
from decimal import Decimal

_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,5})?|[-+]?(?:inf|infinity)", re.IGNORECASE
)
_LONGEST = 400
"""The most characters of a number. A double has at most 325 digits before or after its point."""


def number_of(text: str) -> float | None:
    """The number that a text is, as the filter language writes numbers, or infinity; None for any other text."""
    return float(text) if _is_number(text) else None


def are_equal(one: str, other: str) -> bool:
    """Whether two texts are the same, or the same number, such as 10 and 10.0. Numbers are compared exactly."""
    return one == other or (_is_number(one) and _is_number(other) and Decimal(one) == Decimal(other))


def _is_number(text: str) -> bool:
    return len(text) <= _LONGEST and _NUMBER.fullmatch(text) is not None
