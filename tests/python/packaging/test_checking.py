"""Models in fresh environments: what is missing there is said. The environments are real, and kept by their digest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas
import psutil
import pytest

import modelry.models
import modelry.pyfunc
from modelry._sdk.requiring import environments
from modelry.errors import InvalidArgument, NotFound
from modelry.models import Problem
from tests.parts.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]
FRAME = pandas.DataFrame({"a": [1.0, 2.0]})
NEEDED = [f"{each}=={metadata.version(each)}" for each in ("cloudpickle", "mlflow-skinny", "pandas")]

pytestmark = [
    pytest.mark.timeout(900),  # the first time on a machine: the environment is made from an index
    pytest.mark.filterwarnings("ignore:.*[tT]ype hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*input example:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments are kept beside those of the families."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(ROOT / ".cache" / "checked"))


def saved(folder: Path, python_model: Any, requirements: list[str], **options: Any) -> Path:
    modelry.pyfunc.save_model(folder, python_model=python_model, pip_requirements=requirements, **options)
    return folder


def by_value(source: str) -> Any:
    """A function that is pickled with its code, as that of a script is."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(source, names)
    return names["predict"]


@pytest.mark.usefixtures("kept")
def test_a_model_whose_requirements_are_right_predicts_its_example(tmp_path: Path) -> None:
    model = saved(
        tmp_path / "model", by_value("def predict(model_input): return model_input * 2"), NEEDED, input_example=FRAME
    )
    steps: list[str] = []

    first = modelry.models.check(model, progress=steps.append)
    again = modelry.models.check(model)

    assert (first.ok, first.problems, first.predicted) == (True, (), True)
    assert (again.reused, again.environment) == (True, first.environment)
    assert steps[-1] == "loading the model and predicting its input example"


@pytest.mark.usefixtures("kept")
def test_a_model_is_read_as_the_text_that_was_judged(tmp_path: Path) -> None:
    tells = by_value("def predict(model_input):\n    import sys\n    raise ValueError(f'{sys.flags.utf8_mode=}')")
    signature = modelry.models.infer_signature(FRAME)
    model = saved(tmp_path / "model", tells, NEEDED, signature=signature, input_example=FRAME)

    (problem,) = modelry.models.check(model).problems

    assert "sys.flags.utf8_mode=1" in problem.message


@pytest.mark.usefixtures("kept")
def test_what_is_missing_or_fails_is_named(tmp_path: Path) -> None:
    imports = by_value("def predict(model_input):\n    import sklearn\n    return model_input")
    raises = by_value("def predict(model_input):\n    raise ValueError('no such city')")
    ends = by_value("def predict(model_input):\n    import os\n    os._exit(7)")

    found = []
    for name, function in {"imports": imports, "raises": raises, "ends": ends}.items():
        signature = modelry.models.infer_signature(FRAME)
        model = saved(tmp_path / name, function, NEEDED, signature=signature, input_example=FRAME)
        found.append(modelry.models.check(model))
    (missing,), (failed,), (ended,) = (each.problems for each in found)

    assert (missing.kind, missing.subject) == ("import", "sklearn")
    assert "extra_pip_requirements" in missing.message
    assert (failed.kind, failed.subject) == ("prediction", "ValueError")
    assert "no such city" in failed.message
    assert (ended.kind, ended.subject) == ("load", "exit 7")
    assert [each.ok for each in found] == [False] * 3


def test_requirements_that_can_not_be_installed_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    folder = tmp_path / "gone"
    model = saved(
        tmp_path / "model", by_value("def predict(model_input): return model_input"),
        ["mlflow-skinny==3.17.2", f"left-behind @ file://{folder}"],
    )  # fmt: skip

    result = modelry.models.check(model)

    assert [(each.kind, each.subject) for each in result.problems] == [
        ("requirement", "mlflow-skinny==3.17.2"),
        ("requirement", f"left-behind @ file://{folder}"),
    ]
    assert "a folder of the author's machine" in result.problems[1].message
    assert result.environment == ""
    assert list((tmp_path / "cache" / "modelry" / "environments").iterdir()) == []


def test_a_check_ends_when_its_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    model = saved(tmp_path / "model", by_value("def predict(model_input): return model_input"), ["mlflow-skinny"])

    result = modelry.models.check(model, timeout=0.2)

    assert [each.kind for each in result.problems] == ["timeout"]
    assert result.seconds < 20
    assert isinstance(result.problems[0], Problem)


def test_a_check_runs_no_code_of_the_model_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "mine.py").write_text(
        "import sys\nfrom mlflow.models import set_model\nsys.modules['was_here'] = sys\n"
        "set_model(lambda model_input: model_input)\n"
    )
    model = saved(tmp_path / "model", str(tmp_path / "mine.py"), ["mlflow-skinny"])
    sys.modules.pop("was_here")

    modelry.models.check(model, timeout=60)

    assert "was_here" not in sys.modules


