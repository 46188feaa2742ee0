"""Advice of MLflow that is wrong here, or names functions that users of Modelry do not have, is not said.

MLflow gives it by `warnings`, also when a class is defined. The filters of that module are those of all threads, and
MLflow puts its own before them. So the modules of MLflow that advise get a `warnings` that leaves the advice out. A
program that has imported MLflow itself hears it, except from what Modelry does. What is useful is said by Modelry.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_UNWANTED = re.compile(
    r"(?:\x1b\[[\d;]*m)*(?:"
    r"Add type hints to the `predict` method"  # a signature or an example does the same
    r"|Type hint used in the model's predict function is not supported"  # a signature is inferred at saving
    r"|Failed to infer signature from type hint"  # said in our words, see `flavor`
    r"|Any type hint is inferred as AnyType"  # which is what `Any` asks for
    r"|Decorate your function with `@mlflow\.pyfunc\.utils\.pyfunc`"  # what is loaded checks its input without it
    r"|An input example was not provided when logging the model"  # it is no part of the signature
    r"|Hint: Inferred schema contains integer column\(s\)"  # missing values are taken, see `enforcing`
    r")"
)
_MODULES = ("mlflow.utils.warnings_utils", "mlflow.models.signature", "mlflow.types.utils")

_left_out: ContextVar[list[str] | None] = ContextVar("modelry_left_out", default=None)


@contextmanager
def unsaid() -> Iterator[list[str]]:
    """Leaves the advice out that MLflow gives in this block, in this thread, and puts it into the list."""
    advice: list[str] = []
    before = _left_out.set(advice)
    try:
        yield advice
    finally:
        _left_out.reset(before)


def leave_out(*, everywhere: bool) -> None:
    """Leaves the advice of MLflow out, of what is imported now: `everywhere`, or in `unsaid` blocks only."""
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is not None and getattr(module, "warnings", None) is warnings:
            module.warnings = _Warnings(everywhere)  # type: ignore[attr-defined]


class _Warnings:
    """The module `warnings`, without the advice."""

    def __init__(self, everywhere: bool) -> None:
        self._everywhere = everywhere

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    def warn(self, message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **options: Any) -> None:
        """As `warnings.warn`."""
        left_out = _left_out.get()
        if (self._everywhere or left_out is not None) and _UNWANTED.match(str(message)):
            if left_out is not None:
                left_out.append(str(message))
            return
        warnings.warn(message, category, stacklevel + 1, *args, **options)
