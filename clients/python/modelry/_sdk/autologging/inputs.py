"""The data of a fit as it was when the fit began, whatever the training code does with it while it is logged."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from modelry._sdk.values.texts import text_of

_COPIED_BYTES = 8 << 20
"""So much of data is copied, which takes about 10 ms where new memory is slow."""
_COPIED_ROWS, _LIST_BYTES = 10_000, 2 << 20
"""So many rows of a list are copied, if they are no larger than that, which takes about 10 ms too."""
_MARKED_BYTES, _MARKED_ROWS = 1 << 20, 64

_Answer = TypeVar("_Answer")


class Kept:
    """Data to be read later.

    A table of pandas 3, Polars or Arrow shares its cells until one is written, and other data is copied, up to 8 MiB
    or 10,000 rows of a list. Larger data is read where it is: if rows at several places are other ones then, it was
    changed in place, and nothing is said of it.
    """

    def __init__(self, data: Any) -> None:
        copy = _copied(data)
        self.now = data if copy is None else copy
        """The data, for what is read before the training code goes on."""
        self._mark = None if data is None or copy is not None else _mark(data)

    def read(self, job: Callable[[Any], _Answer]) -> _Answer:
        """What a job makes of the data. Raises ValueError if the data was changed in place meanwhile."""
        answer = job(self.now)
        if self._mark is not None and _mark(self.now) != self._mark:
            raise ValueError(
                "the data of the fit was changed in place before it was read in the background; "
                "call modelry.flush() between the fit and the change"
            )
        return answer


def _copied(data: Any) -> Any:
    """A copy that does not change with the data, None if it would be too large."""
    library = type(data).__module__.partition(".")[0]
    if library == "pyarrow":  # nothing changes it
        return data
    if library == "polars":
        return data.clone() if hasattr(data, "clone") else data
    if hasattr(data, "iloc"):
        if library == "pandas" and int(sys.modules["pandas"].__version__.partition(".")[0]) >= 3:
            return data.copy(deep=False)  # copy-on-write
        return data.copy() if _bytes_of(data.memory_usage()) <= _COPIED_BYTES else None
    if isinstance(data, list | tuple):
        return _copied_list(data) if len(data) <= _COPIED_ROWS else None
    size = getattr(data, "nbytes", None)
    if size is None and hasattr(data, "tocsr"):
        size = 2 * getattr(getattr(data, "data", None), "nbytes", _COPIED_BYTES)
    return data.copy() if isinstance(size, int) and size <= _COPIED_BYTES and hasattr(data, "copy") else None


class _Room:
    """A file in memory with room for what may be copied."""

    def __init__(self) -> None:
        self._file = io.BytesIO()

    def write(self, content: Any) -> None:
        """Raises ValueError if there is no room left."""
        if self._file.tell() + pickle.PickleBuffer(content).raw().nbytes > _LIST_BYTES:
            raise ValueError
        self._file.write(content)

    def read_all(self) -> Any:
        """The copy of what was pickled."""
        return pickle.loads(self._file.getbuffer())


def _copied_list(rows: Any) -> Any:
    """A copy of rows, which may be long texts. None if it would be too large."""
    room = _Room()
    try:
        pickle.Pickler(room, protocol=5).dump(rows)
    except ValueError:
        return None
    return room.read_all()


def _bytes_of(usage: Any) -> int:
    return int(usage.sum() if hasattr(usage, "sum") else usage)


def _mark(data: Any) -> bytes | None:
    """Some rows at even distances, the shape and the names of columns. None for what has no rows by number."""
    if hasattr(data, "tocsr"):
        parts = [getattr(data, name, None) for name in ("data", "indices")]
        return b"".join(_mark(part) or b"" for part in parts if hasattr(part, "nbytes"))
    rows = data.iloc if hasattr(data, "iloc") else data
    if not hasattr(rows, "__getitem__") or not hasattr(data, "__len__") or not len(data):
        return None
    shape = getattr(data, "shape", (len(data),))
    first = pickle.dumps(rows[0])
    count = min(len(data), _MARKED_ROWS, 2 + _MARKED_BYTES // len(first))
    places = {index * (len(data) - 1) // max(1, count - 1) for index in range(count)}
    some = [pickle.dumps(rows[place]) for place in sorted(places)]
    return b"".join([text_of((shape, list(getattr(data, "columns", ())))).encode(), *some])
