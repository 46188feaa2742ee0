"""The fitted model as it was when the fit returned, whatever the training code does with it while it is logged."""

from __future__ import annotations

import functools
import pickle
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from modelry._sdk.autologging.fits import Fit, working
from modelry._sdk.recording import afterwork

_COPIED_BYTES = 64 << 20
"""So much of the arrays of a model is copied. What is beyond is shared: a further fit makes new arrays."""
_SMALL_BYTES = 1 << 16
_IN_MEMORY = 64 << 20
"""A pickle beyond that is kept in a temporary file."""
_PIECE = 1 << 20


class Snapshot:
    """A fitted model as it was when this was made: a further fit of the same object does not change it.

    A pickle of it is made in another thread, since that may take as long as it likes. The thread of the fit waits for
    it as long as `fit.patience`, and raises what pickling raises by then. If it goes on after that, and the training
    code has changed the model before it is done, there is no copy, and what needs one raises ValueError.
    """

    def __init__(self, fit: Fit, model: Any) -> None:
        self._buffers: list[pickle.PickleBuffer] = []
        self._room = _COPIED_BYTES
        self._lock = threading.Lock()
        before = _state_of(model)

        def copy() -> Any:
            with working():
                pickled = self._pickle(model)
            if not _is_same(before, _state_of(model)):
                raise ValueError(
                    "the model was changed before its copy was made in the background; "
                    "call modelry.flush() between the fit and the change"
                )
            return pickled

        self._pickled = _begun(copy)
        if wait([self._pickled], fit.patience).done:
            self._pickled.result()

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
        with self._lock:
            file.seek(0)
            return pickle.load(file, buffers=self._buffers)

    def _pickle(self, model: Any) -> Any:
        try:
            return self._pickle_with(pickle.Pickler, model)
        except (pickle.PicklingError, AttributeError, TypeError):  # such as a lambda
            import cloudpickle

            self._buffers.clear()
            self._room = _COPIED_BYTES
            return self._pickle_with(cloudpickle.Pickler, model)

    def _pickle_with(self, pickler: Any, model: Any) -> Any:
        file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="modelry-model-")  # noqa: SIM115  # kept open
        weakref.finalize(self, file.close)
        pickler(_InPieces(file), protocol=5, buffer_callback=self._is_copied).dump(model)
        return file

    def _is_copied(self, buffer: pickle.PickleBuffer) -> bool:
        size = buffer.raw().nbytes
        if size <= max(_SMALL_BYTES, self._room):
            self._room -= size
            return True
        self._buffers.append(buffer)
        return False


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


def _state_of(model: Any) -> list[dict[str, Any]]:
    """What the model and its parts have, which a further fit replaces."""
    return [dict(vars(part)) for part in _parts(model) if hasattr(part, "__dict__")]


def _parts(model: Any) -> Iterator[Any]:
    yield model
    if hasattr(model, "get_params"):
        yield from (part for part in model.get_params().values() if hasattr(part, "get_params"))


def _is_same(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> bool:
    return len(before) == len(now) and all(
        one.keys() == other.keys() and all(one[key] is other[key] for key in one)
        for one, other in zip(before, now, strict=True)
    )
