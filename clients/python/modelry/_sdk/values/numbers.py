"""Numbers of other libraries as Python's."""

from __future__ import annotations

import operator
from typing import Any

from modelry._sdk.values import signals


def number_of(given: Any) -> Any:
    """The number of a numeric text, or of an array or tensor of one element; else what was given."""
    if isinstance(given, int | float):
        return given
    try:
        one = float(given) if isinstance(given, str) else given.item()
    except Exception as problem:  # It is the code of another library, which may raise anything.
        signals.pass_on(problem)
        return given
    return float(one) if isinstance(one, int | float) else given


def real_of(given: Any) -> Any:
    """What was given, unless it is a complex number, of which NumPy would keep the real part. Raises TypeError."""
    if getattr(getattr(given, "dtype", None), "kind", "") == "c":
        raise TypeError("it is a complex number, so log its magnitude, or its real part")
    return given


def whole_of(given: Any) -> Any:
    """The whole number of a number, array or tensor that is one, such as a step of 3.0; else what was given."""
    if isinstance(given, str | bytes):
        return given
    number = number_of(given)
    try:
        return int(number) if isinstance(number, float) and number.is_integer() else operator.index(number)
    except Exception as problem:
        signals.pass_on(problem)
        return given
