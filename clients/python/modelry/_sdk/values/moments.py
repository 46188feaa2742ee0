"""Times as milliseconds since 1970."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

from modelry._sdk.values import signals
from modelry._sdk.values.numbers import number_of

_OTHER_UNITS = {"seconds": 1_000, "microseconds": 1e-3, "nanoseconds": 1e-6}
_NOT_A_TIME = -(2**63)
"""NumPy's number for NaT."""
_NO_TIME = 2**63
"""What is no time in any unit. A whole number may be so large that it is no float."""
USUAL = range(946_684_800_000, 4_102_444_800_000)
"""The milliseconds of the years 2000 to 2099: what a training has."""


def milliseconds_of(moment: Any) -> Any:
    """A time in milliseconds since 1970: of a number, or of a date and time of Python, NumPy or pandas.

    A number that is within the years 2000 to 2099 as seconds, microseconds or nanoseconds is taken as such: as
    milliseconds it would be in 1970, or tens of thousands of years away. What is not a time is returned as it is.
    """
    try:
        if isinstance(moment, date):
            return _of_date(moment)
        if _has_unit(moment):
            milliseconds = int(moment.astype("datetime64[ms]").astype("int64"))
            return moment if milliseconds == _NOT_A_TIME else milliseconds
        if isinstance(moment, str | bytes | bool):
            return moment
        number = number_of(moment)
        return int(number * _OTHER_UNITS.get(unit_of(number), 1)) if isinstance(number, int | float) else moment
    except Exception as problem:  # NaN, or the code of another library, which may raise anything.
        signals.pass_on(problem)
        return moment


def unit_of(moment: Any) -> str:
    """The unit, other than milliseconds, in which a number is a time of the years 2000 to 2099; empty for none."""
    number = "" if isinstance(moment, str | bytes | bool) or _has_unit(moment) else number_of(moment)
    if not isinstance(number, int | float) or abs(number) >= _NO_TIME:
        return ""
    fitting = (unit for unit, factor in _OTHER_UNITS.items() if USUAL.start <= number * factor < USUAL.stop)
    return next(fitting, "")


def _has_unit(moment: Any) -> bool:
    """Whether it is a time of NumPy, which knows its unit."""
    try:
        return hasattr(moment, "astype") and "datetime64" in str(moment.dtype)
    except Exception as problem:  # It is the code of another library, which may raise anything.
        signals.pass_on(problem)
        return False


def _of_date(moment: date) -> int:
    full = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
    return int(full.timestamp() * 1000)
