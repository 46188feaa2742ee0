"""What hostile models of deep learning frameworks would run, and do not where the environment forbids it."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

import modelry
from modelry.errors import FailedPrecondition
from tests.families.deep.test_flavors import FORBIDDEN, SAMPLE, pytorch_module, transformers_pipeline


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "graph"
    modelry.pytorch.save_model(pytorch_module(), folder, serialization_format="pt2", input_example=SAMPLE)
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    modelry.transformers.save_model(transformers_pipeline(), folder)
    return folder


def test_a_weight_in_another_folder_of_a_graph_is_not_unpickled_where_the_environment_forbids_it(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "ran",)

    model = shutil.copytree(graph, tmp_path / "model")
    with zipfile.ZipFile(model / "data/model.pt2") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in files if name.endswith("weights_config.json"))
    inner = f"{name.rpartition('/')[0]}/data/weights"
    config = json.loads(files[name])["config"]
    one = next(iter(config.values()))
    # What MLflow checks is the inner configuration, and what PyTorch reads the outer one.
    outer = {"evil": {**one, "path_name": "data/weights/weight_0", "use_pickle": True}, **config}
    files[name] = json.dumps({"config": outer}).encode()
    files[f"{inner}/x_config.json"] = json.dumps({"config": {"a": {**one, "path_name": "weight_0"}}}).encode()
    torch.save(Hostile(), pickled := io.BytesIO())
    files[f"{inner}/weight_0"] = pickled.getvalue()
    with zipfile.ZipFile(model / "data/model.pt2", "w") as archive:
        for each, content in files.items():
            archive.writestr(each, content)
    monkeypatch.setenv(FORBIDDEN, "false")

    for load in (modelry.pytorch.load_model, modelry.pyfunc.load_model):
        with pytest.raises(FailedPrecondition, match=FORBIDDEN):
            load(model)

    assert not (tmp_path / "ran").exists()


def test_one_line_does_not_switch_off_what_forbids_code(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shutil.copytree(pipeline, tmp_path / "model")
    described = yaml.safe_load((model / "MLmodel").read_text())
    described["flavors"]["transformers"] |= {"loader_module": "mlflow.xgboost", "pipeline_model_type": "Mine"}
    (model / "MLmodel").write_text(yaml.safe_dump(described))
    config = json.loads((model / "model/config.json").read_text())
    own = {"model_type": "mine", "architectures": ["Mine"], "auto_map": {"AutoConfig": "m.Mine", "AutoModel": "m.Mine"}}
    (model / "model/config.json").write_text(json.dumps(config | own))
    (model / "model/m.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    monkeypatch.setenv(FORBIDDEN, "false")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))

    with pytest.raises(FailedPrecondition, match="code of its own"):
        modelry.transformers.load_model(model)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("pipeline_model_type", "Mine"), ("tokenizer_type", "Mine"), ("local_base_model_path", "evil/repo")],
)
def test_a_pipeline_with_a_part_from_elsewhere_is_refused_where_the_environment_forbids_it(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    model = shutil.copytree(pipeline, tmp_path / "model")
    described = yaml.safe_load((model / "MLmodel").read_text())
    described["flavors"]["transformers"][key] = value
    (model / "MLmodel").write_text(yaml.safe_dump(described))
    monkeypatch.setenv(FORBIDDEN, "false")

    for load in (modelry.transformers.load_model, modelry.pyfunc.load_model):
        with pytest.raises(FailedPrecondition, match=f"code of its own: .*{value}"):
            load(model)


def test_no_hub_is_asked_where_the_environment_forbids_code(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    tokenizer = transformers.PreTrainedTokenizerFast
    load = tokenizer.from_pretrained

    def noting(*given: Any, **options: Any) -> Any:
        seen.append(transformers.utils.hub.is_offline_mode())
        return load(*given, **options)

    monkeypatch.setattr(tokenizer, "from_pretrained", noting)
    monkeypatch.setenv(FORBIDDEN, "false")
    for module in (modelry.transformers, modelry.pyfunc):
        module.load_model(pipeline)

    assert seen == [True, True]
    assert not transformers.utils.hub.is_offline_mode()
