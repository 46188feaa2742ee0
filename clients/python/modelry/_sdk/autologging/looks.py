"""Whether a fitted model is still what it was: what it and its fitted parts hold is noted, and looked at again."""

from __future__ import annotations

import itertools
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType, MethodType, ModuleType
from typing import Any

from modelry._sdk.values import signals

_MOST_PARTS = 20_000
_MOST_MEMBERS = 2_000
"""Of a longer list or dictionary the length and the first members are noted."""
_WHOLE_BYTES, _PIECES, _PIECE_BYTES = 1 << 16, 64, 512
"""Of a larger array so many pieces at even distances are noted."""
_PLAIN = frozenset({str, bytes, int, float, complex, bool, type(None), type})
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
_COUNTERS = ("num_boosted_rounds", "current_iteration", "tree_count_")
"""How much is trained, of boosters of XGBoost, LightGBM and CatBoost: that lies in memory of their own."""


class Look:
    """What a model and its parts hold: attributes, lists, dictionaries, arrays and numbers of trained rounds.

    It goes from the model to its parts, to theirs and so on, to at most 20,000 of them and for so many `seconds`: what
    lies deeper is not noted. Members are compared by identity, and arrays by their bytes, those beyond 64 KiB by 64
    pieces of them.
    """

    def __init__(self, model: Any, seconds: float) -> None:
        until = time.perf_counter() + seconds
        self._noted: list[tuple[Any, Callable[[Any], Any], Any]] = []
        waiting: deque[Any] = deque([model])
        known: set[int] = set()
        while waiting and len(self._noted) < _MOST_PARTS and time.perf_counter() < until:
            part = waiting.popleft()
            if id(part) in known:
                continue
            known.add(id(part))
            for state_of in _tried(_all_states_of, part) or ():
                state = _tried(state_of, part)
                self._noted.append((part, state_of, state))
                waiting.extend(each for each in _members(state) if type(each) not in _PLAIN)

    def is_same(self) -> bool:
        """Whether everything that was noted is as it was."""
        return all(_equal(state, _tried(state_of, part)) for part, state_of, state in self._noted)


def mark(raw: memoryview) -> int:
    """A number for bytes, or for pieces of them if they are more than 64 KiB: another one if they change."""
    size = raw.nbytes
    if size <= _WHOLE_BYTES:
        return zlib.crc32(raw)
    found = 0
    for number in range(_PIECES):
        begin = number * (size - _PIECE_BYTES) // (_PIECES - 1)
        found = zlib.crc32(raw[begin : begin + _PIECE_BYTES], found)
    return found


class _Same:
    """A value that does not lead to further parts."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _all_states_of(part: Any) -> list[Callable[[Any], Any]]:
    return [] if isinstance(part, _CODE) else list(_states_of(part))


def _states_of(part: Any) -> Iterator[Callable[[Any], Any]]:
    """The functions that note what a part holds: by name, by place, or as a value."""
    if isinstance(part, dict):
        yield _dictionary
    elif isinstance(part, list | tuple | set | frozenset | deque):
        yield _collection
    elif _is_array(part):
        yield _array
    else:
        if isinstance(_tried(vars, part), dict):
            yield _attributes
        if str(type(part).__module__).startswith("sklearn."):  # such as a tree, whose arrays lie in memory of its own
            names = [name for name, each in vars(type(part)).items() if isinstance(each, GetSetDescriptorType)]
            for name in names:
                if name not in {"__dict__", "__weakref__"} and _is_array(_tried(_reader(name), part)):
                    yield _reader_of_array(name)
        for name in _COUNTERS:
            if hasattr(type(part), name):
                yield _counter(name)


def _attributes(part: Any) -> Any:
    """Without what is kept to be quicker, such as `_cache` of statsmodels, which grows as the model is asked."""
    return _dictionary({name: each for name, each in list(vars(part).items()) if "cache" not in str(name)})


def _dictionary(part: dict[Any, Any]) -> Any:
    if len(part) <= _MOST_MEMBERS:
        return dict(part)
    return [_Same(len(part)), *itertools.chain.from_iterable(itertools.islice(part.items(), _MOST_MEMBERS))]


def _collection(part: Any) -> Any:
    return [_Same(len(part)), *itertools.islice(part, _MOST_MEMBERS)]


def _array(part: Any) -> Any:
    if part.dtype.hasobject:
        return [_Same(part.shape), *itertools.islice(part.flat, _MOST_MEMBERS)]
    return _Same((part.shape, str(part.dtype), mark(_bytes_of(part))))


def _bytes_of(array: Any) -> memoryview:
    """The bytes of an array of numbers. If they are not beside each other, those of numbers at even distances."""
    array = sys.modules["numpy"].asarray(array)
    if array.flags.c_contiguous or array.flags.f_contiguous:
        flat = array.ravel(order="K")
    else:
        flat = array.flat[:: max(1, array.size * array.itemsize // _WHOLE_BYTES)]
    return memoryview(flat.view("u1"))


def _reader(name: str) -> Callable[[Any], Any]:
    return lambda part: getattr(part, name)


def _reader_of_array(name: str) -> Callable[[Any], Any]:
    return lambda part: _array(getattr(part, name))


def _counter(name: str) -> Callable[[Any], Any]:
    def count(part: Any) -> Any:
        found = getattr(part, name)
        return _Same(found() if callable(found) else found)

    return count


def _is_array(part: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(part, numpy.ndarray)


def _members(state: Any) -> Iterable[Any]:
    if isinstance(state, dict):
        return state.values()
    return (each for each in state if not isinstance(each, _Same)) if isinstance(state, list) else ()


def _equal(before: Any, now: Any) -> bool:
    if isinstance(before, dict):
        return isinstance(now, dict) and before.keys() == now.keys() and all(now[key] is before[key] for key in before)
    if isinstance(before, list):
        same_length = isinstance(now, list) and len(now) == len(before)
        return same_length and all(_equal_member(one, other) for one, other in zip(before, now, strict=True))
    return _equal_member(before, now)


def _equal_member(before: Any, now: Any) -> bool:
    if isinstance(before, _Same):
        return isinstance(now, _Same) and bool(before.value == now.value)
    return before is now


def _tried(action: Callable[[Any], Any], part: Any) -> Any:
    """What an action gives, None if it raises."""
    try:
        return action(part)
    except Exception as problem:  # It reads objects of other libraries, which may raise anything.
        signals.pass_on(problem)
        return None
