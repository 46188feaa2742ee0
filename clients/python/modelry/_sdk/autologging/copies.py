"""The fitted model as it was when the fit returned, whatever the training code does with it while it is logged."""

from __future__ import annotations

import functools
import pickle
import tempfile
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from modelry._sdk.autologging import looks
from modelry._sdk.autologging.fits import Fit, working
from modelry._sdk.recording import afterwork
from modelry._sdk.values import signals

_COPIED_BYTES = 64 << 20
"""So much of the arrays of a model is copied. What is beyond is shared: a further fit makes new arrays."""
_SMALL_BYTES = 1 << 16
_IN_MEMORY = 64 << 20
"""A pickle beyond that is kept in a temporary file."""
_PIECE = 1 << 20
_LOOK_SECONDS = 0.005
"""So long a model is looked at whose copy takes longer than the fit waits."""


class Snapshot:
    """A fitted model as it was when this was made: a further fit of the same object does not change it.

    A pickle of it is made in another thread, since that may take as long as it likes. The thread of the fit waits for
    it as long as `fit.patience`, and raises what pickling raises by then. If it goes on after that, the model is looked
    at before the training code goes on, and again when it is done: if the model has changed, there is no copy, and what
    needs one raises ValueError. So it does if an array that is shared has changed.
    """

    def __init__(self, fit: Fit, model: Any) -> None:
        self._buffers: list[pickle.PickleBuffer] = []
        self._marks: list[int] = []
        self._room = _COPIED_BYTES
        self._lock = threading.Lock()
        self._look: looks.Look | None = None
        self._pickled = _begun(lambda: self._copied(model))
        if wait([self._pickled], fit.patience).done:
            self._pickled.result()
        else:
            self._look = looks.Look(model, _LOOK_SECONDS)

    @functools.cached_property
    def model(self) -> Any:
        """A copy of the model, to be logged."""
        return self._read()

    @functools.cached_property
    def to_ask(self) -> Any:
        """A copy of the model for predictions. It draws no random numbers that the training code would have drawn."""
        copy = self._read()
        parts: tuple[Any, ...] = (copy, getattr(copy, "best_estimator_", None))
        for part in parts:
            if hasattr(part, "get_params") and hasattr(part, "set_params"):
                params = part.get_params()
                draws = [key for key, value in params.items() if key.endswith("random_state") and value is None]
                if draws:
                    part.set_params(**dict.fromkeys(draws, 0))
        return copy

    def _read(self) -> Any:
        file = self._pickled.result()
        if [looks.mark(buffer.raw()) for buffer in self._buffers] != self._marks:
            raise _changed()
        with self._lock:
            file.seek(0)
            return pickle.load(file, buffers=self._buffers)

    def _copied(self, model: Any) -> Any:
        try:
            with working(), afterwork.inside():
                pickled = self._pickle(model)
        except Exception as problem:  # It calls other libraries, which may raise anything.
            signals.pass_on(problem)
            if self._look is not None and not self._look.is_same():
                raise _changed() from problem
            raise
        # Without a look the fit has not returned yet, so nothing of the training code has changed the model.
        look, self._look = self._look, None
        if look is not None and not look.is_same():
            raise _changed()
        return pickled

    def _pickle(self, model: Any) -> Any:
        try:
            return self._pickle_with(pickle.Pickler, model)
        except (pickle.PicklingError, AttributeError, TypeError):  # such as a lambda
            import cloudpickle

            self._buffers.clear()
            self._marks.clear()
            self._room = _COPIED_BYTES
            return self._pickle_with(cloudpickle.Pickler, model)

    def _pickle_with(self, pickler: Any, model: Any) -> Any:
        file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="modelry-model-")  # noqa: SIM115  # kept open
        weakref.finalize(self, file.close)
        pickler(_InPieces(file), protocol=5, buffer_callback=self._is_copied).dump(model)
        return file

    def _is_copied(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        size = raw.nbytes
        if size <= max(_SMALL_BYTES, self._room):
            self._room -= size
            return True
        self._buffers.append(buffer)
        self._marks.append(looks.mark(raw))
        return False


def _changed() -> ValueError:
    return ValueError(
        "the model was changed before its copy was made in the background; "
        "call modelry.flush() between the fit and the change"
    )


class _InPieces:
    """A file that is written in pieces. Other threads have their turn between them, and not while a large one is."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, content: Any) -> None:
        """Writes what a pickler gives."""
        everything = pickle.PickleBuffer(content).raw()
        for begin in range(0, len(everything), _PIECE):
            self._file.write(everything[begin : begin + _PIECE])


def _begun(copy: Callable[[], Any]) -> Future[Any]:
    """A copy that is made in a thread of its own, or at once where no other thread may do it."""
    if not afterwork.is_at_once():
        pool = ThreadPoolExecutor(1, thread_name_prefix="modelry-copy")
        try:
            return pool.submit(copy)
        except RuntimeError:  # no thread can be started, or the process ends
            pass
        finally:
            pool.shutdown(wait=False)
    done: Future[Any] = Future()
    done.set_result(copy())
    return done
