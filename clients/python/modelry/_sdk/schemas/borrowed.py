"""MLflow's packaging code: its model format without its tracking client.

Modelry does not implement the format again. `mlflow-skinny` is imported when a model is first saved or loaded, and only
its functions that work on local folders are called. See docs/adr/0005-model-packaging.md.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from modelry._sdk.schemas import advice
from modelry._sdk.transport import process

# Read by MLflow while it is imported. Without it MLflow writes an installation id into the home folder and sends
# usage data from a thread of its own.
_WHILE_IMPORTING = {"MLFLOW_DISABLE_TELEMETRY": "true"}


class Borrowing(process.Turn):
    """Held by the thread that imports MLflow, or has other functions in the place of MLflow's."""


def mlflow_module(name: str) -> Any:
    """Imports a module of MLflow, such as `mlflow.sklearn`. The first time takes about a second.

    MLflow's telemetry stays off in this process, unless the environment turns it on or MLflow was imported before.
    Raises ModuleNotFoundError that says what to install.
    """
    if name in sys.modules:
        advice.leave_out(everywhere=False)
        return importlib.import_module(name)
    is_ours = "mlflow" not in sys.modules
    with process.current().part(Borrowing).lock, _environment(_WHILE_IMPORTING), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own type hints while mlflow.pyfunc is imported
        try:
            importlib.import_module("mlflow.pyfunc")  # else it is imported at its first use, with its warnings
            advice.leave_out(everywhere=is_ours)
            return importlib.import_module(name)
        except ModuleNotFoundError as missing:
            raise ModuleNotFoundError(
                f"models are saved and loaded with MLflow's packaging code, but there is no module {missing.name!r}; "
                "install what it needs: pip install '.[models]' in a checkout of Modelry",
                name=missing.name,
            ) from missing


@contextmanager
def errors_only(*loggers: str) -> Iterator[None]:
    """Silences the advice of loggers of MLflow that does not apply here, such as about its own defaults."""
    with _filtered(loggers, lambda record: record.levelno >= logging.ERROR):
        yield


@contextmanager
def other_packages_in_our_words() -> Iterator[None]:
    """Replaces MLflow's advice, which is a function of MLflow, where a model asks for other packages than there are."""

    def told(record: logging.LogRecord) -> bool:
        found, told, _ = record.getMessage().partition("To fix the mismatches")
        if told:
            record.msg, record.args = f"{found}Install what the file requirements.txt of the model lists.", None
        return True

    with _filtered(["mlflow.utils.requirements_utils"], told):
        yield


@contextmanager
def _filtered(loggers: Iterable[str], wanted: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    """Lets loggers say in this thread what is `wanted` only."""
    thread = threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != thread or wanted(record)

    named = [logging.getLogger(each) for each in loggers]
    for each in named:
        each.addFilter(passes)
    try:
        yield
    finally:
        for each in named:
            each.removeFilter(passes)


@contextmanager
def answering_nothing(module: Any, *functions: str) -> Iterator[None]:
    """Lets functions of a module of MLflow answer None: lookups in the network that nobody asked for."""
    there = (name for name in functions if hasattr(module, name))
    with replaced(module, **dict.fromkeys(there, lambda *_, **__: None)):
        yield


@contextmanager
def replaced(module: Any, **functions: Any) -> Iterator[None]:
    """Puts other functions in the place of those of a module of MLflow, for one thread at a time."""
    with process.current().part(Borrowing).lock:
        before = {name: getattr(module, name) for name in functions}
        vars(module).update(functions)
        try:
            yield
        finally:
            vars(module).update(before)


@contextmanager
def _environment(defaults: dict[str, str]) -> Iterator[None]:
    added = {key: value for key, value in defaults.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)
