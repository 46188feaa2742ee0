"""The page for those who come from MLflow names everything that they may look for, and nothing that is not there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import assay
from assay import Client
from assay._sdk.packaging.borrowed import mlflow_module

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-mlflow.md").read_text()
TABLES = PAGE.split("## MlflowClient → Client")[1]
FUNCTIONS = PAGE.split("## Functions")[1].split("Beside them")[0]


def test_every_method_of_mlflows_client_is_on_the_page() -> None:
    named = set(re.findall(r"`(\w+)`", TABLES))
    public = {
        name
        for name, _ in inspect.getmembers(mlflow_module("mlflow").MlflowClient, callable)
        if not name.startswith("_")
    }

    assert public - named == set()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"client\.(\w+\.\w+)", PAGE))))
def test_what_the_page_says_of_the_client_is_there(name: str) -> None:
    noun, _, method = name.partition(".")

    assert callable(getattr(getattr(Client(), noun), method))


@pytest.mark.parametrize(
    "name",
    sorted({*re.findall(r"`([a-z_.A-Z]+)`", FUNCTIONS), *re.findall(r"`assay\.(\w+)", PAGE)} - {"mlflow.", "assay."}),
)
def test_what_the_page_says_of_the_functions_is_there(name: str) -> None:
    found: object = assay
    for part in name.split("."):
        found = getattr(found, part)
