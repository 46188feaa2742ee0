"""Models of deep learning frameworks: saved, logged and loaded here, and exchanged with MLflow in both directions."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow
import torch
import transformers
import yaml
from tokenizers import Tokenizer
from tokenizers import models as tokenizer_models
from tokenizers.pre_tokenizers import Whitespace

import modelry
from modelry import Client
from modelry.errors import FailedPrecondition, InvalidArgument

SAMPLE = np.random.default_rng(1).random((4, 3), dtype=np.float32)
TEXT = "a good film"
# Keras reads TensorFlow's variables so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
FORBIDDEN = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


def pytorch_module() -> Any:
    torch.manual_seed(1)
    layers = [torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)]
    return torch.nn.Sequential(*layers)


def of_a_module(model: Any) -> Any:
    """What it predicts, in evaluation; afterwards it is as it was. A graph knows no other state."""
    was_training = model.training
    if isinstance(model, torch.nn.Sequential):
        model.eval()
    answer = model(torch.from_numpy(SAMPLE)).detach().numpy()
    if isinstance(model, torch.nn.Sequential):
        model.train(was_training)
    return answer


def keras_model() -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
    model.compile(loss="mse")
    model.fit(SAMPLE, SAMPLE[:, :1], verbose=0)  # else Keras warns that the optimizer has no state
    return model


def of_a_keras_model(model: Any) -> Any:
    return keras.ops.convert_to_numpy(model(SAMPLE))


class Doubled(tensorflow.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.weights = tensorflow.Variable(2 * tensorflow.ones((3, 1)))

    @tensorflow.function(input_signature=[tensorflow.TensorSpec((None, 3), tensorflow.float32)])  # type: ignore[untyped-decorator]
    def __call__(self, given: Any) -> Any:
        return given @ self.weights


def of_a_tensorflow_module(model: Any) -> Any:
    return model(tensorflow.constant(SAMPLE)).numpy()


def transformers_pipeline() -> Any:
    torch.manual_seed(1)
    words = ["[PAD]", "[UNK]", "a", "good", "bad", "film"]
    known = Tokenizer(tokenizer_models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    known.pre_tokenizer = Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=known, pad_token="[PAD]", unk_token="[UNK]")
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertForSequenceClassification(config).eval()
    return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)


def of_a_pipeline(model: Any) -> Any:
    return [each["score"] for each in model(TEXT)]


@dataclass(frozen=True)
class Case:
    """A model of a flavor: how it is made and asked, which file it is stored in, and which packages it needs."""

    flavor: str
    made: Callable[[], Any]
    asked: Callable[[Any], Any]
    file: str
    needs: set[str]
    has_code: bool = False
    options: dict[str, Any] = field(default_factory=dict)


NEEDS_KERAS = {"keras", "tensorflow_cpu", "pandas"}
CASES = {
    "pytorch": Case(
        "pytorch", pytorch_module, of_a_module, "data/model.pth", {"torch", "cloudpickle", "pandas"}, has_code=True
    ),
    "pytorch as a graph": Case(
        "pytorch",
        pytorch_module,
        of_a_module,
        "data/model.pt2",
        {"torch", "pandas", "numpy"},
        has_code=True,
        options={"serialization_format": "pt2", "input_example": SAMPLE},
    ),
    "keras": Case("keras", keras_model, of_a_keras_model, "data/model.keras", NEEDS_KERAS),
    "keras of tensorflow": Case("tensorflow", keras_model, of_a_keras_model, "data/model.keras", NEEDS_KERAS),
    "tensorflow": Case(
        "tensorflow",
        Doubled,
        of_a_tensorflow_module,
        "tf2model/saved_model.pb",
        {"tensorflow_cpu", "pandas"},
        has_code=True,
    ),
    "transformers": Case(
        "transformers",
        transformers_pipeline,
        of_a_pipeline,
        "model/model.safetensors",
        {"transformers", "torch", "tokenizers", "pandas"},
    ),
}


@dataclass(frozen=True)
class Saved:
    """A model that Modelry saved, and what it answered then."""

    folder: Path
    model: Any
    answer: list[float]


@pytest.fixture(scope="module")
def all_saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    """A model of each case, saved without a network: nothing is looked up on a hub."""
    folder = tmp_path_factory.mktemp("saved")
    found = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", asked_the_network)
        patched.setattr(socket.socket, "connect", asked_the_network)
        for name, case in CASES.items():
            model, place = case.made(), folder / name.replace(" ", "-")
            answer = as_numbers(case.asked(model))
            flavor_of(case).save_model(model, place, **case.options)
            found[name] = Saved(place, model, answer)
    return found


def asked_the_network(*given: object, **_: object) -> None:
    raise AssertionError(f"the network was asked for {given}")


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def saved(name: str, all_saved: dict[str, Saved]) -> Saved:
    return all_saved[name]


def flavor_of(case: Case) -> Any:
    return importlib.import_module(f"modelry.{case.flavor}")


def as_numbers(answer: Any) -> list[float]:
    """Predictions as plain numbers, whatever the flavor gives."""
    return [float(each) for each in np.asarray(answer, dtype=object).reshape(-1)]


def given_to(case: Case) -> Any:
    return TEXT if case.flavor == "transformers" else SAMPLE


def of_pyfunc(case: Case, model: Any) -> list[float]:
    answer = model.predict(given_to(case))
    return as_numbers(answer["score"] if case.flavor == "transformers" else answer)


def test_a_model_comes_back_as_it_was_saved(case: Case, saved: Saved) -> None:
    loaded = flavor_of(case).load_model(saved.folder)
    served = modelry.pyfunc.load_model(saved.folder)

    assert as_numbers(case.asked(loaded)) == pytest.approx(saved.answer, rel=1e-4)
    assert of_pyfunc(case, served) == pytest.approx(saved.answer, rel=1e-4)


def test_the_folder_has_the_file_of_the_framework_and_what_it_needs(case: Case, saved: Saved) -> None:
    assert (saved.folder / case.file).exists()
    pins = (saved.folder / "requirements.txt").read_text().split()
    assert {pin.partition("==")[0] for pin in pins} == {*case.needs, "mlflow"}
    assert all("==" in pin and "+" not in pin for pin in pins)
    described = yaml.safe_load((saved.folder / "MLmodel").read_text())
    assert described["flavors"].keys() == {"python_function", case.flavor}


@pytest.mark.timeout(600)  # it imports all frameworks once more
def test_mlflow_loads_what_modelry_saved(all_saved: dict[str, Saved], tmp_path: Path) -> None:
    np.save(tmp_path / "sample.npy", SAMPLE)
    code = f"""
