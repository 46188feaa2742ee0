"""Names what keeps a model from being pickled."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument

FAILURES = (pickle.PicklingError, TypeError, AttributeError, RecursionError, ValueError)
"""What picklers raise for what they can't write."""

_DEEPEST = 20


def explained(model: Any) -> InvalidArgument | None:
    """An error that names the attribute of a model that can't be pickled. None if all of it can be pickled."""
    found = _culprit(model, "", set(), 0)
    if found is None:
        return None
    path, thing, reason = found
    kind = type(thing).__name__
    where = f"its attribute {path!r} is a {kind}" if path else f"it is a {kind}"
    return InvalidArgument(
        f"the model {type(model).__name__} can't be pickled: {where}, and {reason}; make it in load_context or at its "
        "first use, or leave it out in __getstate__",
        reason="MODEL_NOT_PICKLABLE",
        metadata={"attribute": path, "type": kind},
    )


def require_importable(model: Any) -> None:
    """Raises InvalidArgument for a model that plain pickle stores with names that only this process has.

    They are functions and classes of a script or notebook, of a function, and lambdas.
    """

    class Survey(pickle.Pickler):
        def reducer_override(self, thing: Any) -> Any:
            if isinstance(thing, type | FunctionType) and (
                thing.__module__ in {"__main__", "__mp_main__"} or "<" in thing.__qualname__
            ):
                kind = "class" if isinstance(thing, type) else "function"
                raise InvalidArgument(
                    f"the model refers to the {kind} {thing.__qualname__} of {thing.__module__}, which pickle stores "
                    "by its name only, so no other program can load it; use serialization_format='cloudpickle', which "
                    "stores its code, or move it to a module and give that as code_paths",
                    reason="MODEL_NOT_PICKLABLE",
                    metadata={"attribute": thing.__qualname__, "type": kind},
                )
            return NotImplemented

    try:
        Survey(io.BytesIO(), protocol=5, buffer_callback=lambda _: None).dump(model)
    except FAILURES:  # told when it is saved
        return


def _culprit(thing: Any, path: str, seen: set[int], depth: int) -> tuple[str, Any, str] | None:
    """The innermost part that can't be pickled, with its path and the reason."""
    import cloudpickle

    if id(thing) in seen:
        return None
    seen.add(id(thing))
    try:
        cloudpickle.dumps(thing)
    except FAILURES as problem:
        if depth < _DEEPEST:
            for name, part in _parts(thing):
                inner = _culprit(part, f"{path}{name}".lstrip("."), seen, depth + 1)
                if inner is not None:
                    return inner
        return path, thing, str(problem)[:200] or type(problem).__name__
    return None


def _parts(thing: Any) -> Iterator[tuple[str, Any]]:
    """What pickle would write of a thing, with the name of each part."""
    if isinstance(thing, dict):
        yield from ((f"[{text_of(key)[:80]!r}]", value) for key, value in thing.items())
    elif isinstance(thing, list | tuple | set):
        yield from ((f"[{at}]", value) for at, value in enumerate(thing))
    elif callable(thing) and hasattr(thing, "__closure__"):
        names = thing.__code__.co_freevars
        yield from ((f".{name}", _content(cell)) for name, cell in zip(names, thing.__closure__ or (), strict=True))
        used = {name: thing.__globals__[name] for name in thing.__code__.co_names if name in thing.__globals__}
        yield from ((f".{name}", value) for name, value in used.items())
    else:
        state = getattr(thing, "__dict__", None)
        if isinstance(state, dict):
            yield from ((f".{name}", value) for name, value in state.items())
        yield from ((f".{name}", getattr(thing, name)) for name in _slots(thing) if hasattr(thing, name))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _slots(thing: Any) -> Iterator[str]:
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots
