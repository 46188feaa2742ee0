"""What is refused before anything of a model is read or run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sklearn.linear_model import Ridge

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
        b"flavors: {sklearn: {a: !!bool x}}",
        b'flavors: {sklearn: {pickled_model: "\\ud800"}}',
    ],
)
def test_a_file_that_is_too_large_too_deep_or_none_is_refused_at_once(tmp_path: Path, mlmodel: bytes) -> None:
    model = a_model(tmp_path, mlmodel)
    begun = time.process_time()

    with pytest.raises(InvalidArgument, match="nothing was loaded"):
        modelry.pyfunc.load_model(model)

    assert time.process_time() - begun < 10


ENCODED = """
import json, sys
import modelry.pyfunc, modelry.sklearn
from modelry._sdk.packaging import judging
from modelry.errors import InvalidArgument
for folder in json.loads(sys.argv[1]):
    try:
        print("read", json.dumps(sorted(judging.judge(folder))))
        modelry.pyfunc.load_model(folder)
    except InvalidArgument as problem:
        print("refused", problem.reason, "PYTHONUTF8=1" in str(problem))
"""


@pytest.fixture(params=["", "ISO-8859-1", "GBK"])
def locale_without_utf8(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose encoding is ASCII, or another one that is made here."""
    usual = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if not request.param:
        return {**usual, "LC_ALL": "C"}
    language = "zh_CN" if request.param == "GBK" else "en_US"
    made = tmp_path / "locales" / f"{language}.{request.param}"
    made.parent.mkdir()
    if shutil.which("localedef") is None:
        pytest.skip("there is no localedef, which makes locales")
    # It warns of what the definition leaves out, and ends with 1 then.
    subprocess.run(["localedef", "-c", "-i", language, "-f", request.param, made], capture_output=True, check=False)
    if not made.exists():
        pytest.skip(f"localedef has no {request.param}")
    return {**usual, "LC_ALL": made.name, "LOCPATH": str(made.parent)}


def test_a_file_that_mlflow_would_read_as_another_text_is_refused(
    tmp_path: Path, locale_without_utf8: dict[str, str]
) -> None:
    # In UTF-8 the letter U+0445 ends in 0x85, which ends a line in ISO-8859-1.
    model = a_model(tmp_path / "model", f"# \u0445\n{SKLEARN.format(path='x')}metadata: {{a: \u4f60\u597d}}\n")
    inner = a_model(tmp_path / "outer", SKLEARN.format(path="x")) / "inner"
    a_model(inner, "flavors: {}\nmetadata: {a: \u00e9}\n")
    modelry.sklearn.save_model(
        Ridge().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / "saved", metadata={"a": "\u00e9"}, pip_requirements=[]
    )
    folders = [str(tmp_path / name) for name in ("model", "outer", "saved")]
    sources = os.pathsep.join(path for path in sys.path if path.endswith(("clients/python", "site-packages")))

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ENCODED, json.dumps(folders)],
        env={**locale_without_utf8, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines() == [
        "refused MODEL_REFUSED True",
        "refused MODEL_REFUSED True",
        'read ["python_function", "sklearn"]',
    ], done.stderr
    assert judging.judge(folders[0])["sklearn"]
    assert not (model / "ran").exists()


@pytest.mark.parametrize("name", ["requirements.txt", "conda.yaml", "python_env.yaml"])
def test_the_files_beside_it_are_bounded_too(tmp_path: Path, name: str) -> None:
    model = a_model(tmp_path, SKLEARN.format(path="model.pkl"))
    (model / name).write_text("numpy\n" * 1_000_000)

    with pytest.raises(InvalidArgument, match=f"the file {name} of the model has"):
        modelry.pyfunc.load_model(model)


INNER = "flavors: {python_function: {loader_module: mlflow.pyfunc.model, data: inner}}"
INNER_SKLEARN = (
    "flavors: {python_function: {loader_module: mlflow.sklearn, data: inner}, sklearn: {pickled_model: inner}}"
)


def test_code_in_a_model_in_the_model_does_not_run_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = a_model(tmp_path / "model", INNER)
    inner = a_model(model / "inner", "flavors: {python_function: {model_code_path: x.py}}")
    (inner / "x.py").write_text(f"import os\nos.mkdir({str(model / 'ran')!r})\n")

    with pytest.raises(FailedPrecondition, match="code of its own"):
        modelry.pyfunc.load_model(model)

    assert not (model / "ran").exists()


@pytest.mark.parametrize(
    ("inner", "refusal"),
    [
        ("flavors: {python_function: {model_path: ../../outside.pkl}}", "leads out of the model"),
        ("flavors: {python_function: {model_path: ../model.pkl}}", "leads out of the model"),
        ("flavors: {python_function: {model_path: x}}\nmetadata: [" + "1, " * 20_000 + "1]", "more than"),
        ("flavors: {python_function: {model_path: x}}\nmetadata: " + "x" * judging.LARGEST_BYTES, "are read"),
        ("flavors: [", "no YAML"),
    ],
)
@pytest.mark.parametrize("name", ["inner", "inner/a/b"])
def test_every_mlmodel_file_is_judged(tmp_path: Path, name: str, inner: str, refusal: str) -> None:
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps("outside"))
    model = a_model(tmp_path / "model", INNER_SKLEARN.replace("inner", name))
    (model / name).mkdir(parents=True)
    a_model(model / name, inner)

    with pytest.raises(InvalidArgument, match=refusal) as refused:
        modelry.pyfunc.load_model(model)

    assert f"the file {name}/MLmodel of the model" in str(refused.value)


