"""Holds back signals while the main thread does work that must not be left half done, such as a call of gRPC.

A handler of a signal, such as that of Ctrl-C, runs in the main thread between any two steps, and may raise there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Runs the handlers of signals that come meanwhile at the end, in order. What it yields says whether one came.

    Then the work should end soon. In other threads than the main one it does nothing: no handler runs there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    held = _Held()
    try:
        held.begin()
        yield lambda: bool(held.came)
    finally:
        held.end()


class _Held:
    """The handlers that are replaced, and the signals that came."""

    def __init__(self) -> None:
        self.came: list[tuple[int, FrameType | None]] = []
        self._handlers: dict[int, Any] = {}
        self._holds = True

    def begin(self) -> None:
        """Replaces the handlers that are functions of Python; others, such as the default ones, raise nothing."""
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._note)

    def end(self) -> None:
        """Puts the handlers back, then runs them for what came. What one of them raises goes to the caller."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        self._holds = False
        while self.came:
            number, frame = self.came.pop(0)
            self._handlers[number](number, frame)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._holds:
            self.came.append((number, frame))
        else:
            self._handlers[number](number, frame)
