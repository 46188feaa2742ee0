"""What the rules are about: the hand-written files, the rooms and their nouns, the contracts and the errors."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor

import modelry_server
from modelry_server.kernel.errors import ModelryError

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "services" / "modelry_server"
PROTOS = ROOT / "protos" / "modelry"
"""The contracts, as `<side>/<package>/v1/*.proto`. The sides are `api`, for clients, and `internal`."""
GENERATED = ("clients/python/modelry/api/", "clients/python/modelry/internal/")
ROOMS = ("access", "tracking", "artifacts", "registry")
"""In the order of calls: a room asks only those that stand before it."""

_PLURALS = {"alias": "aliases", "audit": "audit", "identity": "identities", "usage": "usage"}


@cache
def files(*endings: str) -> tuple[Path, ...]:
    """Hand-written files, relative to the root; with `endings` only those that end so."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = sorted(name for name in listed.stdout.split("\0") if name and not name.startswith(GENERATED))
    return tuple(Path(name) for name in names if name.endswith(endings or ("",)) and (ROOT / name).is_file())


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse((ROOT / path).read_text(), str(path))


def imports(path: Path) -> Iterator[str]:
    """Full names of what a Python file imports: `a.b.c` for `from a.b import c`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def nouns(room: str) -> list[str]:
    """The nouns of a room that have a service, as its files are named: `runs`, `aliases`."""
    found = PROTOS.glob(f"*/{room}/v1/*_service.proto")
    return [
        _PLURALS.get(noun, f"{noun}s") for noun in sorted(path.name.removesuffix("_service.proto") for path in found)
    ]


def contracts() -> Iterator[FileDescriptor]:
    """Every file of the contracts, for clients and internal ones."""
    for path in sorted(PROTOS.glob("*/*/v1/*.proto")):
        module = ".".join(path.relative_to(PROTOS.parent).with_suffix("").parts)
        descriptor: FileDescriptor = importlib.import_module(f"{module}_pb2").DESCRIPTOR
        yield descriptor


def services() -> Iterator[ServiceDescriptor]:
    """Every service of the contracts."""
    for file in contracts():
        yield from file.services_by_name.values()


def rpcs() -> Iterator[tuple[str, MethodDescriptor]]:
    """Every rpc by its full name, `/modelry.api.tracking.v1.RunService/GetRun`."""
    for service in services():
        for method in service.methods:
            yield f"/{service.full_name}/{method.name}", method


def comment_above(proto: str, declaration: str) -> str:
    """The comment that stands directly above a declaration in the text of a contract."""
    found = re.search(rf"((?:^[ \t]*//.*\n)+)[ \t]*{re.escape(declaration)}\b", proto, re.MULTILINE)
    return found.group(1) if found else ""


@cache
def server_modules() -> tuple[ModuleType, ...]:
    """Every module of the server, imported."""
    walked = pkgutil.walk_packages(modelry_server.__path__, "modelry_server.")
    names = [found.name for found in walked if not found.name.endswith("__main__") and ".migrations" not in found.name]
    return tuple(importlib.import_module(name) for name in names)


def server_errors() -> list[type[ModelryError]]:
    """Every error class of the server."""
    server_modules()
    found, todo = [], [ModelryError]
    while todo:
        kinds = todo.pop().__subclasses__()
        found += kinds
        todo += kinds
    return sorted(set(found), key=lambda kind: f"{kind.__module__}.{kind.__name__}")
