"""Questions to drivers, which may hang: each is asked on a thread of its own and waited for for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

SECONDS = 2.0
"""How long an answer is waited for. A working driver needs milliseconds."""

_Answer = TypeVar("_Answer")


class Driver(Generic[_Answer]):
    """Asks one driver. While a question is not answered, however long, no other one is asked."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None

    def ask(self, question: Callable[[], _Answer], *, seconds: float | None = None) -> _Answer | None:
        """The answer. None if there is none in so many seconds, by default 2. A question must raise nothing."""
        if self._thread is not None and self._thread.is_alive():
            return None
        answers: SimpleQueue[_Answer] = SimpleQueue()
        self._thread = threading.Thread(
            target=lambda: answers.put(question()), name=f"modelry-driver-{self._name}", daemon=True
        )
        try:
            self._thread.start()
            return answers.get(timeout=SECONDS if seconds is None else seconds)
        except (RuntimeError, Empty):  # There are no more threads, or Python ends; or the driver hangs.
            return None
