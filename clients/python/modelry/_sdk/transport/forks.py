"""Makes gRPC survive `os.fork`.

gRPC's threads do not exist in a forked child, and a call that is under way while the process forks leaves its locks
held there for ever. Measured on grpcio 1.85: without fork support every call in a child hangs; with it, calls work in
the child when no thread is inside gRPC at the moment of the fork. So all calls of the SDK pass a gate: a fork closes
it, cancels the calls of the background (they are sent again), waits for the others, and opens it afterwards.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

from modelry.errors import Unavailable

PATIENCE_SECONDS = 5.0
"""How long a fork waits for calls that other threads are in."""


_CALLS = os.path.join("grpc", "_channel.py")
_WAITING = {"_blocking", "_consume_next_event"}


class Cancellable(Protocol):
    """A call under way that may be given up, because its sender will send it again."""

    def cancel(self) -> object:
        """Ends the call soon."""


_condition = threading.Condition()
_closed = False
_foreground = 0
_background: set[Cancellable] = set()
_in_child: list[Callable[[], None]] = []
_grpc_was_loaded_without_fork_support = False
_others_in_call = False
_unusable = False
_watching = False


def enter() -> None:
    """Passes the gate before a call, and waits while the process forks.

    Raises Unavailable in a child whose parent was in the middle of a call: there gRPC would hang.
    """
    global _foreground
    with _condition:
        _wait_until_open()
        _foreground += 1


def leave() -> None:
    """Says that the call that entered is over."""
    global _foreground
    with _condition:
        _foreground -= 1
        if _closed:
            _condition.notify_all()


def begin(start: Callable[[], Cancellable]) -> Cancellable:
    """Starts a call of the background behind the gate, so that a fork cancels it."""
    with _condition:
        _wait_until_open()
        call = start()
        _background.add(call)
        return call


def end(call: Cancellable) -> None:
    """Says that a call of the background is over."""
    with _condition:
        _background.discard(call)
        if _closed:
            _condition.notify_all()


def usable() -> bool:
    """Whether this process may use gRPC. Not in a child whose parent was in the middle of a call."""
    return not _unusable


def on_child(action: Callable[[], None]) -> None:
    """Registers what a forked child does before anything else, in the order of registration."""
    _in_child.append(action)


def _wait_until_open() -> None:
    while _closed:
        _condition.wait()
    if _unusable:
        raise Unavailable(
            "this process was forked while its parent was in the middle of a call, so it can't speak to the server; "
            "what it logs is kept in the spool; start the process by `spawn`, or import modelry before grpc",
            reason="FORKED_IN_CALL",
        )


def _before() -> None:
    global _closed, _others_in_call
    _condition.acquire()
    _closed = True
    for call in tuple(_background):
        call.cancel()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (_background or _foreground) and time.monotonic() < deadline:
        _condition.wait(0.1)
    _others_in_call = _grpc_is_called_by_others()


def _grpc_is_called_by_others() -> bool:
    """Whether a thread waits in a call that did not pass the gate: gRPC is used by more than this SDK."""
    return any(
        frame.f_code.co_filename.endswith(_CALLS) and frame.f_code.co_name in _WAITING
        for frame in sys._current_frames().values()
    )


def _keep_grpc_from_closing() -> None:
    """Stops gRPC's own handler in this child, which would close its channels and wait for threads that are not here.

    The flag is gRPC's own way to say that a fork came at a bad time; where it is missing, nothing is changed.
    """
    cygrpc = sys.modules.get("grpc._cython.cygrpc")
    if hasattr(cygrpc, "_fork_handler_failed"):
        cygrpc._fork_handler_failed = True  # type: ignore[union-attr]


def _after_in_parent() -> None:
    global _closed
    _closed = False
    _condition.notify_all()
    _condition.release()


def _after_in_child() -> None:
    global _closed, _condition, _foreground, _unusable
    in_call = bool(_background or _foreground or _others_in_call)
    _unusable = _unusable or in_call or (_grpc_was_loaded_without_fork_support and "grpc" in sys.modules)
    if _unusable:
        _keep_grpc_from_closing()
    _condition = threading.Condition()
    _closed = False
    _foreground = 0
    _background.clear()
    for action in _in_child:
        action()


def watch() -> None:
    """Begins to guard forks. Must come after gRPC is initialized, that is, after the first channel is made.

    What is registered last runs first before a fork: gRPC stops its threads then, and cancelled calls need them.
    """
    global _watching
    with _condition:
        if not _watching and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before, after_in_parent=_after_in_parent)
        _watching = True


# gRPC reads the variable when it is first imported, which this module must precede.
if "GRPC_ENABLE_FORK_SUPPORT" not in os.environ:
    _grpc_was_loaded_without_fork_support = "grpc" in sys.modules
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "1"

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
