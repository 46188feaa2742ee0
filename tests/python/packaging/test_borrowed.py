"""What using MLflow's packaging code does not do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelry._sdk.schemas import borrowed

USED = """
import os, sys, warnings
reached = []
def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        reached.append((event, str(arguments)))
sys.addaudithook(note)
warnings.simplefilter("error")
import modelry.pyfunc, modelry.sklearn, modelry.models
assert not {"grpc", "mlflow", "pandas", "sklearn"} & set(sys.modules), "imported too early"
from sklearn.linear_model import Ridge
before = set(os.environ)
model = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])
modelry.sklearn.save_model(model, "model", signature=modelry.models.infer_signature([0.5], [0.5]))
modelry.sklearn.load_model("model")
modelry.pyfunc.load_model("model")
assert not [key for key in set(os.environ) - before if "TELEMETRY" in key]
import threading
print(reached, [thread.name for thread in threading.enumerate()])
"""


def test_saving_and_loading_reaches_for_nothing_and_writes_nowhere_else(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    sources = os.pathsep.join(path for path in sys.path if path.endswith(("clients/python", "site-packages")))

    done = subprocess.run(
        [sys.executable, "-c", USED],
        cwd=work,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[] ['MainThread']"]
    assert [path.name for path in work.iterdir()] == ["model"]
    assert not any("mlflow" in str(path) for path in home.rglob("*"))


def test_what_is_missing_says_what_to_install() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module 'mlflow\.nothing'.*\.\[models\]"):
        borrowed.mlflow_module("mlflow.nothing")


def test_advice_is_kept_back_from_the_thread_that_asks_for_it_and_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mlflow.advice")

    with borrowed.errors_only("mlflow.advice"):
        logger.warning("advice")
        logger.error("trouble")
    logger.warning("later")

    assert [record.message for record in caplog.records] == ["trouble", "later"]
