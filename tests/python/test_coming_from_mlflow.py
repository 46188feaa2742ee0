"""The page for those who come from MLflow names everything that they may look for, and nothing that is not there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.schemas.borrowed import mlflow_module

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
    sorted(
        {*re.findall(r"`([a-z_.A-Z]+)`", FUNCTIONS), *re.findall(r"`modelry\.(\w+)", PAGE)} - {"mlflow.", "modelry."}
    ),
)
def test_what_the_page_says_of_the_functions_is_there(name: str) -> None:
    found: object = modelry
    for part in name.split("."):
        found = getattr(found, part)


def test_the_page_names_each_argument_of_mlflow_that_is_not_there() -> None:
    mlflow = mlflow_module("mlflow")
    rows = [row for row in PAGE.split("### Arguments")[1].split("## MlflowClient")[0].splitlines() if row[:3] == "| `"]
    said = {name: cells[2] for row in rows if (cells := row.split("|")) for name in re.findall(r"`(\w+)`", cells[1])}
    shared = [name for name in re.findall(r"`(\w+)`", FUNCTIONS) if hasattr(mlflow, name)]

    for name in shared:
        theirs, ours = (set(inspect.signature(getattr(each, name)).parameters) for each in (mlflow, modelry))
        missing = theirs - ours
        assert missing <= set(re.findall(r"`(\w+)`", said.get(name, ""))), name
    assert {"log_metric", "start_run", "search_runs"} <= set(shared)