def test_many_mlmodel_files_have_the_limits_of_one(tmp_path: Path) -> None:
    model = a_model(tmp_path / "model", INNER_SKLEARN)
    for number in range(5):
        a_model(model / f"part{number}", "metadata: [" + "1, " * 5_000 + "1]")

    with pytest.raises(InvalidArgument, match="values"):
        modelry.pyfunc.load_model(model)


def test_data_is_no_address_that_leads_elsewhere(tmp_path: Path) -> None:
    model = a_model(tmp_path / "model", INNER_SKLEARN.replace("inner", '"%2e%2e/other"'))
    (model / "%2e%2e" / "other").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    a_model(tmp_path / "other", "flavors: {python_function: {model_path: model.pkl}}")
    (model / "%2e%2e" / "other" / "model.pkl").write_bytes(pickle.dumps(Trace(str(tmp_path / "ran"))))

    with pytest.raises(InvalidArgument, match="leads out of the model"):
        modelry.pyfunc.load_model(model)

    assert not (tmp_path / "ran").exists()


def test_a_link_that_nothing_names_does_not_lead_out_either(tmp_path: Path) -> None:
    a_model(tmp_path / "other", "flavors: {python_function: {model_path: model.pkl}}")
    model = a_model(tmp_path / "model", INNER_SKLEARN)
    (model / "inner").mkdir()
    (model / "inner" / "MLmodel").symlink_to(tmp_path / "other" / "MLmodel")

    with pytest.raises(InvalidArgument, match="a link that leads out of the model"):
        modelry.pyfunc.load_model(model)


@pytest.mark.parametrize("name", ["MLmodel", "requirements.txt", "inner/MLmodel"])
def test_a_pipe_in_a_model_holds_nothing(tmp_path: Path, name: str) -> None:
    model = a_model(tmp_path / "model", INNER_SKLEARN)
    (model / "inner").mkdir()
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)

    with pytest.raises(InvalidArgument, match="neither a file nor a folder"):
        modelry.pyfunc.load_model(model)


@pytest.mark.parametrize(
    "requirements",
    [
        "-r /dev/zero",
        "-r requirements.txt",
        "--requirement ../outside.txt",
        "-c sub/constraints.txt",
        "numpy\n-c constraints.txt\n-c constraints.txt",
        "-c circle.txt",
        "-\\\nr /dev/zero",
        "numpy # why\n  --constraint \\\n /dev/zero",
        "-r nothing.txt",
        "-r link.txt",
        "-c large.txt",
        "a\n" * 5_001,
    ],
)
def test_requirements_lead_to_small_files_beside_them_only(tmp_path: Path, requirements: str) -> None:
    (tmp_path / "outside.txt").write_text("numpy")
    model = a_model(tmp_path / "model", SKLEARN.format(path="model.pkl"))
    (model / "sub").mkdir()
    for name, content in {
        "requirements.txt": requirements,
        "constraints.txt": "numpy",
        "sub/constraints.txt": "numpy",
        "circle.txt": "-r requirements.txt",
        "large.txt": "#" * 2**20,
    }.items():
        (model / name).write_text(content)
    if "link.txt" in requirements:
        (model / "link.txt").symlink_to(tmp_path / "outside.txt")

    with pytest.raises(InvalidArgument, match="nothing was loaded") as refused:
        modelry.pyfunc.load_model(model)

    assert refused.value.reason == "MODEL_REFUSED"
    assert not (model / "ran").exists()


