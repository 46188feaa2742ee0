"""Which packages a model needs, read from the model itself.

MLflow finds out by loading the saved model in a second Python process and noting what is imported: 2.6 s a model, and
it also notes what is imported by chance (psutil and rich for a random forest). Here the model is walked as pickle walks
it, with nothing written: the packages of all classes, functions and modules that it refers to, and those that its own
functions import. 7 ms for a random forest of 200 trees, and 0.2 s once in a process to see what is installed.
"""

from __future__ import annotations

import dis
import functools
import importlib.metadata
import pickle
import re
import sys
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

# Part of every Python, or of the packaging itself: MLflow adds its own requirement, and `assay` is not needed to load.
_NEVER = {"assay", "mlflow", "mlflow-skinny", "mlflow-tracing", "pip", "setuptools", "wheel"}
_NEVER_READ = {"__main__", "__mp_main__", "assay", "mlflow"}


def inferred(*parts: object) -> list[str]:
    """The pinned requirements, such as `numpy==2.4.6`, of what the parts of a model refer to, sorted.

    A part is any object, or a code object, whose imports count. What can't be pickled is read as far as possible. Only
    what is installed from a package is named: modules of the project itself are read for what they import.
    """
    modules = _Modules()
    for part in parts:
        if isinstance(part, CodeType):
            modules.add_code(part)
        elif part is not None:
            modules.add_object(part)
    pinned = {_pin(package) for module in modules.found for package in _packages_of(module)}
    return sorted(pin for pin in pinned if pin is not None)


def merged(*groups: Iterable[str]) -> list[str]:
    """The requirements of all groups; where two name one package, the one of the later group holds."""
    by_name: dict[str, str] = {}
    for group in groups:
        for requirement in group:
            name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
            by_name[_normal(name[1]) if name else requirement] = requirement
    return [by_name[name] for name in sorted(by_name)]


def listed(given: str | Iterable[str] | None) -> list[str]:
    """Requirements as MLflow takes them, a list or the path of a requirements file, as a list."""
    if given is None:
        return []
    return [f"-r {given}"] if isinstance(given, str) else list(given)


class _Modules:
    """Collects the names of modules, through the modules that belong to no package."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._read: set[str] = set()

    def add(self, name: str | None) -> None:
        top = (name or "").partition(".")[0]
        if not name or name in self.found or top in _NEVER_READ:
            return
        self.found.add(name)
        if top in self._read or not _is_local(top):
            return
        self._read.add(top)
        for loaded, module in tuple(sys.modules.items()):
            if loaded == top or loaded.startswith(f"{top}."):
                self.add_code(_code_of(module))

    def add_code(self, code: CodeType | None) -> None:
        for imported in _imports(code) if code else ():
            self.add(imported)

    def add_object(self, part: object) -> None:
        import cloudpickle

        modules = self

        class Survey(cloudpickle.Pickler):  # type: ignore[misc]
            def reducer_override(self, obj: Any) -> Any:
                modules.add_reference(obj)
                return super().reducer_override(obj)

        try:
            Survey(_Nowhere(), protocol=5, buffer_callback=lambda _: None).dump(part)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
            return

    def add_reference(self, thing: Any) -> None:
        if isinstance(thing, ModuleType):
            self.add(thing.__name__)
        elif isinstance(thing, FunctionType):
            self.add(thing.__module__)
            if _is_local((thing.__module__ or "__main__").partition(".")[0]):
                self.add_code(thing.__code__)
        else:
            kind = thing if isinstance(thing, type) else type(thing)
            self.add(kind.__module__)


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, content: object) -> int:
        return len(memoryview(content).cast("B"))  # type: ignore[arg-type]


def _imports(code: CodeType) -> Iterator[str]:
    """The modules that code imports absolutely, at any depth of functions and classes."""
    level = 0
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_CONST" and isinstance(instruction.argval, int):
            level = instruction.argval
        elif instruction.opname == "IMPORT_NAME":
            if level == 0:
                yield instruction.argval
            level = 0
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imports(constant)


def _code_of(module: ModuleType) -> CodeType | None:
    spec = getattr(module, "__spec__", None)
    get_code = getattr(spec.loader, "get_code", None) if spec else None
    return get_code(spec.name) if get_code and spec else None


def _is_local(top: str) -> bool:
    return top not in sys.stdlib_module_names and top not in _installed()


def _packages_of(module: str) -> Iterator[str]:
    packages = set(_installed().get(module.partition(".")[0], ()))
    if len(packages) > 1:
        # A namespace such as `google`, which many packages share: those that have the module itself.
        parts = tuple(module.split("."))
        exact = {package for package in packages if _has(package, parts)}
        packages = exact or set()
    yield from packages


def _has(package: str, module: tuple[str, ...]) -> bool:
    files = importlib.metadata.files(package) or ()
    return any(file.with_suffix("").parts[: len(module)] == module for file in files if file.suffix == ".py")


def _pin(package: str) -> str | None:
    if _normal(package) in _NEVER:
        return None
    # A local label such as `+cu121` names a build that no public index has.
    return f"{package}=={importlib.metadata.version(package).partition('+')[0]}"


@functools.cache
def _installed() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
