"""What the files of a model say that MLflow reads as text, read with limits and judged before anything is run.

MLflow reads more than the MLmodel file of the model: its loaders read one in the folder that `data` names, and
`requirements.txt` leads to other files. So all files of these names are judged alike, wherever they lie in the model.
"""

from __future__ import annotations

import locale
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelry._sdk.packaging import forbidding
from modelry._sdk.values.foreign import Unreadable, yaml_of
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument

LARGEST_BYTES = 4 * 2**20
"""The most bytes of MLmodel files that are read. The largest part are schemas, each of which is one text."""

MOST_NODES, DEEPEST = 20_000, 50
"""The most values of MLmodel files, and the most of them one in another. A value takes about 0.1 ms to read."""

_NO_PATHS = re.compile(r"model_code_path|loader_module|.*(name|uri)")
"""Options that are no path in the model. Of a `model_code_path` only the last part is used."""
_LARGEST_OTHER_BYTES = 2**20
_MOST_REQUIREMENTS = 5_000
"""The most requirements of a model. MLflow compares each with what is installed, which takes about 0.5 ms."""
_REFERENCE = re.compile(r"(-r|-c|--requirement|--constraint)[\s=]*(.*)", re.DOTALL)
_LEADS_OUT = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:[/\\]")


def read(content: bytes) -> Mapping[str, Any]:
    """An MLmodel file, given as its content.

    Raises InvalidArgument, in time that has a limit, for one that is too large, too deep, no YAML or no mapping.
    """
    if len(content) > LARGEST_BYTES:
        raise _refused(f"has {len(content)} bytes, at most {LARGEST_BYTES} are read")
    return _read(content, "MLmodel", MOST_NODES)[0]


def judge(folder: str) -> Mapping[str, Any]:
    """Reads the MLmodel files of a model and its requirements, and returns its flavors; nothing of it is run.

    Each file of that name in the folder or below counts, because MLflow may read it. Raises InvalidArgument for files
    that `read` would refuse if they were one, or that are another text in the encoding of this machine, for a path in
    them or a link that leads out of the folder of the file, for a link that leads out of the model, for what is neither
    file nor folder, and for requirements that lead to other files than small ones beside them; and FailedPrecondition
    for a model with code, if the environment says that no pickles may be read. A folder without the file, or one
    without flavors, has none.
    """
    found: Mapping[str, Any] = {}
    bytes_left, nodes_left = LARGEST_BYTES, MOST_NODES
    for name in _mlmodels(folder):
        file = os.path.join(folder, name)
        content = _content(file, name, bytes_left)
        bytes_left -= len(content)
        model, count = _read(_text(content, name), name, nodes_left)
        nodes_left -= count
        flavors = _flavors(model, os.path.dirname(file), name)
        if forbidding.is_on():
            forbidding.refuse_code(model, os.path.dirname(file))
        if name == "MLmodel":
            found = flavors
    for name in ("conda.yaml", "python_env.yaml"):
        if os.path.lexists(file := os.path.join(folder, name)):
            _content(file, name, _LARGEST_OTHER_BYTES)
    requirements(folder)
    return found


