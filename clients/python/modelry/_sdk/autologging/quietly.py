"""Work for the log that nobody sees: no warnings of it, and the random numbers that follow are as without it."""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()


class _Here:
    """A pattern of a warnings filter that matches everything, in threads that are quiet now."""

    pattern = "(?!)"
    """What scikit-learn hands to its worker processes in place of it: a pattern that matches nothing."""

    def match(self, module: str) -> bool:
        return getattr(_here, "depth", 0) > 0


# `warnings.catch_warnings` changes the filters of all threads, and two threads that leave it in another order than they
# entered it leave the wrong ones behind. This one entry stays where it is.
_ENTRY = ("ignore", None, Warning, _Here(), 0)


@contextmanager
def quietly() -> Iterator[None]:
    """Hides the warnings of this thread, and puts the states of Python's and NumPy's global random numbers back."""
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    if not filters or filters[0] is not _ENTRY:
        forget()
        filters.insert(0, _ENTRY)
    numpy = sys.modules.get("numpy.random")
    is_outermost = not getattr(_here, "depth", 0) and threading.current_thread() is threading.main_thread()
    states = (random.getstate(), numpy.get_state() if numpy else None) if is_outermost else None
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
        if states is not None:
            random.setstate(states[0])
            if numpy:
                numpy.set_state(states[1])


def forget() -> None:
    """Takes the entry out of the filters."""
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    filters[:] = [each for each in filters if each is not _ENTRY]
