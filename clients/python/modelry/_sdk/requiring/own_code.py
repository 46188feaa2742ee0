"""Code that a model brings (`code_paths`): each model uses its own, also if two have modules of the same name.

Python has one table of modules for the whole process. A model's modules stay in it like any others as long as nothing
else has their names with other code, or with other data beside it. If something has, the model's own are put in their
place while it is loaded and while it predicts, and taken out afterwards; such calls run one after the other.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from modelry._sdk.transport import process
from modelry.errors import FailedPrecondition

_CODE = {".py", ".pyc", ".so", ".pyd"}
_CACHE = "__pycache__"
_all: weakref.WeakSet[OwnCode] = weakref.WeakSet()


class InPlace(process.Turn):
    """Held by the thread for which the modules of a model are in place."""


class OwnCode:
    """The modules in a folder of a model."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._data = _data_of(Path(folder))
        self._digests = _digests(Path(folder), self._data)
        self._modules: dict[str, ModuleType] = {}
        self._strangers = [
            name
            for name, digest in self._digests.items()
            if name in sys.modules and _digest_of(sys.modules[name], self._data) != digest
        ]
        self._is_apart = False
        with process.current().part(InPlace).lock:
            _all.add(self)

    def others(self) -> list[str]:
        """The names of its modules that something else in this process has, with other content."""
        with process.current().part(InPlace).lock:
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
        with process.current().part(InPlace).lock:
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


def _digests(folder: Path, data: Iterable[Path]) -> Mapping[str, str]:
    """A digest for each top-level module in a folder.

    It is of every file of the module, and of `data`, the files of the folder that belong to no module: modules read
    data that lies beside them.
    """
    found: dict[str, list[Path]] = {}
    for entry in _entries(folder):
        if name := _module_of(entry):
            found.setdefault(name, []).append(entry)
    return {name: _digest(entries, folder, data) for name, entries in found.items()}


def _data_of(folder: Path) -> list[Path]:
    """The files and folders in a folder that are no modules, relative to it."""
    return [entry.relative_to(folder) for entry in _entries(folder) if not _module_of(entry)]


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.name != _CACHE) if folder.is_dir() else []


def _module_of(entry: Path) -> str:
    """The name of the module that a top-level file or folder is; empty if it is none."""
    name = entry.name.partition(".")[0]
    if not name.isidentifier():
        return ""
    if entry.is_dir():
        has_code = any(file.suffix in _CODE and _CACHE not in file.parts for file in entry.rglob("*"))
        return name if name == entry.name and has_code else ""
    return name if entry.suffix in _CODE else ""


def _digest_of(module: ModuleType, data: Iterable[Path]) -> str:
    """The digest of a module that is loaded, from its files and the same data beside it; empty if it has none."""
    folders = list(getattr(module, "__path__", ()))
    file = folders[0] if len(folders) == 1 else getattr(module, "__file__", None)
    if not file or not os.path.exists(file):
        return ""
    path = Path(file)
    try:
        return _digest([path], path.parent, data)
    except OSError:
        return ""


def _digest(entries: Iterable[Path], above: Path, data: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for entry in (*entries, *(above / each for each in data)):
        for file in (entry, *sorted(entry.rglob("*"))) if entry.is_dir() else (entry,):
            inside = file.relative_to(above)
            if _CACHE not in inside.parts:
                digest.update(f"{inside}\0{_content_of(file)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _content_of(file: Path) -> str:
    """What distinguishes the content of a file: its SHA-256, or where a link to a folder leads."""
    if file.is_file():
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    return os.path.realpath(file) if file.is_symlink() else ""
