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

    Then the work should end soon. Of what the handlers raise the first goes to the caller. In other threads than the
    main one this does nothing: no handler runs there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    held = _Held()
    _at_work.append(held)
    try:
        held.begin()
        yield is_signaled
    finally:
        held.end()


def is_signaled() -> bool:
    """Whether a signal is held back, so that what is at work should end soon."""
    return any(held.came for held in _at_work)


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
        """Puts the handlers back, and runs them for what came, all of them whatever one raises."""
        try:
            for number, handler in self._handlers.items():
                if signal.getsignal(number) == self._note:
                    signal.signal(number, handler)
        finally:
            # From here on a handler that was not put back is called as if it had been.
            self._holds = False
            _at_work.remove(self)
            self._run()

    def _run(self) -> None:
        if self.came:
            number, frame = self.came.pop(0)
            try:
                self._handlers[number](number, frame)
            finally:
                self._run()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._holds:
            self.came.append((number, frame))
        else:
            self._handlers[number](number, frame)


_at_work: list[_Held] = []
"""What holds signals back now, the outermost first."""
