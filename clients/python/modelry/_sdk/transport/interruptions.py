"""Holds back signals while the main thread does work that must not be left half done, such as a call of gRPC.

A handler of a signal, such as that of Ctrl-C, runs in the main thread between any two steps, and may raise there.
Whether it raises can't be known before it has run. So handlers run where the work asks whether it is interrupted, which
it does only between its steps; what they raise waits for the end of the work.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Runs the handlers of signals that come meanwhile where the work calls what this yields, and at the end, in order.

    It yields `is_interrupted`. At the end the caller gets the first of what the handlers raised. Within another such
    block, and in other threads than the main one, this does nothing: no handler runs there.
    """
    global _held
    if threading.current_thread() is not threading.main_thread() or _held is not None:
        yield is_interrupted
        return
    held = _Held()
    try:
        _held = held
        held.begin()
        yield is_interrupted
    finally:
        held.end()


def is_interrupted() -> bool:
    """Runs the handlers of the signals that came; says whether one has raised, so that the work should end soon.

    To be called between two steps of the work. It is always false in other threads than the main one.
    """
    if _held is None or threading.current_thread() is not threading.main_thread():
        return False
    return _held.run()


def hurry() -> None:
    """Has the work of this block end soon, as if a handler had raised."""
    if _held is not None and threading.current_thread() is threading.main_thread():
        _held.is_hurried = True


def handled() -> int:
    """How many handlers ran so far at the end of what was held back, or between its steps."""
    return _handled


def start(thread: threading.Thread) -> RuntimeError | None:
    """Starts a thread with signals held back: a handler that raises would leave one that is half started.

    Gives the error if none can be started: there are no more threads, or Python ends.
    """
    with held_back():
        try:
            thread.start()
        except RuntimeError as problem:
            return problem
    return None


class _Held:
    """The handlers that are replaced, the signals that came, and what handlers raised."""

    def __init__(self) -> None:
        self._came: deque[tuple[int, FrameType | None, int]] = deque()
        """The number, the frame, and the process to which it came."""
        self._raised: list[BaseException] = []
        self._handlers: dict[int, Any] = {}
        self.is_hurried = False

    def begin(self) -> None:
        """Replaces the handlers that are functions of Python; others, such as the default ones, raise nothing."""
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._note)

    def run(self) -> bool:
        """Runs the handlers for what came, all of them whatever one raises; says whether one has raised.

        While one runs nothing is held back, so that another signal can interrupt it as always.
        """
        global _held, _handled
        holding = _held
        while self._came:
            number, frame, came_to = self._came.popleft()
            _handled += 1
            try:
                _held = None
                if came_to == os.getpid():
                    self._handlers[number](number, frame)
            except BaseException as raised:
                self._raised.append(raised)
            finally:
                _held = holding
        return self.is_hurried or bool(self._raised)

    def end(self) -> None:
        """Puts the handlers back, and runs those that did not run yet. Raises the first of what handlers raised."""
        global _held
        try:
            self.run()
            for number, handler in self._handlers.items():
                if signal.getsignal(number) == self._note:
                    signal.signal(number, handler)
        finally:
            # From here on a handler that was not put back is called as if it had been.
            _held = None
            self.run()
            if self._raised:
                try:
                    raise self._raised[0]
                finally:
                    self._raised.clear()  # or the error and its frames would hold each other

    def end_in_child(self) -> None:
        """Puts the handlers back in a forked child. What came to the parent, and what it raised there, stays there."""
        self._raised.clear()
        self.end()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if _held is self:
            self._came.append((number, frame, os.getpid()))
        else:
            self._handlers[number](number, frame)


_held: _Held | None = None
"""What holds signals back now."""
_handled = 0


def _after_fork_in_child() -> None:
    # The thread that holds back may not exist here, and then nobody would ever run what is held back.
    if _held is not None:
        _held.end_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