@pytest.mark.parametrize("name", ["venv.py", "pip.py"])
def test_no_file_of_the_model_is_run_where_its_environment_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")  # so that uv is not found
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.xgboost, data: m.ubj}}")
    (model / "requirements.txt").write_text("there-is-no-such-package\n")
    (model / name).write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nraise SystemExit(1)\n")

    (problem,) = modelry.models.check("model").problems

    assert (problem.kind, problem.subject) == ("requirement", "there-is-no-such-package")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("uv.toml", "index-url = 5"),
        ("pyproject.toml", "[[tool.uv.index]]\nurl = 'http://127.0.0.1:9/simple'\ndefault = true\n"),
    ],
)
def test_no_setting_in_the_model_or_above_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PATH", os.pathsep.join([os.fspath(Path(sys.executable).parent), os.environ["PATH"]]))
    assert shutil.which("uv")
    monkeypatch.setattr("tempfile.tempdir", os.fspath(tmp_path / "temporary"))
    model = tmp_path / "model"
    for folder in (model, tmp_path / "temporary"):
        folder.mkdir()
        (folder / name).write_text(content)
    (model / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.xgboost, data: m.ubj}}")
    project = tmp_path / "small"
    project.mkdir()
    (project / "backend.py").write_text(_SMALL)
    (project / "pyproject.toml").write_text(_BUILT)
    (model / "requirements.txt").write_text(f"small @ {project.as_uri()}\n")

    (problem,) = modelry.models.check(model).problems

    assert (problem.kind, problem.subject) == ("import", "mlflow")  # so it is installed


@pytest.mark.parametrize(
    "line",
    [
        "./wheels/evil.whl",
        "wheels/evil-1-py3-none-any.whl",
        "/tmp/evil",
        "evil @ ./evil",
        "evil @ file:evil",
        "-e .",
        "-e git+https://host/evil",
        "--editable=evil",
        "--find-links wheels",
        "-f .",
        "--find-links=file:///tmp",
        "--index-url ../simple",
        "--index-url https://host/simple --find-links .",
        "numpy --config-settings=setup-args=x",
        "numpy; python_version > '3' --global-option=x",
        '"--find-links" .',
        "--requir evil.txt",
        "-c constraints.txt",
        "evil\\evil",
    ],
)
def test_lines_that_lead_to_files_are_named_and_nothing_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.xgboost, data: m.ubj}}")
    (model / "constraints.txt").write_text("-e .\n")
    (model / "requirements.txt").write_text(f"{line}\n")

    (problem,) = modelry.models.check(model, timeout=20).problems

    assert (problem.kind, problem.subject) == ("requirement", "-e ." if line == "-c constraints.txt" else line)
    assert "leads to a file" in problem.message


def test_lines_that_name_packages_and_indexes_are_installed() -> None:
    lines = [
        "numpy", "numpy==2.4.6  # why", "scikit-learn[a,b] >=1, <2", "torch (>=2)", "x ; python_version < '3.12'", "",
        "ranker @ git+https://${GIT_TOKEN}@host/team/ranker@v1.2#subdirectory=a", "https://host/x-1-py3-none-any.whl",
        "mine @ file:///home/me/mine", "x==1 --hash=sha256:ab --hash=sha256:cd", "x===1.0+local", "x!=1.*,~=1.0",
        "# no",
        "--extra-index-url https://${INDEX_USER}:${INDEX_PASSWORD}@host/simple", "--index-url=${INDEX}", "--pre",
        "-f https://host/wheels", "--no-binary :all:", "--trusted-host host",
    ]  # fmt: skip

    wanted = environments.Wanted.of(lines, [])

    assert wanted.misleading() == {}
    assert wanted.requirements[1] == "numpy==2.4.6"
    assert len(wanted.requirements) == len(lines) - 2
    assert environments.Wanted.of(["a" + " " * 2**20 + "/"], []).misleading()


def test_what_is_no_model_or_no_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file MLmodel"):
        modelry.models.check(tmp_path)
    with pytest.raises(InvalidArgument, match="timeout is 0"):
        modelry.models.check(tmp_path, timeout=0)


_BUILT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "small"
version = "1"
"""
_SMALL = """
import pathlib, zipfile
def build_wheel(folder, *given, **options):
    with zipfile.ZipFile(pathlib.Path(folder, "small-1-py3-none-any.whl"), "w") as wheel:
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n",
            "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
            "RECORD": "",
        }.items():
            wheel.writestr("small-1.dist-info/" + name, text)
    return "small-1-py3-none-any.whl"
"""
_SLOW = """
import os, pathlib, time
def _wait(*given, **options):
    pathlib.Path(os.environ["BUILDS"]).write_text(str(os.getpid()))
    time.sleep(600)
get_requires_for_build_wheel = prepare_metadata_for_build_wheel = build_wheel = _wait
"""


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_check_that_a_signal_ends_leaves_no_installer_and_no_part_of_an_environment(
    tmp_path: Path, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "backend.py").write_text(_SLOW)
    (slow / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        "[project]\nname = 'slow'\nversion = '1'\n"
    )
    model = saved(tmp_path / "model", by_value("def predict(model_input): return model_input"), NEEDED)
    (model / "requirements.txt").write_text(f"slow @ {slow.as_uri()}\n")
    builds, cache = tmp_path / "builds", tmp_path / "cache"
    checking = subprocess.Popen(
        [sys.executable, "-m", "modelry_cli", "model", "check", os.fspath(model)],
        env={**os.environ, "BUILDS": os.fspath(builds), "XDG_CACHE_HOME": os.fspath(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    request.addfinalizer(checking.kill)
    builder = int(eventually(lambda: builds.exists() and builds.read_text(), within_s=120))

    checking.send_signal(number)
    status = checking.wait(180)

    assert status == (130 if number is signal.SIGINT else -number)
    assert eventually(lambda: not psutil.pid_exists(builder) or psutil.Process(builder).status() == "zombie")
    assert list((cache / "modelry" / "environments").iterdir()) == []
