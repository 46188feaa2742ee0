"""Tells what a handler of a signal raised from what the code of another library raised.

A handler runs in the main thread between any two steps, so also while a value of another library is read. What it
raises, such as the TimeoutError of a time limit, is meant for the training code and is no fault of the value.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from types import CodeType
from typing import Any


def pass_on(problem: Exception) -> None:
    """Raises the problem again if a handler of a signal raised it. For every `except Exception` around foreign code."""
    handlers = set(_codes())
    step = problem.__traceback__
    while step is not None:
        if step.tb_frame.f_code in handlers:
            raise problem
        step = step.tb_next


def _codes() -> Iterator[CodeType]:
    """The code of the handlers that are functions of Python."""
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if callable(handler):
            code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
            if isinstance(code, CodeType):
                yield code
