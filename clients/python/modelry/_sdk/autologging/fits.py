"""One fit that is observed: which run it logs to, what may be done in its thread, and what is done afterwards.

Nothing of it changes the fit: its result and its exception are passed on as they are, and what fails here is a warning.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from modelry._sdk.autologging import params as shown
from modelry._sdk.autologging.options import Options
from modelry._sdk.autologging.quietly import quietly
from modelry._sdk.recording import afterwork
from modelry._sdk.transport import process
from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of

if TYPE_CHECKING:
    from modelry._sdk.fluent.ending import Ended

log = logging.getLogger("modelry")

_SECONDS, _SHARE = 0.01, 0.01
"""A fit may be slower by so many seconds, and a long one by this share of its time."""

_inside: ContextVar[Fit | None] = ContextVar("modelry_fit", default=None)
_busy = threading.local()
"""Whether this thread works for the log: it may call patched functions, which must not log then."""


@dataclass
class Call:
    """A call of a function that fits: its arguments by name, which a recipe may change, and the model (`self`)."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def model(self) -> Any:
        """What the method belongs to."""
        return self.args[0]

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments that were given, by name. Raises TypeError if the call is wrong."""
        return dict(self._bound().arguments)

    def give(self, name: str, value: Any) -> None:
        """Gives an argument another value, whether the caller gave it by place, by name or not at all."""
        bound = self._bound()
        bound.arguments[name] = value
        self.args, self.kwargs = bound.args, bound.kwargs

    def _bound(self) -> inspect.BoundArguments:
        return inspect.signature(self.function).bind(*self.args, **self.kwargs)


class Recipe(Protocol):
    """What a framework logs of a fit. `flavor` is its name, and `save_model` that of the module of the flavor."""

    flavor: str
    save_model: Callable[..., None]

    def before(self, fit: Fit, call: Call) -> None:
        """Logs what is known before: params and tags. May change `call.args` and `call.kwargs`, to add a callback."""

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs what is known after. Long work is given to `fit.later`."""


@dataclass(eq=False)
class Fit:
    """A fit at work, and the run that it logs to. `seconds` is how long it took, once it is over."""

    options: Options
    run: Any
    is_ours: bool
    """Whether autologging started the run, and so ends it."""
    recipe: Recipe
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    """What a recipe remembers from before the fit."""
    _jobs: list[Callable[[], None]] = field(default_factory=list)
    _files: set[str] = field(default_factory=set)
    _is_behind: bool = False
    """Whether the background still has params to log."""

    @property
    def flavor(self) -> str:
        """The name of the flavor."""
        return self.recipe.flavor

    @property
    def patience(self) -> float:
        """How many seconds the thread of the fit waits for what can be done in the background, too."""
        return max(_SECONDS, _SHARE * self.seconds)

    def later(self, what: str, job: Callable[[], object], *, files: Collection[str]) -> None:
        """Has a job done after the fit has returned, in the background. `what` names it in a warning if it fails.

        `files` are all files and folders of the run that it may write: who writes there waits for it.
        """
        self._files.update(files)
        self._jobs.append(lambda: self.attempt(what, job))

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """What an action gives. None, with a warning, if it raises."""
        try:
            with quietly():
                return action()
        except Exception as problem:  # It calls other libraries, which may raise anything.
            signals.pass_on(problem)
            self.tell("autologging of %s: %s not logged: %s: %.300s", self.flavor, what, *_said(problem))
            return None

    def tell_unregistered(self, problem: Exception) -> None:
        """Says why a model that was logged has not become a version."""
        self.tell(
            "autologging of %s: the model was logged, but not registered: %s: %.300s", self.flavor, *_said(problem)
        )

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs params as texts. A longer text than a server takes is cut, with a warning.

        Showing an estimator of many parts takes long: what is not shown after 10 ms is left to the background.
        """
        until = time.perf_counter() + _SECONDS
        rest = dict(params)
        texts: dict[str, str] = {}
        for key, value in params.items():
            if value is None or isinstance(value, str | int | float) or time.perf_counter() < until:
                texts |= self._texts_of({key: rest.pop(key)})
        self.run.log_params(texts)
        if rest:
            self._is_behind = True
            afterwork.give(self.run.run_id, lambda: self._log_rest(rest), files=())

    def _log_rest(self, params: Mapping[str, Any]) -> None:
        with working():
            self.attempt("params were", lambda: self.run.log_params(self._texts_of(params)))

    def _texts_of(self, given: Mapping[str, Any]) -> dict[str, str]:
        texts, too_long = shown.texts_of(given)
        for name in too_long:
            self.tell("autologging: the param %.80r is too long and is cut", name)
        return texts

    def tell(self, text: str, *values: object) -> None:
        """Warns, unless the options say to be silent."""
        log.log(logging.DEBUG if self.options.silent else logging.WARNING, text, *values)

    def hand_over(self, ended: Ended) -> None:
        """Gives the jobs to the background, and ends the run after them if it is ours, as the fit has ended."""
        jobs, run, ours = self._jobs, self.run, self.is_ours

        def all_of_them() -> None:
            with working():
                for job in jobs:
                    job()
            if ours:
                run.end_soon(ended.status, ended.tags)

        if jobs or (ours and self._is_behind):
            afterwork.give(run.run_id, all_of_them, files=frozenset(self._files))
        elif ours:
            run.end_soon(ended.status, ended.tags)


def current() -> Fit | None:
    """The fit that this code runs in."""
    return _inside.get()


@contextlib.contextmanager
def within(fit: Fit | None) -> Iterator[None]:
    """Makes code part of a fit, such as a job of a fit in another thread."""
    token = _inside.set(fit)
    try:
        yield
    finally:
        _inside.reset(token)


@contextlib.contextmanager
def working() -> Iterator[None]:
    """What is called meanwhile in this thread is work for the log, and not logged itself."""
    _busy.depth = getattr(_busy, "depth", 0) + 1
    try:
        yield
    finally:
        _busy.depth -= 1


def is_part() -> bool:
    """Whether this code is part of a fit that is observed, or of the logging itself."""
    return _inside.get() is not None or _is_busy()


def _is_busy() -> bool:
    return getattr(_busy, "depth", 0) > 0


def observed(
    recipe: Recipe, options: Callable[[], Options | None], *, inner: Callable[[Fit, Call], object] | None = None
) -> Callable[[Any], Any]:
    """Makes the wrapper of a function that fits. `options` says what is logged, and None if nothing is.

    Where the call is part of a fit already, only `inner(fit, call)` is done, which may add a callback.
    """

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def fit(*args: Any, **kwargs: Any) -> Any:
            outer = current()
            if inner is not None and outer is not None and not _is_busy():
                call = Call(original, args, kwargs)
                outer.attempt("something of an inner fit was", lambda: inner(outer, call))
                return original(*call.args, **call.kwargs)
            chosen = None if is_part() else options()
            if chosen is None:
                return original(*args, **kwargs)
            return _observe(recipe, chosen, Call(original, args, kwargs))

        return fit

    return make


def unobserved(original: Any) -> Any:
    """Makes the wrapper of a function whose fits don't log."""

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        with working():
            return original(*args, **kwargs)

    return call


