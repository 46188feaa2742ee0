"""A model that is logged at the path of another one takes its place, also in the versions that come later."""

from __future__ import annotations

from pathlib import Path

import numpy
import pandas
import pytest
from sklearn.linear_model import Ridge

import modelry
import modelry.pyfunc
import modelry.sklearn
from modelry import Client

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*[tT]ype hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*input example:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),  # MLflow's, of its examples
]
MODEL = """
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Asked(PythonModel):
    def predict(self, context, model_input, params=None):
        import pkg.helpers
        return [pkg.helpers.WHO]

set_model(Asked())
"""
ROWS = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.0]})


def paths(client: Client, owner: str, path: str = "") -> list[str]:
    return [each.path for each in client.artifacts.list(owner, path, recursive=True)]


@pytest.mark.usefixtures("fluent")
def test_a_version_has_the_code_of_its_own_model_only(client: Client, tmp_path: Path, unique: str) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    for folder, modules in (("v1", ("__init__", "helpers", "extra")), ("v2", ("__init__", "helpers"))):
        (tmp_path / folder / "pkg").mkdir(parents=True)
        for module in modules:
            (tmp_path / folder / "pkg" / f"{module}.py").write_text(f"WHO = '{folder} {module}'\n")

    with modelry.start_run():
        for folder in ("v1", "v2"):
            modelry.pyfunc.log_model(
                name="model",
                python_model=tmp_path / "model.py",
                code_paths=[str(tmp_path / folder / "pkg")],
                registered_model_name=unique,
            )

    first, second = (
        [path for path in paths(client, client.versions.get(unique, number).owner) if path.startswith("code/")]
        for number in (1, 2)
    )
    assert first == ["code/pkg/__init__.py", "code/pkg/extra.py", "code/pkg/helpers.py"]
    assert second == ["code/pkg/__init__.py", "code/pkg/helpers.py"]


def test_a_version_has_the_example_and_the_format_of_its_own_model_only(
    fluent: None, client: Client, unique: str
) -> None:
    target = numpy.array([1.0, 2.0, 3.0])
    with modelry.start_run() as run:
        modelry.log_text("stays", "models.txt")
        modelry.sklearn.log_model(
            Ridge().fit(ROWS, target), name="model", input_example=ROWS[:2], registered_model_name=unique
        )
        modelry.sklearn.log_model(Ridge().fit(ROWS[["a"]], target), name="model", registered_model_name=unique)

    first, second = (client.versions.get(unique, number).owner for number in (1, 2))
    assert {"input_example.json", "serving_input_example.json"} <= set(paths(client, first))
    assert not any("example" in path for path in paths(client, second))
    run_files = paths(client, f"runs/{run.run_id}", "model")
    assert [path.removeprefix("model/") for path in run_files] == paths(client, second)
    assert len(modelry.pyfunc.load_model(f"models:/{unique}/1").predict(ROWS)) == 3
    assert len(modelry.sklearn.load_model(f"runs:/{run.run_id}/model").predict(ROWS[["a"]])) == 3
    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "models.txt") == b"stays"
