from __future__ import annotations

import importlib
import pkgutil

import pytest

import modelry.api
import modelry.internal

MODULES = sorted(
    found.name
    for package in (modelry.api, modelry.internal)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@pytest.mark.parametrize("name", MODULES)
def test_generated_code_loads_on_this_runtime_without_a_warning(name: str) -> None:
    assert importlib.import_module(name)


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith(".v1")])
def test_a_package_of_the_contract_promises_what_it_exports(name: str) -> None:
    package = importlib.import_module(name)

    assert package.__all__
    assert [key for key in package.__all__ if not hasattr(package, key)] == []
