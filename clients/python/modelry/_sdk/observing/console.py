"""What this process writes to `sys.stdout` and `sys.stderr` while runs are open, sent to them in the background.

The method `write` of the streams is replaced, on the very objects that are there, by one that notes the text and calls
the original. So `isatty`, `fileno`, `buffer` and `encoding` are what they were, whoever has the stream at hand goes on
with it, and nothing stands between the process and its terminal. The file descriptors stay as they are: a pipe in their
place would hide the terminal from other programs, stop the process when it is full and nobody reads it (a library of C
that holds Python's lock), and swallow what is written as the process crashes.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from modelry._sdk.files import console as files
from modelry._sdk.observing.screen import Line, Screen
from modelry._sdk.observing.transcript import Files, Transcript
from modelry._sdk.recording import pool
from modelry._sdk.recording.agenda import Flush
from modelry._sdk.transport import interruptions, process, settings
from modelry._sdk.transport.interruptions import is_interrupted
from modelry._sdk.values import secrets

log = logging.getLogger("modelry")

_STREAMS = ("stdout", "stderr")
_WAKE = 1 << 20
"""About how many bytes in memory wake the thread."""
_MOST = 1 << 24
"""About how many bytes in memory there may be. Then those in the middle make room: the last lines matter most."""
_LONGEST = 1 << 22
"""The characters that are kept of what is written at once: half from its beginning, half from its end."""
_EACH = 64
"""About how many bytes a piece takes beside its text."""
_EXIT_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_FLUSH_SECONDS = 5.0
"""How long a flush waits for what was printed."""

_Text: TypeAlias = "tuple[int, int, str]"
"""The number of a stream, a moment and what was written."""
_Piece: TypeAlias = "_Text | _LeftOut | _Begins | _Ends | Flush"
"""A text; or that text is left out, or a run begins or ends here, or that somebody waits for it."""


class _Begins:
    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript


class _Ends(_Begins):
    pass


class _LeftOut:
    def __init__(self, moment: int, characters: int = 0) -> None:
        self.moment = moment
        self.characters = characters


class Console(process.Part):
    """The output of this process on its way to the open runs.

    No lock: a signal handler may write, and start or end a run, at any time. What is written comes to the thread by a
    deque, what wakes it by a queue of C.
    """

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, Callable[[str], int], Any]] = []
        """Streams, what `write` was replaced by, and what it had been, if that was an attribute of the object."""
        self._begin()

    def _begin(self) -> None:
        self._open: list[Transcript] = []
        """The runs that are open, as who starts and ends them knows."""
        self._pieces: deque[_Piece] = deque()
        self._ahead: deque[_Piece] = deque()
        """What comes before the pieces: what stays of those among which texts are left out."""
        self._noted = 0
        """About how many bytes were written and not left out. Only who writes changes it, and the thread `_taken`."""
        self._taken = 0
        self._unnoted = 0
        """The characters for which there was no memory."""
        self._told = False
        self._news: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def record(self, kept: Files) -> Transcript | None:
        """Keeps what is written from now on for a run, until `end`. None if the settings say no. Raises nothing."""
        if not settings.usable().console or not self._start():
            return None
        transcript = Transcript(kept)
        self._pieces.append(_Begins(transcript))
        self._open.append(transcript)
        self._replace()
        self._news.put(False)
        return transcript

    def end(self, transcript: Transcript, error: BaseException | None = None) -> None:
        """Ends the console of a run. It gets the traceback of the error that ended it, which is not printed yet."""
        if transcript not in self._open:
            return
        if error is not None and not isinstance(error, SystemExit):
            import traceback

            self._pieces.append((1, time.time_ns(), "".join(traceback.format_exception(error))))
        self._pieces.append(_Ends(transcript))
        with suppress(ValueError):
            self._open.remove(transcript)
        if not self._open:
            self._restore()
        if self._open:  # another thread has started a run meanwhile
            self._replace()
        self._news.put(False)

    def finish(self, timeout: float | None = None) -> bool:
        """Waits until what was written before is sent, for at most so many seconds (`MODELRY_TIMEOUT` for None).

        Says whether it is; of a run that has ended, a copy in the spool counts. While no server answers it tries once.
        """
        thread, asked = self._thread, Flush()
        if thread is None:
            return True
        if thread is threading.current_thread():  # such as a handler of logs, which can't wait for itself
            return False
        until = time.monotonic() + (settings.usable().timeout if timeout is None else timeout)
        self._pieces.append(asked)
        self._news.put(False)
        while not asked.answered and thread.is_alive() and time.monotonic() < until and not is_interrupted():
            asked.wait(min(_LOOK_SECONDS, until - time.monotonic()))
        return asked.complete

    def before_exit(self) -> None:
        """Sends the rest as `at_exit` does, unless other threads are still to end, which may write."""
        main = threading.main_thread()
        if all(thread is main or thread.daemon for thread in threading.enumerate()):
            self.at_exit()

    def at_exit(self) -> None:
        """Sends the rest, for at most a few seconds, and not after Ctrl-C."""
        for transcript in list(self._open):
            self.end(transcript)
        thread, until = self._thread, time.monotonic() + _EXIT_SECONDS
        self._news.put(True)
        while thread is not None and thread.is_alive() and time.monotonic() < until and not is_interrupted():
            thread.join(_LOOK_SECONDS)

    def abandon(self) -> None:
        """Leaves what is not sent yet."""
        self._restore()
        self._open = []
        self._thread = None
        self._news.put(True)

    def after_fork_in_child(self) -> None:
        """Leaves the runs of the parent to the parent: what a child writes is not part of them."""
        self._restore()
        self._begin()

    # --- the streams -------------------------------------------------------------------------------------------------

    def _replace(self) -> None:
        """Replaces `write` of the present streams, unless it is."""
        for number, name in enumerate(_STREAMS):
            stream = getattr(sys, name, None)
            if stream is None or any(stream is each for each, _, _ in self._replaced):
                continue
            try:
                own = vars(stream).get("write")
                write = self._noting(number, stream.write)
                stream.write = write
            except (AttributeError, TypeError) as problem:  # It is no object of Python's.
                log.debug("the output of sys.%s is not recorded: %s", name, problem)
            else:
                self._replaced.append((stream, write, own))

    def _restore(self) -> None:
        """Gives the streams their own `write`, unless somebody else has replaced ours, which goes on doing nothing."""
        while self._replaced:
            stream, write, own = self._replaced.pop()
            if vars(stream).get("write") is write:
                if own is None:
                    del stream.write
                else:
                    stream.write = own

    def _noting(self, number: int, original: Callable[[str], int]) -> Callable[[str], int]:
        now, append = time.time_ns, self._pieces.append  # of all that is done here, each print pays for twice

        def write(text: str, /) -> int:
            if self._open and isinstance(text, str):
                size = len(text) + _EACH
                self._noted = noted = self._noted + size
                try:
                    if noted - self._taken < _WAKE or self._has_room(number, text):
                        append((number, now(), text))
                except MemoryError:
                    self._unnoted += len(text)
            return original(text)

        return write

    def _has_room(self, number: int, text: str) -> bool:
        """Wakes the thread, once, and makes room for a text. Says whether it is still to be noted."""
        if not self._told:
            self._told = True
            self._news.put(False)
        if is_long := len(text) > _LONGEST:
            half, moment = _LONGEST // 2, time.time_ns()
            left_out = len(text) - 2 * half
            self._noted -= left_out
            self._pieces.append((number, moment, text[:half]))
            self._pieces.append(_LeftOut(moment, left_out))
            self._pieces.append((number, moment, text[-half:]))
        too_much = self._noted - self._taken - _MOST
        if too_much > 0:
            self._leave_out(too_much + _MOST // 8)  # more than has to be, so that not each print does it
        return not is_long

    def _leave_out(self, size: int) -> None:
        """Leaves out texts of about so many bytes, after the oldest ones that wait. All else stays, in its order."""
        to_keep = 0 if self._ahead else _MOST // 4
        done, gap = 0, self._take_last_gap()
        while done < size:
            try:
                piece = self._pieces.popleft()
            except IndexError:  # the thread has taken them meanwhile
                break
            if isinstance(piece, tuple) and to_keep <= 0:
                gap = gap or _LeftOut(piece[1])
                gap.characters += len(piece[2])
                done += len(piece[2]) + _EACH
                continue
            if isinstance(piece, tuple):
                to_keep -= len(piece[2]) + _EACH
            if gap:
                self._ahead.append(gap)
                gap = None
            self._ahead.append(piece)
        if gap:
            self._ahead.append(gap)
        self._noted -= done

    def _take_last_gap(self) -> _LeftOut | None:
        """That after which nothing has been kept, so that it goes on."""
        with suppress(IndexError):  # the thread has taken it
            piece = self._ahead.pop()
            if isinstance(piece, _LeftOut):
                return piece
            self._ahead.append(piece)
        return None

    # --- the thread --------------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        if self._thread is not None and self._thread.is_alive():
            return True
        # Two threads may come here at once, or one and its signal handler: all but one of the new threads do nothing.
        thread = threading.Thread(target=self._run, args=(self._news,), name="modelry-console", daemon=True)
        self._thread = thread
        if problem := interruptions.start(thread):
            self._thread = None
            log.debug("no thread for console output: %s", problem)
            return False
        return True

    def _run(self, news: SimpleQueue[bool]) -> None:
        works = _Works()
        due = 0.0
        is_over = False
        while not is_over:
            with suppress(Empty):
                wait = max(0.0, due - time.monotonic()) if works.transcripts else None
                is_over = news.get(timeout=0.0 if self._pieces else wait)
            if self._thread is not threading.current_thread():
                news.put(is_over)  # for the one that is
                return
            try:
                self._fold(works)
                while is_over and self._pieces:
                    self._fold(works)
                if is_over or time.monotonic() >= due or works.has_ended or works.asked:
                    due = time.monotonic() + settings.usable().console_interval
                    works.send()
            except Exception:  # nothing of this may reach the program
                log.debug("console output is incomplete", exc_info=True)

    def _fold(self, works: _Works) -> None:
        """Takes what was written since the last time; what is written much faster than that, not all at once."""
        self._told = False
        if self._unnoted:
            works.take(_LeftOut(time.time_ns(), self._unnoted))
            self._unnoted = 0
        taken = 0
        while taken < _WAKE and (piece := self._next()) is not None:
            works.take(piece)
            if isinstance(piece, tuple):
                size = len(piece[2]) + _EACH
                taken += size
                self._taken += size
        if not self._pieces:
            self._taken = self._noted  # what threads that wrote at once have counted wrong
        works.give_final()

    def _next(self) -> _Piece | None:
        for pieces in (self._ahead, self._pieces):
            if pieces:
                with suppress(IndexError):  # who writes has left them out
                    return pieces.popleft()
        return None


class _Works:
    """What the thread has in hand: the screens of the streams, and the runs that get their lines."""

    def __init__(self) -> None:
        self.transcripts: list[Transcript] = []
        self._screens = [Screen() for _ in _STREAMS]
        self._blocks = [secrets.KeyBlock() for _ in _STREAMS]
        self.asked: list[Flush] = []

    @property
    def has_ended(self) -> bool:
        """Whether a run has ended that has not all of its lines yet."""
        return any(transcript.is_over for transcript in self.transcripts)

    def take(self, piece: _Piece) -> None:
        """Takes what was written, that a run begins or ends here, or that somebody waits."""
        if isinstance(piece, Flush):
            self.asked.append(piece)
            return
        if isinstance(piece, tuple):
            number, moment, text = piece
            self._screens[number].write(text, moment)
            return
        self.give_final()
        if isinstance(piece, _LeftOut):
            self._leave_out(piece)
            return
        if isinstance(piece, _Ends):
            piece.transcript.add(self._written_rest())
            piece.transcript.is_over = True
        else:
            if not self.transcripts:
                self._screens = [Screen() for _ in _STREAMS]
                self._blocks = [secrets.KeyBlock() for _ in _STREAMS]
            self.transcripts.append(piece.transcript)

    def _leave_out(self, gap: _LeftOut) -> None:
        """Says where text is missing: what comes next does not go on with what was before."""
        text = f"… {gap.characters:,} characters are left out here"
        self.add([*self._rest(), (1, (gap.moment, text))])
        self._screens = [Screen() for _ in _STREAMS]

    def give_final(self) -> None:
        """Gives the runs the lines that can't change any more."""
        self.add([(number, line) for number, screen in enumerate(self._screens) for line in screen.take_final()])

    def add(self, lines: list[tuple[int, Line]]) -> None:
        """Gives the runs these lines."""
        if lines and self.transcripts:
            content = _written(lines, self._blocks)
            for transcript in self.transcripts:
                if not transcript.is_over:
                    transcript.add(content)

    def send(self) -> None:
        """Sends to each run what is new, lets go of those that have ended, and answers those who wait for it."""
        asked, self.asked = self.asked, []
        is_sent = False
        try:
            rest = self._written_rest(is_final=False)
            is_sent = all([each.send(b"" if each.is_over else rest, is_last=each.is_over) for each in self.transcripts])
            self.transcripts = [each for each in self.transcripts if not each.is_over]
        finally:
            for flush in asked:
                flush.answer(complete=is_sent)

    def _written_rest(self, *, is_final: bool = True) -> bytes:
        """The lines that can still change, as they are now."""
        return _written(self._rest(), [replace(block) for block in self._blocks], is_final=is_final)

    def _rest(self) -> list[tuple[int, Line]]:
        return [(number, line) for number, screen in enumerate(self._screens) for line in screen.rest()]


