"""What an MLmodel file says, read with limits and judged before anything of the model is read or run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelry.errors import FailedPrecondition, InvalidArgument

LARGEST_BYTES = 4 * 2**20
"""The largest MLmodel file that is read. Its largest part are schemas, each of which is one text."""

MOST_NODES, DEEPEST = 20_000, 50
"""The most values of an MLmodel file, and the most of them one in another. A value takes about 10 µs to read."""

_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
_HEED_THE_SWITCH = {"mlflow.sklearn", "mlflow.pyfunc.model"}
_NO_PATHS = re.compile(r"model_code_path|loader_module|.*(name|uri)")
"""Options that are no path in the model. Of a `model_code_path` only the last part is used."""
_OTHER_FILES = ("requirements.txt", "conda.yaml", "python_env.yaml")
_LARGEST_OTHER_BYTES = 2**20
_LEADS_OUT = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:[/\\]")


def read(content: bytes) -> Mapping[str, Any]:
    """An MLmodel file, given as its content.

    Raises InvalidArgument, in time that has a limit, for one that is too large, too deep, no YAML or no mapping.
    """
    import yaml

    if len(content) > LARGEST_BYTES:
        raise _refused(f"has {len(content)} bytes, at most {LARGEST_BYTES} are read")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _require_bounded(yaml, yaml.parse(content, Loader=loader))
        found = yaml.load(content, Loader=loader)
    except (yaml.YAMLError, ValueError) as problem:
        raise _refused(f"is no YAML that can be read: {' '.join(str(problem).split())[:200]}") from None
    if not isinstance(found, dict):
        raise _refused("is no mapping")
    return found


def judge(folder: str) -> Mapping[str, Any]:
    """Reads the MLmodel file of a model and returns its flavors; nothing of the model is read or run.

    Raises InvalidArgument for a file that `read` refuses, and for a path that leads out of the model; and
    FailedPrecondition for a model with code, if the environment says that no pickles may be read. A folder without the
    file, or one without flavors, has none.
    """
    for name, most in (("MLmodel", LARGEST_BYTES), *((name, _LARGEST_OTHER_BYTES) for name in _OTHER_FILES)):
        file = Path(folder, name)
        if file.exists() and (size := file.stat().st_size) > most:
            raise _refused(f"has {size} bytes, at most {most} are read", name)
    if not Path(folder, "MLmodel").exists():
        return {}
    model = read(Path(folder, "MLmodel").read_bytes())
    flavors = model.get("flavors") or {}
    if not isinstance(flavors, dict) or not all(isinstance(options, dict) for options in flavors.values()):
        raise _refused("has flavors that are no mapping of mappings")
    for part, options in {"saved_input_example_info": model.get("saved_input_example_info"), **flavors}.items():
        for key, path in _paths(options) if isinstance(options, dict) else ():
            if not _is_inside(folder, path):
                raise _refused(f"has {path[:200]!r} as {key} of {part!r}, which leads out of the model")
    if os.environ.get(_SWITCH, "").lower() in {"false", "0"}:
        _refuse_code(flavors)
    return flavors


def _paths(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The options of a flavor that can be paths in the model."""
    for key, value in options.items():
        if isinstance(value, str) and not _NO_PATHS.fullmatch(str(key)):
            yield str(key), value
    artifacts = options.get("artifacts")
    for name, artifact in artifacts.items() if isinstance(artifacts, dict) else ():
        path = artifact.get("path") if isinstance(artifact, dict) else None
        if isinstance(path, str):
            yield f"artifacts.{name}", path


def _is_inside(folder: str, path: str) -> bool:
    if _LEADS_OUT.search(path) or "\0" in path:
        return False
    root, real = os.path.realpath(folder), os.path.realpath(os.path.join(folder, path))
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _refuse_code(flavors: Mapping[str, Any]) -> None:
    """Refuses what runs code of the model without a pickle. Pickles are refused by MLflow's code."""
    for flavor, options in flavors.items():
        module = options.get("loader_module")
        for key in ("code", "model_code_path"):
            if options.get(key):
                raise _has_code(f"{key} {str(options[key])[:200]!r} of {flavor!r}")
        if module is not None and module not in _HEED_THE_SWITCH:
            raise _has_code(f"the loader {str(module)[:200]!r} of {flavor!r}")


def _require_bounded(yaml: Any, events: Iterator[Any]) -> None:
    depth = 0
    for number, event in enumerate(events):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            raise _refused("has an alias (`*name`), which MLflow never writes")
        if number > MOST_NODES or depth > DEEPEST:
            raise _refused(f"has more than {MOST_NODES} values, or more than {DEEPEST} one in another")


def _has_code(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the model would run code of its own: {what}; {_SWITCH}=false forbids that",
        reason="MODEL_HAS_CODE",
    )


def _refused(problem: str, file: str = "MLmodel") -> InvalidArgument:
    return InvalidArgument(f"the file {file} of the model {problem}; nothing was loaded", reason="MODEL_REFUSED")
