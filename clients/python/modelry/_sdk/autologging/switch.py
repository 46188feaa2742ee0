"""Which frameworks are observed, with which options."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any

from modelry._sdk.autologging import checks, quietly
from modelry._sdk.autologging.options import Options
from modelry._sdk.autologging.patching import Replacement, patches
from modelry.errors import InvalidArgument

log = logging.getLogger("modelry")

_COMMON = tuple(each.name for each in fields(Options) if each.name != "own")


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework: the packages whose modules are looked at, what to wrap in one, and its own options with defaults."""

    name: str
    packages: tuple[str, ...]
    wanted: Callable[[ModuleType], Iterable[Replacement]]
    own: Mapping[str, Any] = field(default_factory=dict)
    distribution: str = ""
    """The name of its distribution package."""
    tested: str = ""
    """The version that is tested, such as `1.9`."""


_chosen: dict[str, Options] = {}
"""The options in effect, by framework. A framework that is not in it is not observed."""
_by_itself: set[str] = set()
"""The frameworks whose own `autolog` was called, which `modelry.autolog` leaves as they are."""


def options_of(name: str) -> Callable[[], Options | None]:
    """A function that answers with the options of a framework that are in effect, None if it is off."""
    return lambda: _chosen.get(name)


def switch(framework: Framework, given: Mapping[str, Any], *, disable: bool = False) -> None:
    """Turns a framework on with options, or off.

    Raises InvalidArgument for an option that it does not have, or a value that it can't have.
    """
    checks.check_flag("disable", disable)
    options = _options(framework, given)
    if disable:
        _off(framework)
        _by_itself.discard(framework.name)
        return
    _by_itself.add(framework.name)
    _on(framework, options)


def switch_all(
    frameworks: Iterable[Framework], given: Mapping[str, Any], *, disable: bool, excluded: Iterable[str]
) -> None:
    """Turns frameworks on or off together; those whose own `autolog` was called keep their options.

    Raises InvalidArgument for an option or a flavor that is not there, and for a value that an option can't have,
    before anything is changed.
    """
    checks.check_flag("disable", disable)
    by_name = {each.name: each for each in frameworks}
    left_out = set(excluded)
    for name in sorted(left_out - set(by_name)):
        raise _unknown("exclude_flavors", "flavor", name, by_name)
    chosen = [(each, _options(each, given)) for each in by_name.values()]
    if disable:
        for framework in by_name.values():
            switch(framework, {}, disable=True)
        return
    for framework, options in chosen:
        if framework.name in _by_itself:
            continue
        if framework.name in left_out:
            _off(framework)
        else:
            _on(framework, options)


def _on(framework: Framework, options: Options) -> None:
    _off(framework)
    _chosen[framework.name] = options

    @functools.cache
    def is_left_alone() -> bool:
        return not _is_tested(framework, options) and options.disable_for_unsupported_versions

    def wanted(module: ModuleType) -> Iterable[Replacement]:
        if is_left_alone():
            return ()
        if options.log_models and module.__name__ == framework.packages[0]:
            _prepare_packaging(framework, options)
        return framework.wanted(module)

    if options.log_models and framework.packages[0] in sys.modules and not is_left_alone():
        _prepare_packaging(framework, options)
    patches.put(framework.name, framework.packages, wanted)


def _off(framework: Framework) -> None:
    _chosen.pop(framework.name, None)
    patches.remove(framework.name)
    if not _chosen:
        quietly.forget()


def _prepare_packaging(framework: Framework, options: Options) -> None:
    """Imports the packaging code now, where one waits for imports anyway, and not beside the first fit."""
    from modelry._sdk.schemas.borrowed import mlflow_module

    try:
        mlflow_module(f"mlflow.{framework.name}")
    except ImportError as missing:
        level = logging.DEBUG if options.silent else logging.WARNING
        log.log(level, "autologging logs no models: %s; log_models=False turns this warning off", missing)


def _is_tested(framework: Framework, options: Options) -> bool:
    """Whether the version that is installed has the tested major number (minor one, where that is 0). Tells if not."""
    try:
        found = importlib.metadata.version(framework.distribution) if framework.tested else ""
    except importlib.metadata.PackageNotFoundError:
        return True
    if _series(found) == _series(framework.tested):
        return True
    log.log(
        logging.DEBUG if options.silent else logging.WARNING,
        "autologging of %s is tested with version %s, and %s is installed%s",
        *(framework.name, framework.tested, found),
        ", so its fits log nothing" if options.disable_for_unsupported_versions else "",
    )
    return False


def _series(version: str) -> list[str]:
    major, *rest = version.split(".")
    return [major, *(rest[:1] if major == "0" else [])]


def _options(framework: Framework, given: Mapping[str, Any]) -> Options:
    known = {*_COMMON, *framework.own}
    for name in given:
        if name not in known:
            raise _unknown(f"{framework.name}.autolog", "option", name, known)
    checks.check(framework.name, given)
    common = {name: given[name] for name in _COMMON if name in given}
    return Options(**common, own={name: given.get(name, value) for name, value in framework.own.items()})


def _unknown(where: str, kind: str, name: str, known: Iterable[str]) -> InvalidArgument:
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    return InvalidArgument(
        f"{where} has no {kind} {name!r}; {advice}", reason="FIELD_INVALID", fields={str(name): f"is no {kind}"}
    )
