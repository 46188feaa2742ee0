"""Models where the environment forbids pickles: which weights and classes of Transformers are data, and of Keras."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

import modelry.keras
import modelry.pyfunc
import modelry.tensorflow
import modelry.transformers
from modelry._sdk.packaging import hub_code
from modelry.errors import FailedPrecondition
from tests.families.deep.test_flavors import FORBIDDEN, TEXT, keras_model, transformers_pipeline

# Keras reads TensorFlow's variables so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
LOADS = (modelry.transformers.load_model, modelry.pyfunc.load_model)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    modelry.transformers.save_model(transformers_pipeline(), tmp_path / "model")
    monkeypatch.setenv(FORBIDDEN, "false")
    return tmp_path / "model"


def test_shards_of_safetensors_are_read(model: Path) -> None:
    expected = modelry.transformers.load_model(model)(TEXT)
    whole = next(model.rglob("model.safetensors"))
    tensors = sorted(safetensors.torch.load_file(whole).items())
    whole.unlink()
    weight_map: dict[str, str] = {}
    for number, part in enumerate((tensors[::2], tensors[1::2]), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        safetensors.torch.save_file(dict(part), whole.with_name(name), metadata={"format": "pt"})
        weight_map |= dict.fromkeys((key for key, _ in part), name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    whole.with_name("model.safetensors.index.json").write_text(json.dumps(index))

    assert modelry.transformers.load_model(model)(TEXT) == expected
    assert modelry.pyfunc.load_model(model)


@pytest.mark.parametrize("index", ["pytorch_model.bin.index.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("weights", ["w.foo", "w.txt"])
def test_pickled_weights_are_refused_whatever_their_name_is(model: Path, index: str, weights: str) -> None:
    whole = next(model.rglob("model.safetensors"))
    state = safetensors.torch.load_file(whole)
    whole.unlink()
    torch.save(state, whole.with_name(weights))
    described = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(state, weights)}
    whole.with_name(index).write_text(json.dumps(described))

    for load in LOADS:
        with pytest.raises(FailedPrecondition, match=FORBIDDEN):
            load(model)


@pytest.mark.parametrize(
    "named", ["RagRetriever", "RagTokenizer", "pipeline", "Trainer", "AutoModel", "models", "Mine"]
)
def test_a_class_that_is_no_part_of_a_model_is_refused(model: Path, named: str) -> None:
    described = model / "MLmodel"
    described.write_text(re.sub("pipeline_model_type: .*", f"pipeline_model_type: {named}", described.read_text()))

    for load in LOADS:
        with pytest.raises(FailedPrecondition, match=f"the class '{named}'"):
            load(model)


@pytest.mark.parametrize("key", ["vocab", "vocab_file", "tokenizer_file"])
def test_a_vocabulary_in_another_folder_is_refused(model: Path, tmp_path: Path, key: str) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("[UNK]\n[PAD]\n[CLS]\n[SEP]\n[MASK]\nline\n")
    described = next(model.rglob("tokenizer_config.json"))
    content = json.loads(described.read_text())
    described.with_name("tokenizer.json").unlink(missing_ok=True)
    described.write_text(json.dumps({**content, key: str(elsewhere)}))

    for load in LOADS:
        with pytest.raises(FailedPrecondition, match="a path out of its folder"):
            load(model)


def test_a_model_that_tells_where_it_came_from_is_read(model: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        described = next(model.rglob(name))
        told = {"_name_or_path": "google/bert", "name_or_path": "/home/ada/bert", "backbone": None}
        described.write_text(json.dumps({**json.loads(described.read_text()), **told}))

    for load in LOADS:
        assert load(model)


def test_a_checkpoint_that_a_package_reads_while_a_model_is_loaded_runs_no_code(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "w.pt")

    with hub_code.no_hub(), pytest.raises(Exception, match="Weights only"):
        torch.load(tmp_path / "w.pt", weights_only=False)
    assert torch.load(tmp_path / "w.pt", weights_only=False)


def test_the_classes_of_parts_are_known() -> None:
    named = "BertModel GPT2LMHeadModel LlavaForConditionalGeneration BertTokenizer GPT2Tokenizer "
    named += "WhisperFeatureExtractor WhisperProcessor CLIPProcessor ViTImageProcessor"
    for name in named.split():
        assert hub_code._is_known(name), name


def test_the_safe_mode_of_keras_stays_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modelry.keras.save_model(keras_model(), tmp_path / "keras")
    modelry.tensorflow.save_model(keras_model(), tmp_path / "tensorflow")
    monkeypatch.setenv(FORBIDDEN, "false")

    assert modelry.keras.load_model(tmp_path / "keras", load_model_kwargs={"safe_mode": True, "compile": False})
    with pytest.raises(FailedPrecondition, match="safe_mode=False"):
        modelry.keras.load_model(tmp_path / "keras", load_model_kwargs={"safe_mode": False})
    with pytest.raises(FailedPrecondition, match="safe_mode=False"):
        modelry.tensorflow.load_model(tmp_path / "tensorflow", keras_model_kwargs={"safe_mode": False})