LOADS = """
import os, pathlib, sys, warnings
warnings.simplefilter("ignore")
import modelry.pyfunc, modelry.sklearn
from modelry._sdk.packaging import judging
import pandas
from sklearn.linear_model import Ridge

home = pathlib.Path(sys.argv[1]).resolve()
(home / "factor.txt").write_text("3")
(home / "constraints.txt").write_text("numpy<99")
(home / "helping.py").write_text("ONE = 1")
x = pandas.DataFrame({"a": [0.0, 1.0]})
ridge = Ridge().fit(x, [0.0, 1.0])

class Scaled(modelry.pyfunc.PythonModel):
    def load_context(self, context):
        self.folder = context.artifacts["inner"]
    def predict(self, context, model_input, params=None):
        return model_input

pins = ["numpy", "-c " + str(home / "constraints.txt")]
modelry.sklearn.save_model(ridge, home / "plain", pip_requirements=pins, input_example=x)
modelry.sklearn.save_model(ridge, home / "skops", pip_requirements=pins, serialization_format="skops",
                           skops_trusted_types=["sklearn.linear_model._ridge.Ridge"])
modelry.pyfunc.save_model(home / "own", python_model=Scaled(), artifacts={"inner": str(home / "plain")},
                          code_paths=[str(home / "helping.py")], pip_requirements=pins, input_example=x,
                          model_config={"a": 1})
(home / "nested" / "inner").mkdir(parents=True)
(home / "nested" / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn, data: inner}}")
(home / "nested" / "inner" / "MLmodel").write_text("flavors: {python_function: {model_path: m.pkl}, sklearn: {}}")
(home / "nested" / "inner" / "m.pkl").write_bytes((home / "plain" / "model.pkl").read_bytes())
assert "-c constraints.txt" in (home / "plain" / "requirements.txt").read_text()

opened = set()
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        opened.add(os.path.realpath(os.fsdecode(arguments[0])))
sys.addaudithook(note)

pythons = tuple(os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path, "/proc", "/sys") if path)
for name in ("plain", "skops", "own", "nested"):
    folder = home / name
    opened.clear()
    judging.judge(str(folder))
    judged = set(opened)
    for flavor in (modelry.pyfunc, modelry.sklearn):
        if flavor is modelry.sklearn and name in ("own", "nested"):
            continue
        opened.clear()
        flavor.load_model(folder)
        texts = {path for path in opened if path.startswith(str(folder)) and not path.endswith(("pkl", "skops", "py"))}
        print(name, "not judged:", sorted(os.path.relpath(path, folder) for path in texts - judged))
        print(name, "outside:", sorted(path for path in opened if not path.startswith((str(folder) + "/", *pythons))))
    print(name, "judged:", sorted(os.path.relpath(path, folder) for path in judged if path.startswith(str(folder))))
"""


def test_loading_opens_nothing_outside_of_the_model_and_no_text_that_was_not_judged(tmp_path: Path) -> None:
    sources = os.pathsep.join(path for path in sys.path if path.endswith(("clients/python", "site-packages")))

    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(tmp_path)],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    usual = ["MLmodel", "conda.yaml", "constraints.txt", "python_env.yaml", "requirements.txt"]
    assert {line for line in told if "outside" in line} == {
        f"{name} outside: []" for name in ("plain", "skops", "own", "nested")
    }
    assert {line for line in told if "not judged" in line} == {
        "plain not judged: ['input_example.json']",  # data, like the pickle
        "plain not judged: []",
        "skops not judged: []",
        "own not judged: ['input_example.json']",
        "nested not judged: []",
    }
    assert f"plain judged: {usual}" in told
    assert "nested judged: ['MLmodel', 'inner/MLmodel']" in told
