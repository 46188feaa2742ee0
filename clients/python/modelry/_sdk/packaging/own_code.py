"""Code that a model brings (`code_paths`): each model uses its own, also if two have modules of the same name.

Python has one table of modules for the whole process. A model's modules stay in it like any others as long as nothing
else has their names. If something has, the model's own are put in their place while it is loaded and while it predicts,
and taken out afterwards; such calls run one after the other.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from modelry.errors import FailedPrecondition

_turn = threading.RLock()
_all: weakref.WeakSet[OwnCode] = weakref.WeakSet()


class OwnCode:
    """The modules in a folder of a model."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._digests = _digests(Path(folder))
        self._modules: dict[str, ModuleType] = {}
        self._strangers = [
            name
            for name, digest in self._digests.items()
            if name in sys.modules and _digest_of(sys.modules[name]) != digest
        ]
        self._is_apart = False
        with _turn:
            _all.add(self)

    def others(self) -> list[str]:
        """The names of its modules that something else in this process has, with other content."""
        with _turn:
            models = [other for other in _all if other is not self]
        return sorted(
            name
            for name, digest in self._digests.items()
            if name in self._strangers or any(other._digests.get(name, digest) != digest for other in models)
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it is entered, the names of the modules mean those of the model."""
        # Once apart it stays so: its modules are not in the table any more.
        self._is_apart = self._is_apart or bool(self.others())
        if not self._is_apart:
            yield
            return
        with _turn:
            before = self._taken_out()
            self._modules = {name: each for name, each in before.items() if self._has(each)} | self._modules
            sys.modules.update(self._modules)
            sys.path.insert(0, self._folder)
            importlib.invalidate_caches()
            try:
                yield
            finally:
                self._modules = self._taken_out()
                sys.modules.update(before)
                sys.path[:] = [each for each in sys.path if each != self._folder]

    def _taken_out(self) -> dict[str, ModuleType]:
        """Takes everything with the names of its modules out of the table of modules."""
        names = [name for name in sys.modules if name.partition(".")[0] in self._digests]
        return {name: sys.modules.pop(name) for name in names}

    def _has(self, module: ModuleType) -> bool:
        return str(getattr(module, "__file__", None) or "").startswith(self._folder + os.sep)


def guarded(model: Any, code: OwnCode) -> Any:
    """A loaded `PyFuncModel` whose predictions use its own code."""
    for name in ("_predict_fn", "_predict_stream_fn"):
        if call := getattr(model, name, None):
            setattr(model, name, _in_place(call, code))
    return model


def require_alone(code: OwnCode) -> None:
    """Raises FailedPrecondition if something else has modules of the same names: an object can't be guarded."""
    if names := code.others():
        raise FailedPrecondition(
            f"the model brings modules that this process has with other content: {', '.join(names)}; load it with "
            "modelry.pyfunc.load_model, which keeps them apart, or in a process of its own",
            reason="MODEL_CODE_CONFLICT",
            metadata={"modules": ",".join(names)},
        )


def _in_place(call: Callable[..., Any], code: OwnCode) -> Callable[..., Any]:
    @functools.wraps(call)
    def guarded_call(*args: Any, **options: Any) -> Any:
        with code.in_place():
            answer = call(*args, **options)
        return _each_in_place(answer, code) if isinstance(answer, Generator) else answer

    return guarded_call


def _each_in_place(answer: Generator[Any, Any, Any], code: OwnCode) -> Iterator[Any]:
    while True:
        with code.in_place():
            try:
                item = next(answer)
            except StopIteration:
                return
        yield item


def _digests(folder: Path) -> Mapping[str, str]:
    """A digest for each top-level module in a folder."""
    found = {}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.suffix == ".py":
            found[entry.stem] = _digest([entry], folder)
        elif entry.is_dir() and entry.name.isidentifier():
            files = sorted(entry.rglob("*.py"))
            if files:
                found[entry.name] = _digest(files, folder)
    return found


def _digest_of(module: ModuleType) -> str:
    """The digest of a module that is loaded, from its files; empty if it has none."""
    file = getattr(module, "__file__", None)
    if not file or not os.path.isfile(file):
        return ""
    path = Path(file)
    if path.name == "__init__.py":
        return _digest(sorted(path.parent.rglob("*.py")), path.parent.parent)
    return _digest([path], path.parent)


def _digest(files: list[Path], above: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(above)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
