"""What is refused where the environment forbids pickles and code of models."""

from __future__ import annotations

import pickle
import tarfile
import time
from pathlib import Path
from typing import Literal

import pytest

import modelry.pyfunc
from modelry._sdk.packaging import file_forms, forbidding, judging
from modelry.errors import FailedPrecondition, InvalidArgument
from tests.python.packaging.test_judging import SKLEARN, Trace, a_model

CODE = """flavors:
  python_function:
    loader_module: code_of_a_stranger
    code: code
    data: .
"""
PYTORCH = "flavors: {python_function: {loader_module: mlflow.pytorch, data: data}}"
KERAS = "flavors: {python_function: {loader_module: mlflow.keras}, keras: {data: data}}"
TENSORFLOW = "flavors: {python_function: {loader_module: mlflow.tensorflow, data: data}, tensorflow: {data: data}}"
TRANSFORMERS = "flavors: {python_function: {loader_module: mlflow.transformers}, transformers: {model_binary: data}}"
OF_A_PIPELINE = TRANSFORMERS.replace("model_binary", "pipeline_model_type: BertModel, model_binary")
PARAMS = """
signature: {params: '[{"name": "custom\\u005fgenerate", "type": "string", "default": "evil/repo", "shape": null}]'}
"""


@pytest.mark.parametrize("machine", [{}, {"DATABRICKS_RUNTIME_VERSION": "15.4"}], ids=["usual", "databricks"])
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
        "flavors: {onnx: {data: m.onnx, onnx_session_options: {optimized_model_filepath: /tmp/x}}}",
        "flavors: {onnx: {data: m.onnx, onnx_session_options: [x]}}",
        "flavors: {onnx: {data: m.onnx, providers: {TensorrtExecutionProvider: {trt_extra_plugin_lib_paths: x}}}}",
        "flavors: {onnx: {data: m.onnx, providers: [[QNNExecutionProvider, [[backend_path, q]]]]}}",
        "flavors: {onnx: {data: m.onnx, providers: [[QNNExecutionProvider, {device_id: 1}, {backend_path: q}]]}}",
        SKLEARN.format(path="model.pkl"),
        SKLEARN.format(path="model.pkl").replace("cloudpickle", "pickle"),
        SKLEARN.format(path="model.pkl").replace("cloudpickle", "skops"),
        "flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}}",
        "flavors: {python_function: {loader_module: mlflow.statsmodels, data: model.pkl}}",
        "flavors: {statsmodels: {data: model.pkl}}",
        "flavors: {lightgbm: {data: model.pkl, model_class: lightgbm.sklearn.LGBMClassifier}}",
        "flavors: {lightgbm: {data: model.pkl, model_class: null}}",
        "flavors: {lightgbm: {data: model.pkl, model_class: [lightgbm.basic.Booster]}}",
        "flavors: {xgboost: {data: model.pkl, model_class: null}}",
    ],
)
def test_no_code_of_a_model_runs_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str, machine: dict[str, str]
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    for name, value in machine.items():
        monkeypatch.setenv(name, value)
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


