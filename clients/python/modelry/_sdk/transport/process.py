"""What belongs to this process as a whole: the chosen server, what happens after a fork, and what happens at exit.

gRPC does not survive a fork: its threads do not exist in the child, and its locks may be held there for ever. Therefore
a process that was forked after its parent had loaded gRPC never uses gRPC. In such a child

- logging works: what is logged is written to the spool, and the parent delivers it while it runs and when it ends (or
  `modelry sync` does);
- `start_run` works: the run starts offline and is created by that delivery;
- what is logged to the run that was active in the parent belongs to that run, which the parent ends;
- `flush` writes to the spool, and returns False, because nothing is on the server yet;
- every other call (reading, creating experiments or models) raises Unavailable at once.

If the parent had not loaded gRPC, the child is a process like any other: it has connections of its own. Which process
gets what:

- `os.fork`: the rule above. `os._exit` skips everything that happens at exit, as it does for all of Python: call
  `modelry.flush()` first, or up to 0.2 seconds of what was logged are lost.
- `multiprocessing` with `fork` (the default on Linux up to Python 3.13), `ProcessPoolExecutor`: the rule above. What a
  process logs is safe when it ends, also by SIGTERM, as at the end of `with Pool()`. For that it gets a handler of
  SIGTERM if its main thread logs and there is none. A process that is killed loses up to 0.2 seconds.
- A worker of PyTorch's `DataLoader` on Linux: a child by `fork`, so the rule above.
- `multiprocessing` with `spawn`: a new Python process with connections of its own. It knows the environment, and no run
  of the parent: pass it the run id.
- `multiprocessing` with `forkserver`: the same as `spawn`, unless the server preloads a module that loads gRPC.
- `subprocess`, and `!command`, `%%bash` or `%%python` in Jupyter: another program. A fork precedes it, which disturbs
  nothing. It knows the environment, and no run of the notebook.

A child of `os.fork` that is forked inside a loop over a streamed answer, such as that of `client.metrics.read_many`,
must end by `os._exit`: closing the stream would call gRPC.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Protocol, TypeVar
from weakref import WeakSet

from modelry._sdk.transport.interruptions import handled, held_back, hurry, start
from modelry.errors import Unavailable

log = logging.getLogger("modelry")


class Part:
    """Something that a process has once. Parts are told of forks and of the exit."""

    def after_fork_in_parent(self) -> None:
        """Called in the parent after each fork."""

    def after_fork_in_child(self) -> None:
        """Called in a forked child before anything else: every lock may be held, and there is only one thread."""

    def before_exit(self) -> None:
        """Called when the main thread has ended, before `at_exit`, and perhaps not: threads can still be started.

        Since Python 3.12 they can't at exit, and gRPC needs one to send a file.
        """

    def at_exit(self) -> None:
        """Called when the process ends."""

    def abandon(self) -> None:
        """Called by `renew`: ends threads and channels, which would go on beside those of the new state."""


class Turn(Part):
    """A lock that a process has once, of a subclass for each use. In a forked child it is free."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def after_fork_in_child(self) -> None:
        """Forgets the lock, which a thread of the parent may hold."""
        self.lock = threading.RLock()


_Part = TypeVar("_Part", bound=Part)


