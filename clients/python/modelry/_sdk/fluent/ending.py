"""How the process ends, or one of its threads: what Python tells nobody at exit is noted when it happens."""

from __future__ import annotations

import builtins
import dis
import functools
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple

from modelry._sdk.nouns.enums import RunStatus
from modelry._sdk.transport import process
from modelry._sdk.values import secrets
from modelry._sdk.values.texts import is_printable, text_of

_TOOLS = (4, 3)
"""The numbers of `sys.monitoring` that are nobody's: the others belong to debuggers, coverage, profilers."""


CODE, SIGNAL, ERROR = "modelry.exit.code", "modelry.exit.signal", "modelry.exit.error"
"""The tags that say how a run ended."""
_ERROR_LENGTH = 500


class Ended(NamedTuple):
    """How the code of a run ended: the status of the run, and the tags that say more."""

    status: RunStatus
    tags: Mapping[str, str]


class Ending(process.Part):
    """Notes how the process ends: by an error that nobody catches, by SystemExit, or well.

    What counts is what left the outermost code of the main thread: the error of a cell of a notebook did not, and
    neither did a SystemExit that somebody caught. Since Python 3.12 every SystemExit is seen, in 3.11 only that of
    `sys.exit`, `exit` and `quit`.
    """

    def __init__(self) -> None:
        self._exit: SystemExit | None = None
        self._outermost: FrameType | None = None
        self._of_threads: weakref.WeakKeyDictionary[threading.Thread, Ended] = weakref.WeakKeyDictionary()

    def watch(self) -> None:
        """Begins to note. Calling it again does nothing."""
        if self._outermost is None:
            self._outermost = _outermost_frame()
        if not _monitors():
            _hook(sys, "exit", _note_exit)
            if (quitter := getattr(builtins, "exit", None)) is not None:  # the module `site` makes it
                _hook(type(quitter), "__call__", _note_quit)
        _hook(threading, "excepthook", _note_thread)

    def of_process(self) -> Ended:
        """How the runs ended that the process has left, as far as it depends on the process. For the exit."""
        # A child of multiprocessing leaves while it handles the error that ended it.
        error = sys.exc_info()[1]
        is_left = error is None and self._outermost is not None and not _has_returned(self._outermost)
        if is_left and self._outermost is not None:
            uncaught = getattr(sys, "last_value", None)
            trace = getattr(uncaught, "__traceback__", None)
            error = uncaught if trace is not None and trace.tb_frame is self._outermost else self._exit
        ended = ended_after(error)
        if number := process.current().ended_by:
            return ended._replace(tags={**ended.tags, SIGNAL: signal.Signals(number).name})
        if SIGNAL in ended.tags or CODE in ended.tags or (is_left and error is None):  # by a SystemExit unseen
            return ended
        return ended._replace(tags={**ended.tags, CODE: "0" if error is None else "1"})

    def of_thread(self, thread: threading.Thread) -> Ended:
        """How the runs ended that a thread has left, as far as it depends on the thread."""
        return self._of_threads.get(thread, Ended(RunStatus.FINISHED, {}))

    def note_exit(self, error: SystemExit) -> None:
        """Notes a call of `sys.exit`."""
        if threading.current_thread() is threading.main_thread():
            self._exit = SystemExit(error.code)  # without its frames, which hold what they had in hand

    def note_thread(self, thread: threading.Thread | None, error: BaseException | None) -> None:
        """Notes the error that ends a thread."""
        if thread is not None and error is not None:
            self._of_threads[thread] = ended_after(error)


def status_after(error: BaseException | None) -> RunStatus:
    """The status of a run whose code ended with this error, or without one."""
    if error is None or isinstance(error, GeneratorExit):
        return RunStatus.FINISHED
    if isinstance(error, SystemExit):
        # As Python does: None and 0 are success, any other number and any text are failure.
        well = error.code is None or (isinstance(error.code, int) and error.code == 0)
        return RunStatus.FINISHED if well else RunStatus.FAILED
    return RunStatus.KILLED if _is_interrupted(error) or _is_cancelled(error) else RunStatus.FAILED


def ended_after(error: BaseException | None) -> Ended:
    """How a run ended whose code ended with this error, or without one.

    The tags have what is known of it: the exit code that a SystemExit asks for, the signal behind a KeyboardInterrupt,
    and the type and the message of any other error, on one line of at most 500 characters, with secrets masked.
    """
    tags = {}
    if isinstance(error, SystemExit):
        # As Python ends: 0 for None, the last byte of a number, and 1 for anything else.
        code = 0 if error.code is None else error.code
        tags[CODE] = str(code & 255 if isinstance(code, int) else 1)
        if not isinstance(code, int):
            tags[ERROR] = _told(error)
    elif error is not None and _is_interrupted(error):
        tags[SIGNAL] = "SIGINT"
    elif error is not None and not isinstance(error, GeneratorExit):
        tags[ERROR] = _told(error)
    return Ended(status_after(error), tags)


def _told(error: BaseException) -> str:
    said = " ".join(secrets.masked_text(text_of(error)).split())  # in a table, spaces tell a name from its value
    told = secrets.masked(f"{type(error).__qualname__}: {said}" if said else type(error).__qualname__)
    told = "".join(letter if is_printable(letter) else "?" for letter in told)
    return told if len(told) <= _ERROR_LENGTH else f"{told[: _ERROR_LENGTH - 1]}…"


def _is_interrupted(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


def _is_cancelled(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _note_exit(status: Any = None) -> None:
    process.current().part(Ending).note_exit(SystemExit(status))


def _note_quit(quitter: object, code: Any = None) -> None:
    _note_exit(code)


def _note_unwound(code: object, offset: int, error: BaseException) -> None:
    if isinstance(error, SystemExit):
        process.current().part(Ending).note_exit(error)


def _monitors() -> bool:
    """Has each SystemExit noted that leaves a function; says whether Python can do that."""
    if sys.version_info < (3, 12):
        return False
    monitoring = sys.monitoring
    names = {number: monitoring.get_tool(number) for number in _TOOLS}
    if "modelry" in names.values():
        return True
    free = [number for number, name in names.items() if name is None]
    if not free:
        return False
    monitoring.use_tool_id(free[0], "modelry")
    monitoring.register_callback(free[0], monitoring.events.PY_UNWIND, _note_unwound)
    monitoring.set_events(free[0], monitoring.events.PY_UNWIND)
    return True


def _note_thread(args: threading.ExceptHookArgs) -> None:
    process.current().part(Ending).note_thread(args.thread, args.exc_value)


def _hook(module: Any, name: str, note: Callable[..., None]) -> None:
    """Calls `note` before a function of a module, with the same arguments."""
    original = getattr(module, name, None)
    if original is None or getattr(original, "__modelry_note__", None) is note:
        return

    @functools.wraps(original)
    def noted(*args: Any, **kwargs: Any) -> Any:
        note(*args, **kwargs)
        return original(*args, **kwargs)

    noted.__modelry_note__ = note  # type: ignore[attr-defined]
    setattr(module, name, noted)


def _outermost_frame() -> FrameType | None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _has_returned(frame: FrameType) -> bool:
    """Whether the code of a frame that has ended came to its end, and was not left by an error."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")
