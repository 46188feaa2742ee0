"""The packages that a model needs, read from the model itself.

MLflow loads the saved model in a second Python process and notes what is imported. That takes 2.6 s for each model, and
it also notes unrelated imports (psutil and rich for a random forest). Here the model is walked as pickle walks it, with
nothing written: the packages of all classes, functions and modules that it refers to, and those that its own functions
import. That takes 7 ms for a random forest of 200 trees, and 0.2 s once per process to list the installed packages.
"""

from __future__ import annotations

import dis
import functools
import importlib.metadata
import importlib.util
import logging
import os
import pickle
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from modelry._sdk.values import urls
from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry._sdk.values.texts import shown
from modelry.errors import InvalidArgument

log = logging.getLogger("modelry")

_OF_PYTORCH = re.compile(r"cu\d+|cpu|xpu|rocm[\d.]+")
"""The labels of builds for which PyTorch has an index each."""

# Part of every Python, or of the packaging itself: MLflow adds its own requirement, and Modelry is not needed.
_NEVER = {"modelry", "mlflow", "mlflow-skinny", "mlflow-tracing", "pip", "setuptools", "wheel"}
_NEVER_READ = {"__main__", "__mp_main__", "modelry", "mlflow"}


def inferred(*parts: object) -> list[str]:
    """The pinned requirements, such as `numpy==2.4.6`, of what the parts of a model refer to, sorted.

    Only installed packages are named.
    """
    return of_modules(modules_of(*parts))


def modules_of(*parts: object) -> Set[str]:
    """The names of the modules that the parts of a model refer to.

    A part is any object, or a code object, whose imports count. An object that can't be pickled is read as far as
    possible. Modules of the project itself are read for what they import.
    """
    modules = _Modules()
    for part in parts:
        if isinstance(part, CodeType):
            modules.add_code(part)
        elif part is not None:
            modules.add_object(part)
    return modules.found


def of_modules(modules: Set[str]) -> list[str]:
    """The pinned requirements of the packages that have the modules, sorted."""
    packages = {package for module in modules for package in _packages_of(module)}
    return sorted(pinned(*(package for package in packages if _normal(package) not in _NEVER)))


def tell_missing(modules: Set[str], code_paths: Iterable[str | os.PathLike[str]]) -> None:
    """Says in the log which modules of the project a model needs that do not go with it.

    They are those that belong to no package and are not in `code_paths`. What is pickled by value goes with it.
    """
    import cloudpickle

    going = {Path(path).stem for path in code_paths} | set(cloudpickle.list_registry_pickle_by_value())
    tops = {module.partition(".")[0] for module in modules if _is_local(module)}
    missing = sorted(top for top in tops - going if _has_file(top))
    if missing:
        log.warning(
            "the model uses modules that belong to no installed package, so it can't be loaded where they are missing: "
            "%s; log it with code_paths=[…], the paths of their files or folders",
            ", ".join(missing),
        )


def tell_local(needed: Iterable[str]) -> None:
    """Says in the log which requirements can't be installed elsewhere, or not from an index."""
    names = sorted(name for requirement in needed if (name := _name(requirement)) and _local_source(name))
    if names:
        log.warning(
            "these packages were installed from a folder or file of this machine, so other machines can't install "
            "them, or would get what an index has under their names: %s; publish them, or give pip_requirements or "
            "code_paths",
            ", ".join(names),
        )


def tell_builds(needed: Iterable[str]) -> None:
    """Says in the log which packages are builds, such as for CUDA, of which an index may have others.

    A build has a label after its version (`2.13.0+cu132`). The main index has no labels, and other machines may need
    another build. So the version is required without it.
    """
    builds = {name: build for requirement in needed if (name := _name(requirement)) and (build := _build(requirement))}
    if not builds:
        return
    name, build = next(iter(builds.items()))
    label = build.partition("+")[2]
    index = f"'--extra-index-url https://download.pytorch.org/whl/{label}', " if _OF_PYTORCH.fullmatch(label) else ""
    log.warning(
        "these packages are builds that the main index does not have: %s; the model requires their versions without "
        "the label, of which other machines get the build of their index; for the same one give "
        "extra_pip_requirements=[%s'%s==%s']",
        ", ".join(f"{each} {version}" for each, version in builds.items()),
        index,
        name,
        build,
    )