def _mlmodels(folder: str) -> Iterator[str]:
    """The paths of all MLmodel files of a model, in any case of letters: not every file system distinguishes them."""
    above = [""]
    while above:
        inside = above.pop()
        try:
            with os.scandir(os.path.join(folder, inside)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as problem:
            raise _refused(f"can't be listed: {problem.strerror}", inside or ".") from None
        for entry in found:
            path = os.path.join(inside, entry.name)
            if entry.is_symlink() and not _is_inside(folder, path):
                raise _refused("is a link that leads out of the model, or nowhere", path)
            if entry.is_dir(follow_symlinks=False):
                above.append(path)
            elif not entry.is_file() and not entry.is_dir():
                raise _refused("is neither a file nor a folder", path)
            elif entry.name.lower() == "mlmodel" and entry.is_file():
                yield path


def _content(file: str, name: str, most: int) -> bytes:
    status = os.stat(file)
    if not stat.S_ISREG(status.st_mode):
        raise _refused("is no file", name)
    if status.st_size > most:
        raise _refused(f"has {status.st_size} bytes, at most {most} are read, of all files of its kind together", name)
    return Path(file).read_bytes()


def _text(content: bytes, name: str) -> str:
    """The text of a file that MLflow reads in the encoding of this machine. Raises InvalidArgument if it differs."""
    here = locale.getpreferredencoding(False)
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        raise _refused(f"can't be read: {problem}", name) from None
    if text != content.decode(here, "replace"):
        raise _refused(
            f"is another text in UTF-8 than in {here}, in which MLflow reads it on this machine: run Python with "
            "PYTHONUTF8=1, or in a locale of UTF-8",
            name,
        )
    return text


def _read(content: bytes | str, name: str, most: int) -> tuple[dict[str, Any], int]:
    try:
        found, count = yaml_of(content, most=most, deepest=DEEPEST)
    except Unreadable as problem:
        raise _refused(str(problem), name) from None
    if not isinstance(found, dict):
        raise _refused("is no mapping", name)
    return found, count


def _flavors(model: Mapping[str, Any], folder: str, name: str) -> Mapping[str, Any]:
    """The flavors of an MLmodel file. Raises InvalidArgument if they are malformed or lead out of its folder."""
    flavors = model.get("flavors") or {}
    if not isinstance(flavors, dict) or not all(isinstance(options, dict) for options in flavors.values()):
        raise _refused("has flavors that are no mapping of mappings", name)
    for part, options in {"saved_input_example_info": model.get("saved_input_example_info"), **flavors}.items():
        for key, path in _paths(options) if isinstance(options, dict) else ():
            # MLflow reads `data` as an address, in which %2e is a dot.
            if not _is_inside(folder, path) or (key == "data" and re.search("[%?#]", path)):
                raise _refused(
                    f"has {path[:200]!r} as {key} of {text_of(part)[:200]!r}, which leads out of the model", name
                )
    return flavors


def requirements(folder: str) -> tuple[list[str], list[str]]:
    """The lines of `requirements.txt` and of what it refers to: requirements and options, and constraints.

    Raises InvalidArgument for a reference that `judge` refuses, because MLflow follows it wherever it leads. MLflow
    itself writes at most `-c constraints.txt`, and no reference into that file.
    """
    name, left, count = "requirements.txt", _LARGEST_OTHER_BYTES, 0
    names = [(name, False)] if os.path.lexists(os.path.join(folder, name)) else []
    read, found, constraints = set[str](), list[str](), list[str]()
    while names:
        name, constrains = names.pop()
        if name in read or os.path.basename(name) != name or not os.path.lexists(os.path.join(folder, name)):
            raise _refused(
                f"refers to {name[:200]!r}, which is no other file beside it, or one that it refers to twice",
                "requirements.txt",
            )
        read.add(name)
        left -= len(_content(os.path.join(folder, name), name, left))
        for requirement in _requirements(os.path.join(folder, name), name):
            count += 1
            if count > _MOST_REQUIREMENTS:
                raise _refused(f"has more than {_MOST_REQUIREMENTS} requirements", name)
            if reference := _REFERENCE.match(requirement):
                names.append((reference[2].strip(), constrains or reference[1] in {"-c", "--constraint"}))
            else:
                (constraints if constrains else found).append(requirement)
    return found, constraints


def _requirements(file: str, name: str) -> list[str]:
    """The lines of a requirements file as MLflow joins them."""
    try:
        lines = Path(file).read_text().splitlines()  # in the encoding of this machine, as MLflow reads it
    except ValueError as problem:
        raise _refused(f"can't be read: {problem}", name) from None
    joined, begun = [], ""
    for line in lines:
        stripped = line.strip()
        stripped = stripped[: stripped.find(" #")].rstrip() if " #" in stripped else stripped
        begun += stripped.rstrip("\\") if stripped.endswith("\\") else stripped
        if not stripped.endswith("\\"):
            joined.append(begun)
            begun = ""
    return [line for line in [*joined, begun] if line and not line.startswith("#")]


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
    try:
        root, real = os.path.realpath(folder), os.path.realpath(os.path.join(folder, path))
    except (OSError, ValueError):  # a name that no file system has
        return False
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _refused(problem: str, file: str = "MLmodel") -> InvalidArgument:
    return InvalidArgument(f"the file {file} of the model {problem}; nothing was loaded", reason="MODEL_REFUSED")
