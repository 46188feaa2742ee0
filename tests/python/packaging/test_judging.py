"""What is refused before anything of a model is read or run."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest

import modelry.pyfunc
import modelry.sklearn
from modelry._sdk.packaging import judging
from modelry.errors import FailedPrecondition, InvalidArgument

SKLEARN = """flavors:
  sklearn:
    pickled_model: {path}
    serialization_format: cloudpickle
    sklearn_version: 1.5.0
"""
CODE = """flavors:
  python_function:
    loader_module: code_of_a_stranger
    code: code
    data: .
"""


def a_model(folder: Path, mlmodel: str | bytes) -> Path:
    """A folder with an MLmodel file, and a pickle that leaves a trace when it is read."""
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_bytes(mlmodel if isinstance(mlmodel, bytes) else mlmodel.encode())
    (folder / "model.pkl").write_bytes(pickle.dumps(Trace(str(folder / "ran"))))
    return folder


class Trace:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    "path", ["../outside.pkl", "sub/../../outside.pkl", "/etc/passwd", "..\\\\x", "C:/x", '"a\\0b"']
)
def test_a_path_that_leads_out_of_the_model_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps("outside"))
    model = a_model(tmp_path / "model", SKLEARN.format(path=path))

    with pytest.raises(InvalidArgument, match="leads out of the model") as refused:
        modelry.sklearn.load_model(model)

    assert refused.value.reason == "MODEL_REFUSED"


@pytest.mark.parametrize(
    "mlmodel",
    [
        "flavors: {python_function: {loader_module: mlflow.pyfunc.model, artifacts: {a: {path: ../x, uri: /x}}}}",
        "flavors: {python_function: {loader_module: mlflow.sklearn, data: ../x}}",
        "flavors: {python_function: {loader_module: x, code: ../../code}}",
        "saved_input_example_info: {artifact_path: ../../x.json}\nflavors: {sklearn: {}}",
    ],
)
def test_every_path_in_the_file_is_judged(tmp_path: Path, mlmodel: str) -> None:
    with pytest.raises(InvalidArgument, match="leads out of the model"):
        modelry.pyfunc.load_model(a_model(tmp_path, mlmodel))


def test_a_link_that_leads_out_of_the_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps("outside"))
    model = a_model(tmp_path / "model", SKLEARN.format(path="link.pkl"))
    (model / "link.pkl").symlink_to(tmp_path / "outside.pkl")

    with pytest.raises(InvalidArgument, match="leads out of the model"):
        modelry.sklearn.load_model(model)


def test_what_is_no_path_in_the_model_is_not_judged(tmp_path: Path) -> None:
    options = "loader_module: mlflow.pyfunc.model, model_code_path: /src/model.py, artifacts: {a: {path: a, uri: /x/a}}"
    model = a_model(tmp_path, f"flavors: {{python_function: {{{options}, env: {{conda: conda.yaml}}}}}}")

    assert judging.judge(str(model))["python_function"]["model_code_path"] == "/src/model.py"


@pytest.mark.parametrize(
    "mlmodel",
    [
        b"flavors: [" + b"a," * 2_000_000 + b"]\n",
        b"flavors: [" + b"a," * 2_500_000 + b"]\n",
        b"a: " + b"[" * 20_000 + b"]" * 20_000,
        b"a: &a [x]\nb: [*a, *a]",
        b"\xff\xfe\x00",
        b"a: [",
        b"just text",
        b"flavors: 7",
        b"flavors: {sklearn: text}",
    ],
)
def test_a_file_that_is_too_large_too_deep_or_none_is_refused_at_once(tmp_path: Path, mlmodel: bytes) -> None:
    model = a_model(tmp_path, mlmodel)
    begun = time.process_time()

    with pytest.raises(InvalidArgument, match="nothing was loaded"):
        modelry.pyfunc.load_model(model)

    assert time.process_time() - begun < 10


@pytest.mark.parametrize("name", ["requirements.txt", "conda.yaml", "python_env.yaml"])
def test_the_files_beside_it_are_bounded_too(tmp_path: Path, name: str) -> None:
    model = a_model(tmp_path, SKLEARN.format(path="model.pkl"))
    (model / name).write_text("numpy\n" * 1_000_000)

    with pytest.raises(InvalidArgument, match=f"the file {name} of the model has"):
        modelry.pyfunc.load_model(model)


@pytest.mark.parametrize(
    "mlmodel",
    [
        CODE,
        "flavors: {python_function: {loader_module: mlflow.pyfunc.model, model_code_path: model.py}}",
        "flavors: {python_function: {loader_module: os}}",
        "flavors: {sklearn: {pickled_model: model.pkl, code: code}}",
    ],
)
def test_no_code_of_a_model_runs_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = a_model(tmp_path, mlmodel)
    (model / "code").mkdir()
    (model / "code" / "code_of_a_stranger.py").write_text(f"import os\nos.mkdir({str(model / 'ran')!r})\n")

    with pytest.raises(FailedPrecondition, match="code of its own") as refused:
        modelry.pyfunc.load_model(model)

    assert refused.value.reason == "MODEL_HAS_CODE"
    assert not (model / "ran").exists()