def pinned(*packages: str) -> list[str]:
    """The requirements of packages as they are installed. Packages that are not installed are left out.

    What came from a repository, an address or a folder is required from there: an index may have something else under
    the name.
    """
    pins = []
    for package in packages:
        if not (version := _version(package)):
            continue
        # A local label such as `+cu121` names a build that no public index has.
        pins.append(_elsewhere(package) or f"{package}=={version.partition('+')[0]}")
    return pins


def merged(*groups: Iterable[str]) -> list[str]:
    """The requirements of all groups. If two name the same package, the later one counts."""
    by_name: dict[str, str] = {}
    for group in groups:
        for requirement in group:
            by_name[_normal(_name(requirement)) or requirement] = requirement
    return [by_name[name] for name in sorted(by_name)]


def listed(given: str | Iterable[str] | None) -> list[str]:
    """Requirements as a list. MLflow takes a list, or the path of a requirements file."""
    if given is None:
        return []
    return [f"-r {given}"] if isinstance(given, str) else list(given)


def require_all(argument: str, given: str | Iterable[str] | None) -> None:
    """Raises InvalidArgument for the first requirement that pip would not understand.

    Options of pip, URLs and paths are not judged. Raises it too for a text that is not the path of a file, since a text
    is one in MLflow, and for a mapping, whose versions would be lost.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    if isinstance(given, str) and not os.path.isfile(given):
        raise _not_requirements(
            argument, given, [given], "; a text is the path of a requirements file, and there is none"
        )
    if isinstance(given, Mapping):
        raise _not_requirements(argument, given, [f"{name}=={version}" for name, version in given.items()], "")
    if given is not None and (not isinstance(given, Iterable) or isinstance(given, Iterator)):  # that is read once
        raise _not_requirements(argument, given, ["scikit-learn==1.5.0"], "")
    for line in listed(given):
        text = line.partition(" #")[0].partition(" --")[0].strip() if isinstance(line, str) else ""
        if isinstance(line, str) and (not text or text.startswith(("-", "#")) or any(each in text for each in "/\\$")):
            continue
        try:
            Requirement(text)
        except InvalidRequirement:
            wanted = "a requirement of pip, such as 'scikit-learn==1.5.0'"
            raise InvalidArgument(
                f"{argument} has {line!r}, which is not {wanted}",
                reason="FIELD_INVALID",
                fields={argument: f"must have {wanted}"},
            ) from None


def require_conda_file(given: object) -> None:
    """Raises InvalidArgument for a text as `conda_env` that is not the path of a file. None and mappings are fine."""
    if isinstance(given, str) and not os.path.isfile(given):
        wanted = "the path of a file that conda reads, or a mapping"
        raise InvalidArgument(
            f"conda_env must be {wanted}, and there is no file {given!r}",
            reason="FIELD_INVALID",
            fields={"conda_env": f"must be {wanted}"},
        )


def _not_requirements(argument: str, given: object, right: list[str], why: str) -> InvalidArgument:
    wanted = "a list of requirements, or the path of a requirements file as a text"
    return InvalidArgument(
        f"{argument} must be {wanted}, not {urls.masked(shown(given))}{why}; give "
        f"{argument}={[urls.masked(each) for each in right]}",
        reason="FIELD_INVALID",
        fields={argument: f"must be {wanted}"},
    )


class _Modules:
    """Collects the names of modules, through the modules that belong to no package."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def add(self, name: str) -> None:
        if name in self.found or not name or name.partition(".")[0] in _NEVER_READ:
            return
        self.found.add(name)
        module = sys.modules.get(name)
        if module is not None and _is_local(name):
            self.add(name.rpartition(".")[0])
            self.add_code(_code_of(module), module.__package__ or "")

    def add_code(self, code: CodeType | None, package: str = "") -> None:
        for imported in _imports(code, package) if code else ():
            self.add(imported)

    def add_object(self, part: object) -> None:
        import cloudpickle

        modules = self

        class Survey(cloudpickle.Pickler):  # type: ignore[misc]
            def reducer_override(self, obj: Any) -> Any:
                modules.add_reference(obj)
                return (object, ()) if _refers_to_no_more(obj) else super().reducer_override(obj)

        try:
            Survey(_Nowhere(), protocol=5, buffer_callback=lambda _: None).dump(part)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
            return

    def add_reference(self, thing: Any) -> None:
        if isinstance(thing, ModuleType):
            self.add(thing.__name__)
        elif not isinstance(thing, type | FunctionType):
            self.add_reference(type(thing))
        elif _can_be_imported(thing):
            for made_of in thing.__mro__ if isinstance(thing, type) else (thing,):  # such as an estimator of XGBoost
                self.add(made_of.__module__)
        elif isinstance(thing, FunctionType):
            # It is pickled with its code. The globals that its code uses are pickled next.
            self.add_code(thing.__code__, thing.__globals__.get("__package__") or "")