import json, sys
sys.modules["modelry"] = None
import torch._dynamo, mlflow, numpy
answers = {{}}
for name, folder in json.loads(sys.argv[1]).items():
    model = mlflow.pyfunc.load_model(folder)
    given = {TEXT!r} if name == "transformers" else numpy.load("sample.npy")
    answer = model.predict(given)
    answer = answer["score"] if name == "transformers" else answer
    answers[name] = [float(each) for each in numpy.asarray(answer).reshape(-1)]
print(json.dumps(answers))
"""
    folders = json.dumps({name: str(saved.folder) for name, saved in all_saved.items()})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, folders],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "", "MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers == {name: pytest.approx(saved.answer, rel=1e-4) for name, saved in all_saved.items()}


def test_modelry_loads_what_mlflow_saved(
    case: Case, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # MLflow looks for a model card
    mlflow = importlib.import_module(f"mlflow.{case.flavor}")
    options = {"serialization_format": "pickle"} if case.flavor == "pytorch" else {}
    if case.flavor == "pytorch":
        saved.model.eval()  # MLflow exports the graph of a module as it is

    mlflow.save_model(saved.model, str(tmp_path / "model"), pip_requirements=[], **{**options, **case.options})

    loaded = flavor_of(case).load_model(tmp_path / "model")
    assert as_numbers(case.asked(loaded)) == pytest.approx(saved.answer, rel=1e-4)


def test_a_model_with_code_is_refused_where_the_environment_forbids_it(
    case: Case, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORBIDDEN, "false")

    for load in (flavor_of(case).load_model, modelry.pyfunc.load_model):
        if case.has_code:
            with pytest.raises(FailedPrecondition, match=FORBIDDEN):
                load(saved.folder)
        else:
            load(saved.folder)


@pytest.mark.usefixtures("fluent")
def test_a_model_is_logged_registered_and_loaded(case: Case, client: Client, unique: str) -> None:
    model = case.made()

    with modelry.start_run() as run:
        logged = flavor_of(case).log_model(model, name="it", registered_model_name=unique, **case.options)
    client.aliases.set(unique, "champion", 1)

    assert logged.model_uri == f"runs:/{run.run_id}/it"
    assert logged.registered_model_version == 1
    assert case.flavor in {flavor.name for flavor in client.versions.get(unique, 1).flavors}
    expected = pytest.approx(as_numbers(case.asked(model)), rel=1e-4)
    for uri in (logged.model_uri, f"models:/{unique}@champion"):
        assert as_numbers(case.asked(flavor_of(case).load_model(uri))) == expected
    assert of_pyfunc(case, modelry.pyfunc.load_model(f"models:/{unique}@champion")) == expected


def test_saving_a_module_with_an_example_does_not_train_it(tmp_path: Path) -> None:
    model = pytorch_module()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[2].eval()

    modelry.pytorch.save_model(model, tmp_path / "model", input_example=torch.from_numpy(SAMPLE))

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [model.training, model[0].training, model[2].training] == [True, True, False]
    signature = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())["signature"]
    assert json.loads(signature["inputs"])[0]["tensor-spec"] == {"dtype": "float32", "shape": [-1, 3]}


def test_a_module_of_a_local_class_is_pickled(tmp_path: Path) -> None:
    class Halved(torch.nn.Module):  # type: ignore[misc]
        def forward(self, given: Any) -> Any:
            return given / 2

    modelry.pytorch.save_model(Halved(), tmp_path / "model")

    assert torch.equal(modelry.pytorch.load_model(tmp_path / "model")(torch.ones(1)), torch.tensor([0.5]))


@pytest.mark.usefixtures("fluent")
@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize("serialization_format", ["pickle", "safetensors"])
def test_a_state_dict_is_logged_and_loaded(
    serialization_format: str, synchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = pytorch_module().state_dict()

    with modelry.start_run() as run:
        uri = modelry.pytorch.log_state_dict(
            state, "weights", serialization_format=serialization_format, synchronous=synchronous
        )
        assert run.flush(60)
        with pytest.raises(InvalidArgument, match="run of this process"):
            modelry.pytorch.log_state_dict(state, "weights", run_id=run.run_id, synchronous=False)
    loaded = modelry.pytorch.load_state_dict(uri)

    assert uri == f"runs:/{run.run_id}/weights"
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    monkeypatch.setenv(FORBIDDEN, "false")
    if serialization_format == "safetensors":
        assert modelry.pytorch.load_state_dict(uri).keys() == state.keys()
    else:
        with pytest.raises(FailedPrecondition, match="safetensors"):
            modelry.pytorch.load_state_dict(uri)


def test_a_checkpoint_is_loaded_and_code_in_it_is_not_run(tmp_path: Path) -> None:
    model = pytorch_module()
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": torch.optim.Adam(model.parameters()).state_dict(),
        "epoch": 3,
    }
    modelry.pytorch.save_state_dict(checkpoint, tmp_path / "good")
    mlflow = importlib.import_module("mlflow.pytorch")
    assert mlflow.load_state_dict(str(tmp_path / "good"))["epoch"] == 3
    assert modelry.pytorch.load_state_dict(tmp_path / "good")["epoch"] == 3

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "ran",)

    mlflow.save_state_dict({"weight": Hostile()}, str(tmp_path / "bad"))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        modelry.pytorch.load_state_dict(tmp_path / "bad")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"epoch": 3}, "'epoch' is of type int"),
        ({"model": {"weight": torch.ones(1)}}, "'model' is of type dict"),
        (torch.nn.Linear(1, 1), "a state dict is a mapping, not Linear"),
        (dict.fromkeys(("head", "embedding"), torch.ones(2)), "share memory"),
    ],
    ids=["number", "nested", "module", "tied"],
)
def test_what_safetensors_cannot_hold_is_refused(tmp_path: Path, state: Any, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        modelry.pytorch.save_state_dict(state, tmp_path / "state", serialization_format="safetensors")

    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_format_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="'json' is none of pickle, safetensors"):
        modelry.pytorch.save_state_dict({}, tmp_path, serialization_format="json")


def test_a_keras_model_keeps_its_example_and_gets_its_signature(tmp_path: Path) -> None:
    modelry.keras.save_model(keras_model(), tmp_path / "model", input_example=SAMPLE)

    served: Any = modelry.pyfunc.load_model(tmp_path / "model")
    assert str(served.metadata.signature.inputs) == "[Tensor('float32', (-1, 3))]"
    assert served.input_example.shape == (4, 3)
    with pytest.raises(InvalidArgument, match="is not empty"):
        modelry.keras.save_model(keras_model(), tmp_path / "model")


def test_a_keras_model_with_a_function_is_refused_by_the_safe_mode(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda given: given * 2)])
    modelry.keras.save_model(model, tmp_path / "model")

    for load in (modelry.keras.load_model, modelry.pyfunc.load_model):
        with pytest.raises(ValueError, match=r"safe_mode|unsafe"):
            load(tmp_path / "model")
    trusted = modelry.keras.load_model(tmp_path / "model", load_model_kwargs={"safe_mode": False})
    assert trusted.predict(SAMPLE, verbose=0) == pytest.approx(SAMPLE * 2)


def test_custom_objects_of_tensorflow_are_pickled_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelry.tensorflow.save_model(keras_model(), tmp_path / "model", custom_objects={"mine": as_numbers})

    assert (tmp_path / "model" / "data" / "custom_objects.cloudpickle").exists()
    assert "cloudpickle==" in (tmp_path / "model" / "requirements.txt").read_text()
    assert modelry.tensorflow.load_model(tmp_path / "model")
    monkeypatch.setenv(FORBIDDEN, "false")
    with pytest.raises(FailedPrecondition, match=r"custom_objects\.cloudpickle"):
        modelry.tensorflow.load_model(tmp_path / "model")


def test_the_parts_of_a_pipeline_need_a_task(tmp_path: Path) -> None:
    pipeline = transformers_pipeline()
    parts = {"model": pipeline.model, "tokenizer": pipeline.tokenizer}

    with pytest.raises(InvalidArgument, match="need a task"):
        modelry.transformers.save_model(parts, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    modelry.transformers.save_model(parts, tmp_path / "model", task="text-classification", input_example=TEXT)

    loaded = modelry.transformers.load_model(tmp_path / "model", return_type="components")
    assert type(loaded["model"]) is type(pipeline.model)
    assert modelry.pyfunc.load_model(tmp_path / "model").metadata.signature.outputs.input_names() == ["label", "score"]


def test_the_packages_of_a_module_are_found_without_copying_its_tensors() -> None:
    from modelry._sdk.requiring import requirements

    class Copied(torch.Tensor):  # type: ignore[misc]
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise AssertionError("its data was copied")

    model = torch.nn.Linear(1, 1)
    model.weight.data = torch.Tensor._make_subclass(Copied, torch.ones(1, 1))
    assert "torch.nn.modules.linear" in requirements.modules_of(
        [model, torch.Tensor._make_subclass(Copied, torch.ones(1))]
    )


def test_a_model_of_a_gpu_is_loaded_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytorch_module()
    expected = of_a_module(module)
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")  # what a file of a GPU says
        modelry.pytorch.save_model(module, tmp_path / "model")
        modelry.pytorch.save_state_dict(module.state_dict(), tmp_path / "state")
    with pytest.raises(RuntimeError, match="CUDA device"):
        torch.load(tmp_path / "model/data/model.pth", weights_only=False)

    assert of_a_module(modelry.pytorch.load_model(tmp_path / "model")) == pytest.approx(expected)
    assert modelry.pyfunc.load_model(tmp_path / "model").predict(SAMPLE) == pytest.approx(expected)
    module.load_state_dict(modelry.pytorch.load_state_dict(tmp_path / "state"))


def test_a_graph_of_a_gpu_says_where_it_can_be_loaded(tmp_path: Path) -> None:
    modelry.pytorch.save_model(pytorch_module(), tmp_path / "model", serialization_format="pt2", input_example=SAMPLE)
    graph = tmp_path / "model/data/model.pt2"
    with zipfile.ZipFile(graph) as archive:
        files = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(graph, "w") as archive:  # what the graph of a GPU says
        for entry, content in files.items():
            archive.writestr(entry, content.replace(b'"type": "cpu", "index": null', b'"type": "cuda", "index": 0   '))

    for load in (modelry.pytorch.load_model, modelry.pyfunc.load_model):
        with pytest.raises(FailedPrecondition, match=r"net\.cpu\(\)"):
            load(tmp_path / "model")


@pytest.mark.parametrize("flavor", ["pytorch", "keras", "tensorflow", "transformers"])
@pytest.mark.parametrize("given", [5, None, [1], torch.nn.Linear, torch.eye(2)])
@pytest.mark.usefixtures("fluent")
def test_what_is_no_model_of_the_flavor_is_refused(tmp_path: Path, flavor: str, given: Any) -> None:
    module = importlib.import_module(f"modelry.{flavor}")

    with pytest.raises(InvalidArgument, match=r"model is .*; give a"):
        module.save_model(given, tmp_path / "model")
    with pytest.raises(InvalidArgument, match=r"model is .*; give a"):
        module.log_model(given)

    assert not (tmp_path / "model").exists()
    assert modelry.active_run() is None
