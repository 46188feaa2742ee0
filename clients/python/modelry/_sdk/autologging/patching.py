"""Puts wrappers in the place of functions of frameworks, when these are imported, and takes them away again.

Nothing is imported for it: what is there already is wrapped at once, and an entry of `sys.meta_path` hears of modules
that are imported later. Python's own loaders do the import; the entry only learns that it is done.
"""

from __future__ import annotations

import importlib.machinery
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from modelry._sdk.values import signals

log = logging.getLogger("modelry")

_LOADERS = (
    importlib.machinery.SourceFileLoader,
    importlib.machinery.SourcelessFileLoader,
    importlib.machinery.ExtensionFileLoader,
)
"""The loaders that each have one module, so that one of them can be asked to tell when it is done."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What to wrap: the attribute `name` of a class, or of a module, by what `make(original)` gives.

    A function of a module is replaced wherever a module has it under any name, so that `from xgboost import train`
    before or after does not matter.
    """

    owner: Any
    name: str
    make: Callable[[Any], Any]


class Patches:
    """The wrappers that are in place, by the framework that they belong to."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watched: dict[str, dict[str, Callable[[ModuleType], Iterable[Replacement]]]] = {}
        """What to wrap in a module, by its package and by the framework."""
        self._made: dict[str, list[tuple[Any, str, Any, Any]]] = {}
        self._hook = _Hook(self)

    def put(
        self, framework: str, packages: Iterable[str], wanted: Callable[[ModuleType], Iterable[Replacement]]
    ) -> None:
        """Wraps what `wanted(module)` names in the modules of packages, now and when they are imported."""
        with self._lock:
            for package in packages:
                self._watched.setdefault(package, {})[framework] = wanted
            if self._hook not in sys.meta_path:
                sys.meta_path.insert(0, self._hook)
            for name, module in list(sys.modules.items()):
                spec = getattr(module, "__spec__", None)
                # A module that is being imported, perhaps by another thread, is told of when it is complete.
                if name.partition(".")[0] in packages and not getattr(spec, "_initializing", False):
                    self._wrap(framework, module, wanted)

    def remove(self, framework: str) -> None:
        """Puts the originals of a framework back, also where modules have got a wrapper since."""
        with self._lock:
            for package in [name for name, wanted in self._watched.items() if wanted.pop(framework, None)]:
                if not self._watched[package]:
                    del self._watched[package]
            if not self._watched and self._hook in sys.meta_path:
                sys.meta_path.remove(self._hook)
            for owner, name, original, wrapper in reversed(self._made.pop(framework, [])):
                if vars(owner).get(name) is wrapper:
                    setattr(owner, name, original)
                if isinstance(owner, ModuleType):
                    _exchange(wrapper, original)

    def watches(self, module: str) -> bool:
        """Whether a module is of a package of interest."""
        return module.partition(".")[0] in self._watched

    def imported(self, module: ModuleType) -> None:
        """Wraps what is wanted in a module that has just been imported. It never breaks the import."""
        with self._lock:
            for framework, wanted in list(self._watched.get(module.__name__.partition(".")[0], {}).items()):
                self._wrap(framework, module, wanted)

    def _wrap(self, framework: str, module: ModuleType, wanted: Callable[[ModuleType], Iterable[Replacement]]) -> None:
        made = self._made.setdefault(framework, [])
        try:
            for each in wanted(module):
                original = vars(each.owner)[each.name]
                if any(original is wrapper or original is before for _, _, before, wrapper in made):
                    continue  # such as a function that another module has under the same name
                wrapper = each.make(original)
                made.append((each.owner, each.name, original, wrapper))
                setattr(each.owner, each.name, wrapper)
                if isinstance(each.owner, ModuleType):
                    _exchange(original, wrapper)
        except Exception as problem:  # It may be a version of the framework that we don't know.
            signals.pass_on(problem)
            log.warning("autologging of %s: %s can't be observed: %s", framework, module.__name__, problem)


class _Hook:
    """The entry of `sys.meta_path`."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other entries find, and has its loader tell when the module is there."""
        if not self._patches.watches(name):
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is not self and find is not None and (spec := find(name, path, target)) is not None:
                if isinstance(spec.loader, _LOADERS):
                    self._listen(spec.loader)
                return spec  # type: ignore[no-any-return]
        return None

    def _listen(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            execute(module)
            self._patches.imported(sys.modules.get(module.__name__, module))

        loader.exec_module = exec_module


def _exchange(old: Any, new: Any) -> None:
    """Puts `new` wherever a module has `old` as a global."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if isinstance(module, ModuleType) and names is not None and not module.__name__.startswith("modelry."):
            for name in [name for name, value in list(names.items()) if value is old]:
                names[name] = new


patches = Patches()