@pytest.mark.parametrize("model_class", ["", "model_class: lightgbm.basic.Booster, code: null, "])
def test_a_booster_of_lightgbm_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_class: str) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlmodel = f"flavors: {{lightgbm: {{{model_class}data: model.lgb, skops_trusted_types: null}}}}"

    assert judging.judge(str(a_model(tmp_path, mlmodel)))["lightgbm"]["data"] == "model.lgb"


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
        (TENSORFLOW, "saved_model.cpb", ""),
        (KERAS, "model.weights.h5", ""),
        (KERAS, "x", ""),
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
        (TRANSFORMERS, "x", ""),
        (TRANSFORMERS, "w.foo", ""),
        (TRANSFORMERS, "model.gguf", ""),
        (TRANSFORMERS, "pytorch_model.bin.index.json", '{"weight_map": {}}'),
        (TRANSFORMERS, "pytorch_model.bin.index.fp16.JSON", '{"weight_map": {}}'),
        (TRANSFORMERS, "model.safetensors.index.json", '{"weight_map": {"a": "w.txt"}}'),
        (TRANSFORMERS, "model.safetensors.index.json", '{"weight_map": {"a": "../data/w.safetensors"}}'),
        (TRANSFORMERS, "model.safetensors.index.json", '{"weight_map": {"a": "gone.safetensors"}}'),
        (TRANSFORMERS, "model.safetensors.index.json", '{"weight_map": {"a": ["w.safetensors"]}}'),
        (TRANSFORMERS, "model.safetensors.index.json", '{"weight_map": {"a": "w.txt"}, "weight_map": {}}'),
        (TRANSFORMERS, "model.safetensors.index.json", '{"weight_map": "w.txt"}'),
        (TRANSFORMERS, "other.json", '{"a": [{"weight_map": {"a": "w.txt"}}]}'),
        (TRANSFORMERS, "config.json", '{"attn_implementation": "evil/kernel"}'),
        (TRANSFORMERS, "config.json", '{"text_config": {"_attn_implementation": {"": "paged|evil/kernel:a"}}}'),
        (TRANSFORMERS, "adapter_config.json", '{"base_model_name_or_path": "evil/repo"}'),
        (TRANSFORMERS, "config.json", '{"model_args": {"checkpoint_path": "data/w.model"}}'),
        (TRANSFORMERS, "config.json", '{"a": [{"backbone_kwargs": {"checkpoint_path": "w.txt"}}]}'),
        (TRANSFORMERS, "config.json", '{"model_args": {"pretrained_cfg": {"file": "w.txt"}}}'),
        (TRANSFORMERS, "config.json", '{"model_args": {"pretrained_cfg_overlay": "w"}}'),
        (TRANSFORMERS, "config.json", '{"backbone_kwargs": [["checkpoint_path", "w.txt"]]}'),
        (TRANSFORMERS, "config.json", '{"use_timm_backbone": true}'),
        (TRANSFORMERS, "config.json", '{"backbone_config": {"model_type": "timm_backbone"}}'),
        (TRANSFORMERS, "config.json", '{"vision_config": {"architectures": ["TimmWrapperModel"]}}'),
        (TRANSFORMERS, "config.json", '{"architecture": "local-dir:data"}'),
        (TRANSFORMERS, "config.json", '{"backbone": "resnet50"}'),
        (TRANSFORMERS, "any.json", '{"a": {"checkpoint_file": "w.txt"}}'),
        (OF_A_PIPELINE.replace("BertModel", "TimmWrapperForImageClassification"), "x.txt", ""),
        (OF_A_PIPELINE.replace("BertModel", "TimmBackbone"), "x.txt", ""),
        (TRANSFORMERS, "tokenizer_config.json", '{"vocab": "/etc/passwd"}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"vocab": "../MLmodel"}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"vocab": "gone.txt"}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"merges": "a\\\\b.txt"}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"vocab_file": "C:w.txt"}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"tokenizer_file": "/tmp/tokenizer.json"}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"fast_tokenizer_files": ["/tmp/tokenizer.1.0.json"]}'),
        (TRANSFORMERS, "processor_config.json", '{"audio_tokenizer": {"audio_tokenizer_name_or_path": "evil/a"}}'),
        *((TRANSFORMERS, f"w.{kind}", "cos\nmkdir\n(S'ran'\ntR.") for kind in ("model", "codes", "txt", "tokenizer")),
        (TRANSFORMERS, "w.spm", "(S'ran'\nios\nmkdir\n."),
        (TRANSFORMERS, "vocab.txt", "PK\x03\x04"),
    ],
)
def test_no_code_of_a_deep_model_runs_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str, file: str, content: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "code_of_a_stranger.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    model = a_model(tmp_path / "model", mlmodel)
    (model / "model.pkl").unlink()
    (model / "data").mkdir()
    for name in ("w.txt", "w.safetensors"):
        (model / "data" / name).touch()
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
        (TRANSFORMERS, "tokenizer.json", '{"vocab": {"auto_map": 1, "weight_map": 2, "attn_implementation": 3}}'),
        (TRANSFORMERS, "model.safetensors.index.json", '{"weight_map": {"a": "w.safetensors", "b": "w.safetensors"}}'),
        (TRANSFORMERS, "config.json", '{"attn_implementation": "sdpa", "a": {"_attn_implementation": {"": "eager"}}}'),
        (TRANSFORMERS, "tokenizer.model", ""),
        (TRANSFORMERS, "tokenizer.model", "\n\x0e\n\x05<unk>\x15\x00\x00"),
        (TRANSFORMERS, "vocab.txt", "[PAD]\n[UNK]\nR\n"),
        (TRANSFORMERS, "merges.txt", "#version: 0.2\nt h\n"),
        (TRANSFORMERS, "o200k.tiktoken", "IQ== 0\nIg== 1\n"),
        (TRANSFORMERS, "config.json", '{"_name_or_path": "google/bert", "backbone": null, "use_timm_backbone": false}'),
        (TRANSFORMERS, "config.json", '{"a": {"architecture": "mobilenetv5_300m_enc", "model_args": null}}'),
        (TRANSFORMERS, "config.json", '{"backbone_kwargs": {"out_indices": [1, 2], "norm_layer": "rmsnorm"}}'),
        (TRANSFORMERS, "config.json", '{"label2id": {"vocab": 1, "checkpoint_path": 0, "backbone": 2}}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"name_or_path": "/home/me/m", "tokenizer_file": null}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"special_tokens_map_file": "/home/me/m/special_tokens_map.json"}'),
        (TRANSFORMERS, "tokenizer_config.json", '{"vocab_file": "w.safetensors"}'),
        (TRANSFORMERS, "tokenizer.json", '{"vocab": [["a/b", -1.5]], "merges": ["a /b", ["/", "c"]]}'),
        (TRANSFORMERS, "chat_template.jinja", "{{ messages }}"),
        (KERAS, "model.keras", ""),
    ],
)
def test_data_of_a_deep_model_is_not_refused_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str, file: str, content: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = a_model(tmp_path / "model", mlmodel)
    (model / "model.pkl").unlink()
    (model / "data").mkdir()
    (model / "data" / "w.safetensors").touch() if mlmodel == TRANSFORMERS else None
    (model / "data" / file).write_text(content)

    assert "python_function" in judging.judge(str(model))


