"""Wrong arguments of saving, loading and registering models: each is refused with what would be right, early."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import LinearRegression

import modelry
import modelry.pyfunc
import modelry.sklearn
from modelry import Client
from modelry._sdk.fluent.run_files import RunFiles
from modelry._sdk.nouns import arguments
from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats
from modelry._sdk.requiring.requirements import require_all
from modelry.errors import FieldInvalid, InvalidArgument, NotFound
from modelry_server.kernel.requests.fields import Fields
from modelry_server.registry.domain import names

MODEL = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])


@pytest.mark.usefixtures("fluent")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"signature": "x"}, "signature must be a ModelSignature, .* not 'x' of type str"),
        ({"signature": {"inputs": "[]"}}, "signature must be a ModelSignature"),
        ({"serialization_format": "joblib"}, "serialization_format must be one of 'cloudpickle', 'pickle', 'skops', n"),
        ({"registered_model_name": "a/b"}, "registered_model_name must be the name of a registered model: 1 to 250"),
        ({"metadata": "x"}, "metadata must be a mapping of your own, .* not 'x'"),
        ({"pip_requirements": ["scikit learn ="]}, "pip_requirements has 'scikit learn =', which is not a requirement"),
        ({"extra_pip_requirements": ["numpy", 3]}, "extra_pip_requirements has 3, which is not a requirement of pip"),
        ({"metadata": {"a": {"b": [1, 1j]}}}, r"metadata\['a'\]\['b'\]\[1\] must be None, a boolean.* not .*1j"),
        ({"metadata": {"a": np.zeros(2)}}, r"metadata\['a'\] must be .* of type ndarray; give its tolist\(\)"),
        ({"metadata": {(1, 2): 1}}, "a key of metadata must be None, a boolean"),
        ({"pip_requirements": {"scikit-learn": "1.0"}}, r"must be a list .*; give pip_.*=\['scikit-learn==1.0'\]"),
        ({"extra_pip_requirements": {"numpy": "2"}}, r"must be a list .*; give extra_pip_.*=\['numpy==2'\]"),
        ({"pip_requirements": "numpy==2"}, r"a text is the path of a requirements file, .* give .*=\['numpy==2'\]"),
        (
            {"pip_requirements": Path("requirements.txt")},
            "must be a list of requirements, or the path of a requirements",
        ),
        ({"pip_requirements": iter(["numpy"])}, "must be a list of requirements, or the path of a requirements"),
        ({"conda_env": "nowhere.yml"}, "conda_env must be the path of a file .* and there is no file 'nowhere.yml'"),
        ({"registered_model_name": ""}, "registered_model_name must be the name of a registered model"),
    ],
)
def test_a_wrong_option_is_refused_before_a_run_is_started(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        modelry.sklearn.log_model(MODEL, name="model", **options)

    assert modelry.active_run() is None


def test_metadata_has_numbers_of_numpy_as_those_of_python(tmp_path: Path) -> None:
    given = {
        "acc": np.float64(0.9),
        "by": {np.int64(3): [np.int32(1), (np.bool_(True), np.str_("a"))]},
        "on": date(2026, 1, 2),
        "tags": {"a"},
        "none": None,
    }

    modelry.sklearn.save_model(MODEL, tmp_path / "model", pip_requirements=[], metadata=given)

    written = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())["metadata"]
    assert written == {"acc": 0.9, "by": {3: [1, [True, "a"]]}, "on": date(2026, 1, 2), "tags": {"a"}, "none": None}
    assert (modelry.pyfunc.load_model(tmp_path / "model").metadata.metadata or {})["acc"] == 0.9


def test_metadata_that_holds_itself_is_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    given["again"] = given

    with pytest.raises(InvalidArgument, match="metadata is nested more than 50 levels deep, or holds itself"):
        modelry.sklearn.save_model(MODEL, tmp_path / "model", metadata=given)


def test_the_text_of_requirements_is_the_path_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("scikit-learn==1.0\n")

    modelry.sklearn.save_model(MODEL, tmp_path / "model", pip_requirements=str(file))

    assert "scikit-learn==1.0" in (tmp_path / "model" / "requirements.txt").read_text().splitlines()


@pytest.mark.usefixtures("fluent")
@pytest.mark.parametrize("given", ["False", "no", 0, None])
@pytest.mark.parametrize(
    "log",
    [
        lambda given: modelry.log_artifact(__file__, synchronous=given),
        lambda given: modelry.log_artifacts(os.path.dirname(__file__), synchronous=given),
        lambda given: modelry.pytorch.log_state_dict({}, "state", synchronous=given),
    ],
)
def test_whether_to_wait_is_true_or_false(log: Callable[[Any], object], given: Any) -> None:
    with pytest.raises(InvalidArgument, match="synchronous must be True or False, not"):
        log(given)

    assert modelry.active_run() is None


@pytest.mark.usefixtures("fluent")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options",
    [
        {"register_model_name": "b"},
        {"pip_requirements": ["scikit-learn"], "extra_pip_requirements": ["numpy"]},
        {"pip_requirements": ["scikit-learn"], "conda_env": {"name": "a"}},
        {"extra_pip_requirements": ["--extra-index-url https://u:p@host/simple"]},
        {"code_paths": ["nowhere.py"]},
        {"input_example": object()},
    ],
    ids=lambda options: "+".join(options),
)
def test_a_model_that_cannot_be_saved_leaves_no_run(options: dict[str, Any]) -> None:
    before = len(modelry.search_runs(output_format="list"))

    with pytest.raises(Exception, match=r".+"):  # several are MLflow's
        modelry.sklearn.log_model(MODEL, name="model", **options)

    assert modelry.active_run() is None
    assert len(modelry.search_runs(output_format="list")) == before


@pytest.mark.usefixtures("fluent")
def test_a_run_that_is_started_for_a_model_is_named_in_it(client: Client) -> None:
    logged = modelry.sklearn.log_model(MODEL, name="model", pip_requirements=[])

    active = modelry.active_run()
    assert active is not None
    assert active.run_id == logged.run_id
    written = yaml.safe_load(client.artifacts.read_bytes(f"runs/{logged.run_id}", "model/MLmodel"))
    assert (written["run_id"], written["model_uuid"]) == (logged.run_id, logged.model_uuid)


@pytest.mark.usefixtures("fluent")
def test_a_run_that_is_started_for_a_model_that_cannot_be_uploaded_fails(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise InvalidArgument("no")

    monkeypatch.setattr(RunFiles, "upload_together", refuses)

    with pytest.raises(InvalidArgument, match="no"):
        modelry.sklearn.log_model(MODEL, name="model", pip_requirements=[])

    assert modelry.active_run() is None
    last = modelry.last_active_run()
    assert last is not None
    assert client.runs.get(last.run_id).status == "FAILED"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: modelry.sklearn.log_model(MODEL, register_model_name="b"),  # type: ignore[call-arg]
            r"modelry\.sklearn\.log_model\(\) got an unexpected keyword argument 'register_model_name'; did you mean "
            "'registered_model_name'",
        ),
        (
            lambda: modelry.sklearn.save_model(MODEL, "nowhere", pip_requirement=[]),  # type: ignore[call-arg]
            r"modelry\.sklearn\.save_model\(\) got .* 'pip_requirement'; did you mean 'pip_requirements'",
        ),
        (
            lambda: modelry.pyfunc.log_model(python_model=lambda rows: rows, artefacts={}),  # type: ignore[call-arg]
            r"modelry\.pyfunc\.log_model\(\) got .* 'artefacts'; did you mean 'artifacts'",
        ),
        (
            lambda: modelry.sklearn.log_model(MODEL, synchronous=False),  # type: ignore[call-arg]
            r"modelry\.sklearn\.log_model\(\) got .* 'synchronous': .* log a file in the background with log_artifact",
        ),
    ],
)
def test_an_option_that_is_not_there_is_told_of_what_was_called(call: Callable[[], object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        call()


@pytest.mark.parametrize(
    ("artifacts", "said"),
    [
        ({"x": "https://host/a.bin"}, r"artifacts\['x'\] must be a file on this machine \(download it\)"),
        ({"x": "s3://bucket/a.bin"}, r"artifacts\['x'\] must be a file on this machine.* not 's3://bucket/a.bin'"),
        (["a.bin"], r"artifacts must be a mapping of names to local paths"),
        ({"x": 3}, r"artifacts must be a mapping of names to local paths"),
        ({3: "a.bin"}, r"artifacts must be a mapping of names to local paths"),
    ],
)
def test_artifacts_that_are_no_files_are_refused(artifacts: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=said):
        modelry.pyfunc.save_model(tmp_path / "model", python_model=lambda rows: rows, artifacts=artifacts)

    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_an_artifact_that_is_not_there_is_named(form: str, tmp_path: Path) -> None:
    artifacts = {"x": form.format(tmp_path / "nowhere.bin")}

    with pytest.raises(NotFound, match=r"there is no file '.*nowhere.bin' for artifacts\['x'\]"):
        modelry.pyfunc.save_model(tmp_path / "model", python_model=lambda rows: rows, artifacts=artifacts)


@pytest.mark.parametrize(
    "requirement",
    [
        *("numpy", "numpy[extra] >= 1, < 3 ; python_version > '3'  # why", "a @ https://host/a.whl", "", "# a comment"),
        *(
            "-r other.txt",
            "--pre",
            "./wheels/a.whl",
            "git+https://host/a.git",
            "a==1 --hash=sha256:00",
            "a==${VERSION}",
        ),
    ],
)
def test_what_pip_understands_is_a_requirement(requirement: str) -> None:
    require_all("pip_requirements", [requirement])


def test_a_format_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.delitem(sys.modules, "skops")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site-packages" not in each])
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if "editable" not in repr(each)])

    with pytest.raises(ModuleNotFoundError, match=r"serialization_format='skops' needs .*: pip install skops"):
        Formats("serialization_format", ("pickle", "skops")).require({"serialization_format": "skops"})


def test_a_model_of_another_flavor_is_named_before_its_framework_is_imported(tmp_path: Path) -> None:
    modelry.sklearn.save_model(MODEL, tmp_path / "model", pip_requirements=[])
    other = FlavorShell("mlflow.no_such_module", "keras", "json")

    with pytest.raises(InvalidArgument) as refused:
        other.load_model(tmp_path / "model")

    assert refused.value.reason == "MODEL_OF_OTHER_FLAVOR"
    assert "no model of the flavor keras: its MLmodel has the flavors python_function, sklearn" in str(refused.value)
    assert "modelry.sklearn.load_model or modelry.pyfunc.load_model" in str(refused.value)


def test_a_model_that_is_no_python_function_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {}}")

    with pytest.raises(InvalidArgument, match=r"is no Python function: .* the flavors sklearn; .* modelry.sklearn"):
        modelry.pyfunc.load_model(tmp_path)


def test_a_model_without_flavors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}")

    with pytest.raises(InvalidArgument, match=r"its MLmodel has no flavors"):
        modelry.sklearn.load_model(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("forest", "a b", "ü", "x" * 250, "x" * 251, "x" * 600, "", " ", " a", "a ", "\u00a0a"),
        *("a/b", "a:b", "a@b", "a\nb", "a\tb", "a\x00", "a\u200bb", "a\u2028b", "a\u00adb", "\U0001f600", "None"),
        "\x1fa",
    ],
)
def test_the_rule_of_names_of_models_is_that_of_the_server(name: str) -> None:
    fields = Fields()
    names.judge_model(fields, "name", name)

    if fields.violations:
        with pytest.raises(FieldInvalid, match=r"registered_model_name must be the name of a registered model"):
            arguments.model_name("registered_model_name", name)
    else:
        assert arguments.model_name("registered_model_name", name) == name


@pytest.mark.parametrize("name", ["a/b", "x" * 600, "", 5])
@pytest.mark.parametrize("autolog", [modelry.autolog, modelry.sklearn.autolog])
def test_autolog_refuses_a_name_that_no_model_can_have(autolog: Callable[..., None], name: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"registered_model_name must be the name of a registered model"):
        autolog(registered_model_name=name)


def test_a_folder_without_mlmodel_becomes_a_version_with_a_warning(
    fluent: object, client: Client, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    with modelry.start_run() as run:
        modelry.log_text("weights", "w/state_dict.txt")
        modelry.sklearn.log_model(MODEL, name="model", pip_requirements=[])

    with caplog.at_level(logging.WARNING, "modelry"):
        plain = modelry.register_model(f"runs:/{run.run_id}/w", unique)
        modelry.register_model(f"runs:/{run.run_id}/model", unique)

    (told,) = [text for text in caplog.messages if "MLmodel" in text]
    assert told.startswith(f"version 1 of {unique} has no file MLmodel, so it is a folder of files")
    assert client.artifacts.read_bytes(plain.owner, "state_dict.txt") == b"weights"


@pytest.mark.usefixtures("fluent")
@pytest.mark.parametrize(
    "call",
    [
        lambda: modelry.log_image("x.png", np.zeros((4, 4))),  # type: ignore[arg-type]
        lambda: modelry.log_audio("x.wav", np.zeros(400), sample_rate=8000),  # type: ignore[arg-type]
        lambda: modelry.log_audio("x.wav", b"RIFF", sample_rate=8000),  # type: ignore[arg-type]
        lambda: modelry.log_dict("x.json", {"a": 1}),  # type: ignore[arg-type]
        lambda: modelry.log_table("x.json", {"a": [1]}),  # type: ignore[arg-type]
        lambda: modelry.log_text("x.txt", ["a", "b"]),  # type: ignore[arg-type]
        lambda: modelry.log_figure("x.png", object()),  # type: ignore[arg-type]
        lambda: modelry.log_image(np.zeros((4, 4)), np.zeros((4, 4))),  # type: ignore[arg-type]
    ],
)
def test_swapped_arguments_of_logging_are_told_and_raise_nothing(
    call: Callable[[], None], client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        call()

    assert any("not a path; give the content first and then the path" in text for text in caplog.messages)
    assert [each.path for each in client.artifacts.list(f"runs/{run.run_id}") if each.path.startswith("x")] == []