class Process:
    """The state of this process. There is one, which `current` answers with."""

    def __init__(self, *, inherits_grpc: bool = False) -> None:
        self.inherits_grpc = inherits_grpc
        """Whether this process was forked after its parent had loaded gRPC, so that it must never use it."""
        self.chosen_uri = ""
        """The tracking URI that was chosen in this process. Empty: that of the environment."""
        self._tokens: dict[str, str] = {}
        """The tokens that were given for servers in this process, by target."""
        self._parts: dict[type[Part], Part] = {}
        self.ended_by = 0
        """The number of the signal that ends this process, where it was told of it. Else 0."""
        self.left_by_interrupt = False
        """Whether a KeyboardInterrupt that nobody caught ends this process."""
        self._exit_prepared_in = 0
        self._is_told_of_exit = False
        self._ends = False
        self._hurries = False
        """Whether Ctrl-C came before the exit, so that there it is not waited for a server."""

    @property
    def tracking_uri(self) -> str:
        """The tracking URI that was chosen in this process, else that of the environment, else the default."""
        from modelry._sdk.transport import settings  # here, since `import modelry` loads this module

        return self.chosen_uri or settings.tracking_uri()

    def choose_tracking_uri(self, uri: str | None, token: str | None = None) -> None:
        """Chooses the tracking URI of this process; None or an empty one undoes it. Raises InvalidArgument.

        A `token` is that of its server from now on, also for what is under way.
        """
        from modelry._sdk.transport import settings

        if uri or token is not None:
            address = settings.parse_address(uri or settings.tracking_uri())
            if token is not None:
                self._tokens[address.target] = token
        self.chosen_uri = uri or ""

    def token_for(self, target: str) -> str | None:
        """The token that was given for a server in this process."""
        return self._tokens.get(target)

    def part(self, kind: type[_Part]) -> _Part:
        """The part of a kind, made when it is first asked for. A part may use those that were made before it."""
        found = self._parts.get(kind)
        if found is None:  # No lock: a signal handler may come here at any time. The first one made is kept.
            found = self._parts.setdefault(kind, kind())
        assert isinstance(found, kind)
        return found

    def require_grpc(self) -> None:
        """Raises Unavailable if this process must not use gRPC."""
        if self.inherits_grpc:
            raise Unavailable(
                "this process was forked after its parent had loaded gRPC, which does not survive a fork, so it can't "
                "call the server; make the call in the parent, or start this process by the method 'spawn' (what is "
                "logged here is kept in the spool, and the parent delivers it)",
                reason="FORKED",
            )

    def prepare_exit(self) -> None:
        """Makes sure that the parts are told of the exit, also in a child of `multiprocessing`.

        Such a child leaves by `os._exit`, which skips atexit; it has a list of its own.
        """
        if self._exit_prepared_in == os.getpid():
            return
        self._exit_prepared_in = os.getpid()
        with suppress(
            AttributeError, RuntimeError
        ):  # It is private, as is what concurrent.futures uses; or it is late.
            threading._register_atexit(self._before_exit)  # type: ignore[attr-defined]
        util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
        if util is not None and process is not None and process.parent_process() is not None:
            util.Finalize(None, self._at_exit_of_child, exitpriority=0)
            in_main_thread = threading.current_thread() is threading.main_thread()
            if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, frame: object) -> None:
        """Ends a child of `multiprocessing` by SIGTERM, as the end of `with Pool()` does, after the parts are told.

        If they are told already, they hurry, and the child ends as it was about to.
        """
        if self._ends:
            raise SystemExit(128 + number)
        signal.signal(number, signal.SIG_DFL)
        self.ended_by = number
        try:
            self.at_exit()
        finally:
            os.kill(os.getpid(), number)

    def _before_exit(self) -> None:
        if self is not _current:
            return
        try:
            self._tell(lambda part: part.before_exit())
        except KeyboardInterrupt:
            self._hurries = True
            if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
                raise  # Python waits for these threads next, and Ctrl-C ends that, too.

    def at_exit(self) -> None:
        """Tells the parts that the process ends, the last made first, each of them whatever another raises.

        At Ctrl-C they hurry: what is not delivered then is in the spool. Where handlers of signals ran meanwhile, they
        are told once more, since a handler may have logged to one that had been told.
        """
        with held_back():
            self._is_told_of_exit = True
            self._tell(lambda part: part.at_exit())
        if self.left_by_interrupt:
            _end_as_interrupted()

    def at_exit_if_cut_short(self) -> None:
        """Does what `at_exit` does, in a hurry, if Ctrl-C came before that could hold it back."""
        if not self._is_told_of_exit:
            self._hurries = True
            self.at_exit()

    def _at_exit_of_child(self) -> None:
        """Tells the parts that a child of `multiprocessing` ends, and once more after its other threads.

        Python waits for these afterwards, and for the one that is started here.
        """
        self.at_exit()
        here = threading.current_thread()
        others = [thread for thread in threading.enumerate() if thread is not here and not thread.daemon]
        if not others:
            return

        def tell_again() -> None:
            for thread in others:
                thread.join()
            self.at_exit()

        if problem := start(threading.Thread(target=tell_again, name="modelry-exit", daemon=False)):
            log.debug("what the threads of this process log from now on may be lost: %s", problem)

    def _tell(self, what: Callable[[Part], None]) -> None:
        with held_back() as run_handlers:
            self._ends = True
            if self._hurries:
                hurry()
            try:
                before = handled()
                self._tell_each(what)
                run_handlers()
                if handled() > before:
                    self._tell_each(what)
            finally:
                self._ends = False

    def _tell_each(self, what: Callable[[Part], None]) -> None:
        with ExitStack() as parts:
            for part in list(self._parts.values()):
                parts.callback(self._end, part, what)

    @staticmethod
    def _end(part: Part, what: Callable[[Part], None]) -> None:
        try:
            what(part)
        except Exception:
            log.exception("what was logged may not be delivered: run `modelry sync`")

    def abandon(self) -> None:
        """Tells the parts that another state takes the place of this one."""
        for part in reversed(list(self._parts.values())):
            part.abandon()

    def after_fork_in_parent(self) -> None:
        """Tells the parts of a fork."""
        for part in list(self._parts.values()):
            part.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Makes this the state of a forked child."""
        self.inherits_grpc = self.inherits_grpc or "grpc" in sys.modules
        self._ends = self._hurries = self.left_by_interrupt = self._is_told_of_exit = False
        for part in list(self._parts.values()):
            part.after_fork_in_child()


def _end_as_interrupted() -> None:
    """Lets Python end the process as an interrupted one: by SIGINT, which also ends a loop of the shell around it.

    Python notes that nobody caught the KeyboardInterrupt, and forgets it where a text is executed at exit. Modules that
    are imported there do that, such as for a dataclass.
    """
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")


_current = Process()


def current() -> Process:
    """The state of this process."""
    return _current


def before_forks(make: Callable[[], object]) -> None:
    """Has parts made before each fork of a process that has loaded gRPC: one made later would not hear of the fork."""
    _made_before_forks.append(make)


def keep_in_children(channel: object) -> None:
    """Makes sure that a child that is forked while this channel is there never closes it."""
    _inherited.channels.add(channel)


def close_in_children(file: _Closable) -> None:
    """Makes sure that a child that is forked while this file is there closes it before anything else."""
    _inherited.files.add(file)


def renew() -> Process:
    """Begins with a new state, as in a process that has just started. What the old one has not delivered is spooled."""
    global _current
    _current.abandon()
    _current = Process(inherits_grpc=_current.inherits_grpc)
    return _current


class _Closable(Protocol):
    def close_in_child(self) -> None:
        """Closes it in a forked child, so that nothing changes in the parent."""


class _Inherited:
    """What a forked child has of its parent. It lets go of the `files` at once, for it would keep their locks.

    It never lets go of the `channels` and what waits in the parent for Python's collector: the end of a channel or call
    would call gRPC.
    """

    def __init__(self) -> None:
        self.files: WeakSet[_Closable] = WeakSet()
        self.channels: WeakSet[object] = WeakSet()
        self._kept: list[object] = []
        self._forks = 0
        self._was_enabled = False

    def before_fork(self) -> None:
        """Stops the collector, so that it can't run in the child before `after_fork_in_child`."""
        if not self._forks:  # another thread may be forking too
            self._was_enabled = gc.isenabled()
        self._forks += 1
        gc.disable()

    def after_fork_in_parent(self) -> None:
        """Lets the collector go on."""
        self._forks -= 1
        if self._was_enabled and not self._forks:
            gc.enable()

    def after_fork_in_child(self) -> None:
        """Closes the files, and lets the collector go on, with what is made from now on."""
        for file in list(self.files):
            file.close_in_child()
        self._forks = 0
        self._kept = list(self.channels)
        if "grpc" in sys.modules:
            gc.freeze()
        if self._was_enabled:
            gc.enable()


def _before_fork() -> None:
    if "grpc" in sys.modules and not _current.inherits_grpc:
        for make in _made_before_forks:
            make()


def _after_fork_in_parent() -> None:
    _inherited.after_fork_in_parent()
    _current.after_fork_in_parent()


def _after_fork_in_child() -> None:
    _inherited.after_fork_in_child()
    _current.after_fork_in_child()


_inherited = _Inherited()
_made_before_forks: list[Callable[[], object]] = []
# Python goes on with what was registered before if one is cut short by what the handler of a signal raises.
atexit.register(lambda: _current.at_exit_if_cut_short())
atexit.register(lambda: _current.at_exit())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
    os.register_at_fork(
        before=_inherited.before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
