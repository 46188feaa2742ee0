"""Waiting for what happens in another thread or process, with a limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")
Thing = TypeVar("Thing")


def eventually(question: Callable[[], Answer], *, within_s: float = 20.0) -> Answer:
    """Asks until the answer is true, and gives it; fails when the time is over."""
    until, pause = time.monotonic() + within_s, threading.Event()
    while not (answer := question()):
        if time.monotonic() > until:
            raise AssertionError(f"did not happen within {within_s} seconds; the last answer was {answer!r}")
        pause.wait(0.01)
    return answer


def at_once(actions: Sequence[Callable[[], Answer]]) -> list[Answer | Exception]:
    """Does everything at the same time, each on a thread of its own; gives each answer, or what was raised."""
    gate = threading.Barrier(len(actions))

    def one(action: Callable[[], Answer]) -> Answer | Exception:
        gate.wait(20)
        try:
            return action()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(one, actions))


def of(kind: type[Thing] | tuple[type[Thing], ...], answers: Sequence[object]) -> list[Thing]:
    """The answers of a kind."""
    return [answer for answer in answers if isinstance(answer, kind)]