def _refers_to_no_more(thing: Any) -> bool:
    """Whether a thing need not be pickled to see what it refers to.

    Tensors of PyTorch copy their data when they are pickled, and a module is pickled by a function of the pickler.
    """
    if isinstance(thing, ModuleType):
        return thing.__name__ in sys.modules
    return any(each.__module__ == "torch" for each in type(thing).__mro__)


class _Nowhere:
    """A file that discards what is written to it."""

    def write(self, content: object) -> int:
        return len(memoryview(content).cast("B"))  # type: ignore[arg-type]


def _imports(code: CodeType, package: str) -> Iterator[str]:
    """The modules that code imports, also inside its functions and classes, and the names in them that are modules."""
    level, module = 0, ""
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_CONST", "LOAD_SMALL_INT"} and isinstance(instruction.argval, int):
            level = instruction.argval
        elif instruction.opname == "IMPORT_NAME":
            module = instruction.argval
            if level:
                above = package.split(".")[: len(package.split(".")) - level + 1]
                module = ".".join([*above, module] if module else above)
            yield module
            level = 0
        elif instruction.opname == "IMPORT_FROM" and f"{module}.{instruction.argval}" in sys.modules:
            yield f"{module}.{instruction.argval}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imports(constant, package)


def _can_be_imported(thing: type | FunctionType) -> bool:
    """Whether pickle refers to it by its module. Otherwise it is pickled by value."""
    found: Any = sys.modules.get(thing.__module__ or "__main__")
    if found is None or found.__name__ in _NEVER_READ:
        return False
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


def _code_of(module: ModuleType) -> CodeType | None:
    spec = getattr(module, "__spec__", None)
    get_code = getattr(spec.loader, "get_code", None) if spec else None
    code: CodeType | None = get_code(spec.name) if get_code and spec else None
    return code


def _has_file(module: str) -> bool:
    """Whether a top-level module is there, and not only made by a program such as Cython."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and (spec.has_location or spec.submodule_search_locations is not None)


def _is_local(module: str) -> bool:
    top = module.partition(".")[0]
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


@functools.cache
def _installed() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _elsewhere(package: str) -> str:
    """The requirement of a package that came from elsewhere than from an index. Empty if it came from one.

    A file of this machine is a package that was built or fetched before: its name is required at an index.
    """
    source = _source(package)
    url = urls.without_credentials(str(source.get("url", "")))
    origin = source.get("vcs_info")
    if isinstance(origin, dict):
        url = f"{origin.get('vcs', 'git')}+{url}@{origin.get('commit_id', '')}"
    elif "dir_info" not in source and not url.startswith(("https://", "http://")):
        return ""
    folder = source.get("subdirectory")
    return f"{package} @ {url}" + (f"#subdirectory={folder}" if folder else "")


def _build(requirement: str) -> str:
    """The installed version of a package that is required by that version without its label; empty if it has none."""
    name, _, version = requirement.partition("==")
    try:
        installed = importlib.metadata.version(name.strip())
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""
    public, _, label = installed.partition("+")
    return installed if label and version.strip() == public else ""


def _local_source(package: str) -> str:
    """The folder or file of this machine from which a package was installed; empty for another source."""
    url = str(_source(package).get("url", ""))
    return url if url.startswith("file:") else ""


@functools.cache
def _source(package: str) -> Mapping[str, Any]:
    """What its installer noted of the source of a package (PEP 610): nothing if it came from an index."""
    try:
        found = importlib.metadata.distribution(package)
        noted = json_object_of(found.read_text("direct_url.json") or "{}")
        by_conda = (found.read_text("INSTALLER") or "").strip() == "conda"
    except (importlib.metadata.PackageNotFoundError, Unreadable, ValueError):
        return {}
    # Conda notes where it built its own packages.
    return {} if by_conda else noted


def _version(package: str) -> str:
    """The installed version of a package; empty without it."""
    try:
        return importlib.metadata.version(package) if package else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def _name(requirement: str) -> str:
    """The package of a requirement; empty for a line that names none, such as `-r file`."""
    name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return name[1] if name else ""


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
