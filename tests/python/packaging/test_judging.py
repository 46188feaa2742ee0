"""What is refused before anything of a model is read or run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
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
        "flavors: {onnx: {data: m.onnx, providers: [[TensorrtExecutionProvider, {trt_extra_plugin_lib_paths: x}]]}}",
        "flavors: {onnx: {data: m.onnx, providers: [CPUExecutionProvider, [QNNExecutionProvider, {backend_path: q}]]}}",
        "flavors: {onnx: {data: m.onnx, onnx_session_options: {extra_session_config: {session.a_folder: /etc}}}}",
        "flavors: {pytorch: {loader_module: mlflow.xgboost, model_data: data}}",
        "flavors: {xgboost: {loader_module: mlflow.xgboost, data: m.ubj}}",
        "flavors: {xgboost: {data: m.ubj, hook: x}}",
        "flavors: {xgboost: {data: m.ubj, model_class: xgboost.testing.Anything}}",
        "flavors: {spark: {data: x}, xgboost: {data: m.ubj}}",
        "flavors: {1: {data: x}}",
        "flavors: {python_function: {data: x}}",
        "flavors: {python_function: {loader_module: mlflow.spark}}",
        "flavors: {python_function: {loader_module: mlflow.pyfunc.model, python_model: model.pkl}}",
        "flavors: {python_function: {loader_module: mlflow.onnx, data: m.onnx, predict_fn: __init__}}",
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


def test_options_that_name_no_library_are_read_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    providers = "[CPUExecutionProvider, [CUDAExecutionProvider, {device_id: 1, gpu_mem_limit: 1000}]]"
    options = "{intra_op_num_threads: 2, extra_session_config: {}}"
    mlmodel = f"flavors: {{onnx: {{data: m.onnx, providers: {providers}, onnx_session_options: {options}}}}}"

    assert judging.judge(str(a_model(tmp_path, mlmodel)))["onnx"]["data"] == "m.onnx"


PYTORCH = "flavors: {python_function: {loader_module: mlflow.pytorch, data: data}}"
KERAS = "flavors: {python_function: {loader_module: mlflow.keras}, keras: {data: data}}"
TENSORFLOW = "flavors: {python_function: {loader_module: mlflow.tensorflow, data: data}, tensorflow: {data: data}}"
TRANSFORMERS = "flavors: {python_function: {loader_module: mlflow.transformers}, transformers: {model_binary: data}}"
OF_A_PIPELINE = TRANSFORMERS.replace("model_binary", "pipeline_model_type: BertModel, model_binary")
PARAMS = """
signature: {params: '[{"name": "custom\\u005fgenerate", "type": "string", "default": "evil/repo", "shape": null}]'}
"""


@pytest.mark.parametrize(
    ("mlmodel", "file", "content"),
    [
        (PYTORCH, "pickle_module_info.txt", "code_of_a_stranger"),
        (PYTORCH, "model.pth", ""),
        (PYTORCH, "model.pt2", ""),
        ("flavors: {pytorch: {model_data: data}}", "model.pt2", ""),
        (PYTORCH.replace("python_function: {loader_module: mlflow.pytorch, data", "pytorch: {model_data"), "a.PTH", ""),
        (KERAS, "keras_module.txt", "code_of_a_stranger"),
        (KERAS.replace("keras: {", "keras: {save_exported_model: true, "), "model", ""),
        (TENSORFLOW, "keras_module.txt", "keras\n"),
        (TENSORFLOW, "custom_objects.cloudpickle", ""),
        (TENSORFLOW, "global_custom_objects.cloudpickle", ""),
        (TENSORFLOW, "model.h5", ""),
        (TENSORFLOW, "saved_model.pb", ""),
        (TENSORFLOW.replace("tensorflow: {", "tensorflow: {saved_model_dir: data, "), "x", ""),
        (TENSORFLOW.replace("tensorflow: {", "tensorflow: {keras_module: code_of_a_stranger, "), "model.keras", ""),
        (TENSORFLOW.replace(" tensorflow: {", " keras: {keras_module: code_of_a_stranger, "), "model.keras", ""),
        (TRANSFORMERS, "modeling.py", ""),
        (TRANSFORMERS, "pytorch_model.bin", ""),
        (TRANSFORMERS, "config.json", '{"auto_map": {"AutoModel": "modeling.Mine"}}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"auto\\u005fmap": {"AutoTokenizer": ["a.b", null]}}'),
        (TRANSFORMERS, "config.json", '{"custom_pipelines": {"mine": {"impl": "modeling.Mine"}}}'),
        (TRANSFORMERS, "config.json", "no JSON"),
        (TRANSFORMERS.replace("transformers: {", "transformers: {source_model_revision: 1a2b, "), "x", ""),
        (TRANSFORMERS.replace("transformers: {", "transformers: {peft_adaptor: data, "), "x", ""),
        ("flavors: {transformers: {loader_module: mlflow.xgboost, pipeline_model_type: Mine}}", "x", ""),
        ("flavors: {keras: {loader_module: mlflow.xgboost, save_exported_model: true, data: data}}", "x", ""),
        (TRANSFORMERS.replace("model_binary", "local_base_model_path"), "x", ""),
        (TRANSFORMERS.replace("model_binary: data", "local_base_model_path: evil/repo"), "x", ""),
        (TRANSFORMERS.replace("model_binary", "tokenizer_revision"), "x", ""),
        (OF_A_PIPELINE.replace("model_binary: data", "model_binary: gone"), "x", ""),
        (OF_A_PIPELINE.replace("model_binary", "components: [tokenizer], model_binary"), "x", ""),
        (OF_A_PIPELINE.replace("model_binary", "components: [../data], model_binary"), "x", ""),
        (OF_A_PIPELINE.replace("mlflow.transformers", "mlflow.transformers, config: {custom_generate: x}"), "x", ""),
        (TRANSFORMERS + PARAMS, "x", ""),
        (
            TRANSFORMERS,
            "processor_config.json",
            '{"a": [{"feature_extractor": {"auto_map": {"A": "evil/repo--m.E"}}}]}',
        ),
        (TRANSFORMERS, "config.4.0.0.json", '{"auto_map": ["modeling.Mine", null]}'),
        (TRANSFORMERS, "config.json", '{"auto_map": {"A": "m.E"}, "auto_map": {}}'),
        (TRANSFORMERS, "tokenizer.json", '{"auto_map": "modeling.Mine"}'),
        (TRANSFORMERS, "some.JSON", '{"text_config": {"custom_pipelines": {"mine": 1}}}'),
        (TRANSFORMERS, "some.json", '{"trust_remote_code": true}'),
        (TRANSFORMERS, "some.yaml", "a: [{trust_remote_code: true}]"),
        (TRANSFORMERS, "some.yml", "a: ["),
        (TRANSFORMERS, "adapter_config.json", '{"base_model_name_or_path": "evil/repo"}'),
    ],
)
def test_no_code_of_a_deep_model_runs_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str, file: str, content: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "code_of_a_stranger.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    model = a_model(tmp_path / "model", mlmodel)
    (model / "data").mkdir()
    (model / "data" / file).write_text(content)

    with pytest.raises(FailedPrecondition, match="code of its own") as refused:
        modelry.pyfunc.load_model(model)

    assert refused.value.reason == "MODEL_HAS_CODE"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("mlmodel", "file", "content"),
    [
        (KERAS, "keras_module.txt", "keras"),
        (TENSORFLOW, "keras_module.txt", "tensorflow.keras"),
        (TRANSFORMERS, "config.json", '{"auto_map": {}}'),
        (OF_A_PIPELINE, "config.json", "{}"),
        ("flavors: {python_function: {loader_module: mlflow.onnx, data: m.onnx, predict_fn: predict}}", "x", ""),
        (TRANSFORMERS, "tokenizer.json", '{"vocab": {"auto_map": 1}}'),
    ],
)
def test_data_of_a_deep_model_is_not_refused_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str, file: str, content: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = a_model(tmp_path / "model", mlmodel)
    (model / "model.pkl").unlink()
    (model / "data").mkdir()
    (model / "data" / file).write_text(content)

    assert "python_function" in judging.judge(str(model))


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