def _observe(recipe: Recipe, options: Options, call: Call) -> Any:
    fit = _begun(recipe, options, call)
    if fit is None:
        return call.function(*call.args, **call.kwargs)
    began = time.perf_counter()
    try:
        with within(fit):
            result = call.function(*call.args, **call.kwargs)
    except BaseException as error:
        _ended(fit, error=error)
        raise
    fit.seconds = time.perf_counter() - began
    try:
        with working():
            fit.attempt("what the fit gave was", lambda: recipe.after(fit, call, result))
    finally:  # also at Ctrl-C
        _ended(fit)
    return result


def _begun(recipe: Recipe, options: Options, call: Call) -> Fit | None:
    given = call.args, call.kwargs
    try:
        with working(), quietly():
            name = type(call.args[0]).__name__ if call.args else recipe.flavor
            found = _run_for(recipe.flavor, options, name)
            if found is None:
                return None
            fit = Fit(options, *found, recipe)
    except Exception as problem:  # such as a server that refuses: the fit goes on
        signals.pass_on(problem)
        level = logging.DEBUG if options.silent else logging.WARNING
        log.log(level, "autologging of %s: a fit is not logged: %s: %.300s", recipe.flavor, *_said(problem))
        return None
    with working():
        try:
            with quietly():
                recipe.before(fit, call)
        except Exception as problem:
            signals.pass_on(problem)
            call.args, call.kwargs = given
            fit.tell("autologging of %s: params are not logged: %s: %.300s", recipe.flavor, *_said(problem))
    return fit


def _ended(fit: Fit, *, error: BaseException | None = None) -> None:
    from modelry._sdk.fluent import session
    from modelry._sdk.fluent.ending import ended_after

    try:
        if fit.is_ours:
            session.current().let_go(fit.run)
        fit.hand_over(ended_after(error))
    except Exception as problem:
        signals.pass_on(problem)
        fit.tell("autologging of %s: %s: %.300s", fit.flavor, *_said(problem))


class Logged(process.Turn):
    """The runs of this process that fits log to."""

    def __init__(self) -> None:
        super().__init__()
        self.used: weakref.WeakSet[Any] = weakref.WeakSet()
        """Those that a fit has logged to: the next fit in them gets a child run, since params are write-once."""
        self.ours: weakref.WeakSet[Any] = weakref.WeakSet()
        """Those that were started for a fit."""


def _run_for(flavor: str, options: Options, name: str) -> tuple[Any, bool] | None:
    """The run of a fit, and whether it was started for it. None if the options leave the fit alone.

    It is the active one of this thread; a further fit in it gets a child run. Without one, a run is started.
    """
    from modelry._sdk.fluent import functions, session

    here = session.current()
    active = here.own() or here.active()
    known = process.current().part(Logged)
    if active is not None and active in known.ours and active is not here.own():
        active = None  # the fit of another thread
    if active is not None and options.exclusive:
        return None
    with known.lock:
        if active is not None and active not in known.used:
            known.used.add(active)
            return active, False
    tags = {"mlflow.autologging": flavor, **(options.extra_tags or {})}
    if active is None:
        run = functions.start_run(tags=tags)
    else:
        run = functions.start_run(run_name=name, nested=True, tags=tags)
    with known.lock:
        known.ours.add(run)
        known.used.add(run)
    return run, True


def _said(problem: Exception) -> tuple[str, str]:
    return type(problem).__name__, said_of(problem)
