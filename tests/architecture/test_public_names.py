from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

from modelry._sdk.transport.settings import ELSEWHERE, service_variable
from modelry_server.config import Config
from modelry_server.kernel.config import sections
from tests.architecture.tree import ROOT, files, parsed

SDK = Path("clients/python")
FACE = SDK / "modelry" / "__init__.py"


def public_modules() -> list[str]:
    inside = [path.relative_to(SDK).with_suffix("") for path in files(".py") if path.is_relative_to(SDK / "modelry")]
    shown = [path for path in inside if not any(part.startswith("_") and part != "__init__" for part in path.parts)]
    return [".".join(part for part in path.parts if part != "__init__") for path in shown]


@pytest.mark.parametrize("name", public_modules())
def test_all_names_what_is_public_and_nothing_else(name: str) -> None:
    module = importlib.import_module(name)
    promised = set(getattr(module, "__all__", ()))
    defined = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    }

    assert promised, f"{name} has no __all__"
    assert sorted(key for key in promised if not hasattr(module, key)) == []
    assert sorted(defined - promised) == [], "make these private, or promise them in __all__"


def test_the_names_that_are_loaded_lazily_are_typed_and_promised() -> None:
    typed = {
        alias.asname or alias.name
        for block in parsed(FACE).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    promised = set(importlib.import_module("modelry").__all__)

    assert typed == promised - {"__version__"}


def test_the_server_knows_which_variables_of_clients_look_like_its_settings() -> None:
    clients = [path for path in files(".py") if path.is_relative_to("clients")]
    named = {name for path in clients for name in re.findall(r"\bMODELRY_[A-Z0-9_]+\b", (ROOT / path).read_text())}
    named |= {service_variable(service) for service in ELSEWHERE}
    settings = {
        f"MODELRY_{section}_{field.name}".upper()
        for section, kind in sections(Config)
        for field in dataclasses.fields(kind)
    }
    begins = tuple(f"MODELRY_{section.upper()}_" for section, _ in sections(Config))

    assert {name for name in named if name.startswith(begins)} - settings == Config.OTHERS