@pytest.mark.parametrize(
    ("version", "refused"),
    [("3.10.0", True), ("3.11.2", True), ("3.13.2", True), ("2.15.0", True), ("3.14.0", False), ("3.15.1", False)],
)
@pytest.mark.parametrize("mlmodel", [KERAS, TENSORFLOW])
def test_keras_without_a_safe_mode_is_refused_where_pickles_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlmodel: str, version: str, refused: bool
) -> None:
    installed = tmp_path / "site" / f"keras-{version}.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: keras\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    model = a_model(tmp_path / "model", mlmodel)
    (model / "model.pkl").unlink()
    judging.judge(str(model))
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    if refused:
        with pytest.raises(FailedPrecondition, match=f"Keras {version}, which needs Keras 3.14 or newer"):
            judging.judge(str(model))
    else:
        judging.judge(str(model))
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
        with pytest.raises(FailedPrecondition, match="TF_USE_LEGACY_KERAS"):
            judging.judge(str(model))


def test_a_pickled_function_is_called_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    options = "loader_module: mlflow.pyfunc.model, cloudpickle_version: 3.1.1, python_model: python_model.pkl"

    with pytest.raises(
        FailedPrecondition, match=r"function or class of Python, which is the pickle 'python_model\.pkl'"
    ):
        modelry.pyfunc.load_model(a_model(tmp_path, f"flavors: {{python_function: {{{options}}}}}"))


def test_a_long_text_like_a_pickle_is_told_apart_soon(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("I1\n" * 1_000_000)
    begun = time.monotonic()

    assert file_forms.may_be_pickled(tmp_path / "vocab.txt")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_are_known_by_their_form(tmp_path: Path, kind: Literal["w", "w:gz", "w:bz2", "w:xz"]) -> None:
    (tmp_path / "a").write_text("b")
    with tarfile.open(tmp_path / "w.model", kind) as archive:
        archive.add(tmp_path / "a", "a")

    assert file_forms.may_be_pickled(tmp_path / "w.model")
    assert not file_forms.may_be_pickled(tmp_path / "a")


@pytest.mark.parametrize("first", [*"abcdefghijklmnopqrstuvwxyz", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"().]}01#"])
def test_words_are_no_pickle(tmp_path: Path, first: str) -> None:
    words = "".join(f"{first}{second}\n" for second in ("at", "og", "ird", "", "wl", "7"))
    (tmp_path / "vocab.txt").write_text(f"{words}cat\ndog\nbird\nRun\nowl\nit\n")

    assert not file_forms.may_be_pickled(tmp_path / "vocab.txt")


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_are_known_by_their_form(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "w.txt").write_bytes(pickle.dumps(Trace("x"), protocol))

    assert file_forms.may_be_pickled(tmp_path / "w.txt")


@pytest.mark.parametrize("value", ["no", "off", "n", "false ", " true", "yes", "on", "", "nein", "2", "\u00a0false"])
def test_a_word_that_is_not_known_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", value)
    model = a_model(tmp_path, "flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}}")

    with pytest.raises(InvalidArgument, match="write false or 0 to forbid") as refused:
        modelry.pyfunc.load_model(model)

    assert refused.value.reason == "SETTING_INVALID"
    assert repr(value) in str(refused.value)
    assert not (model / "ran").exists()


@pytest.mark.parametrize(
    ("value", "forbids"),
    [("false", True), ("FALSE", True), ("0", True), ("true", False), ("True", False), ("1", False), (None, False)],
)
def test_the_words_of_mlflow_are_known(monkeypatch: pytest.MonkeyPatch, value: str | None, forbids: bool) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    if value is not None:
        monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", value)

    assert forbidding.is_on() is forbids