def finish(timeout: float | None = None) -> bool:
    """Waits for the console output of this process; see `Console.finish`."""
    return process.current().part(Console).finish(timeout)


def delivered(deliver: Callable[[float | None], bool], timeout: float | None) -> bool:
    """Delivers what was logged, for at most so many seconds, and what was printed; says whether what was logged is.

    What was printed comes first, since some of it may go to the spool, and again, if the server did not know the run.
    It is waited for while the server takes it, and a few seconds where it does not: nobody has logged it.
    """
    began = time.monotonic()
    limit = _FLUSH_SECONDS if timeout is None else min(timeout, _FLUSH_SECONDS)
    is_sent = finish(limit)
    waited = time.monotonic() - began
    is_done = deliver(None if timeout is None else max(0.0, timeout - waited))
    if is_done and not is_sent:
        finish(max(0.0, limit - waited))
    return is_done


def catch_up(timeout: float) -> None:
    """Delivers what was logged and printed, so that the next read finds it; see `pool.catch_up`."""
    until = time.monotonic() + timeout
    pool.catch_up(timeout)
    finish(max(0.0, until - time.monotonic()))


def _written(lines: list[tuple[int, Line]], blocks: list[secrets.KeyBlock], *, is_final: bool = True) -> bytes:
    """Lines of both streams in the order of their time, with secrets masked; `blocks` are the keys of the streams."""
    lines = sorted(lines, key=lambda each: each[1][0])
    masked = [
        iter(secrets.masked_lines((text for each, (_, text) in lines if each == number), block))
        for number, block in enumerate(blocks)
    ]
    return b"".join(
        files.written(moment, _STREAMS[number], next(masked[number]), is_final=is_final)
        for number, (moment, _) in lines
    )
