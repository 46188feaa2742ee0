"""Saves models of PyTorch and Transformers on the GPU, and loads them there and where no GPU is seen.

    PYTHONPATH=clients/python python tests/gpu/models.py FOLDER [--cpu]

It needs torch, transformers, safetensors, Pillow and mlflow-skinny, and no network: models go to FOLDER, and the run to
FOLDER/spool, as it is kept while a server is away. Each check is a line of the output and of FOLDER/models.json. A
second process, with CUDA_VISIBLE_DEVICES empty, loads the same files. With --cpu all is done on the CPU, which says
whether the script and the packages work. It exits with 1 if a check failed.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1]).resolve()
DEVICE = "cpu" if "--cpu" in sys.argv else "cuda"
IS_WITHOUT_GPU = "--without-gpu" in sys.argv
SPOOL = FOLDER / "spool"
os.environ.update(
    MODELRY_TRACKING_URI="grpc://127.0.0.1:1",  # nobody listens there
    MODELRY_SPOOL_DIR=str(SPOOL),
    MODELRY_START_TIMEOUT="1s",
    MODELRY_EXIT_TIMEOUT="1s",
    HF_HUB_OFFLINE="1",
)
if IS_WITHOUT_GPU:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import modelry  # noqa: E402
import modelry.pyfunc  # noqa: E402
import modelry.pytorch  # noqa: E402
import modelry.transformers  # noqa: E402

MODEL, INFERRED, GRAPH, GRAPH_ON_CPU, PIPELINE = (
    FOLDER / name for name in ("model", "inferred", "graph", "graph_on_cpu", "pipeline")
)
STATES = {form: FOLDER / f"state_{form}" for form in ("safetensors", "pickle")}
TEXT = "a good film"
ROWS = np.random.default_rng(0).random((8, 4), dtype=np.float32)
RESULTS: dict[str, dict[str, Any]] = {}
WARNINGS: list[str] = []


def main() -> int:
    """Checks everything, and prints what came of it."""
    logging.getLogger("modelry").addHandler(Noting())
    if IS_WITHOUT_GPU:
        elsewhere()
    else:
        here()
    failed = [name for name, result in RESULTS.items() if not result["ok"]]
    name = "models_without_gpu.json" if IS_WITHOUT_GPU else "models.json"
    (FOLDER / name).write_text(json.dumps(RESULTS, indent=1), encoding="utf-8")
    print(f"{len(RESULTS) - len(failed)} checks passed, {len(failed)} failed {failed or ''}")
    return 1 if failed else 0


class Noting(logging.Handler):
    """Keeps what Modelry warns of."""

    def emit(self, record: logging.LogRecord) -> None:
        WARNINGS.append(record.getMessage())


def here() -> None:
    """Trains, saves and loads on the device, and has the second process load the same files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if DEVICE == "cuda":
        print(
            f"torch {torch.__version__} on {torch.cuda.get_device_name()}; its package is {metadata.version('torch')}"
        )
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)).to(DEVICE)
    rows = torch.from_numpy(ROWS).to(DEVICE)
    with modelry.start_run(run_name=f"models on {DEVICE}"):
        check("training logs a loss of the device", lambda: train(net, rows))
        check("a picture of the device is that of the CPU", picture)
        check("a model of the device is logged to the spool", lambda: logged(net, rows))
    net.eval()
    expected = asked(net)
    np.save(FOLDER / "expected.npy", expected)
    check("pickle: saved", lambda: saved(net, rows))
    check("pickle: the build in the requirements", requirements)
    check("pickle: loaded on the device", lambda: agrees(modelry.pytorch.load_model(MODEL), DEVICE))
    check("pickle: loaded on the CPU", lambda: agrees(modelry.pytorch.load_model(MODEL, map_location="cpu"), "cpu"))
    check("pickle: loaded as pyfunc", lambda: same(modelry.pyfunc.load_model(MODEL).predict(ROWS)))
    for form, folder in STATES.items():
        named = f"state dict as {form}"
        check(f"{named}: saved", partial(save_state, net, folder, form))
        check(f"{named}: loaded on the device", partial(state_agrees, folder, form_options(folder, DEVICE)))
        check(f"{named}: loaded on the CPU", partial(state_agrees, folder, form_options(folder, "cpu")))
    check("pickle: a signature from the example", lambda: inferred(net, rows))
    check("pt2: saved", lambda: save_graph(net, rows, GRAPH))
    check("pt2: loaded on the device", lambda: agrees(modelry.pytorch.load_model(GRAPH), DEVICE))
    check("pt2 of the model on the CPU: saved", lambda: save_graph(net.cpu(), rows.cpu(), GRAPH_ON_CPU))
    check("Transformers: saved", save_pipeline)
    check("Transformers: loaded on the device", lambda: pipeline_agrees(DEVICE))
    check("Transformers: loaded on the CPU", lambda: pipeline_agrees("cpu"))
    command = [sys.executable, __file__, str(FOLDER), "--without-gpu", *(["--cpu"] if DEVICE == "cpu" else [])]
    check(
        "a process without a GPU loads the files", lambda: require(subprocess.run(command).returncode == 0, "see above")
    )


def elsewhere() -> None:
    """Loads where no GPU is seen what was saved on the device."""
    require(not torch.cuda.is_available(), "a GPU is seen although CUDA_VISIBLE_DEVICES is empty")
    check(
        "no GPU, pickle with map_location", lambda: agrees(modelry.pytorch.load_model(MODEL, map_location="cpu"), "cpu")
    )
    check("no GPU, pickle", lambda: agrees(modelry.pytorch.load_model(MODEL), "cpu"))
    check("no GPU, pickle as pyfunc", lambda: same(modelry.pyfunc.load_model(MODEL).predict(ROWS)))
    check("no GPU, safetensors", lambda: state_agrees(STATES["safetensors"], {}))
    check("no GPU, state dict with map_location", lambda: state_agrees(STATES["pickle"], {"map_location": "cpu"}))
    check("no GPU, state dict", lambda: state_agrees(STATES["pickle"], {}))
    check("no GPU, pt2 of the model on the CPU", lambda: agrees(modelry.pytorch.load_model(GRAPH_ON_CPU), "cpu"))
    check("no GPU, pt2 of the device", lambda: agrees_or_refuses(GRAPH))
    check("no GPU, Transformers", lambda: pipeline_agrees(None))


def check(name: str, action: Callable[[], object]) -> None:
    """Does one check, and keeps its result, its time and the warnings of Modelry meanwhile."""
    WARNINGS.clear()
    began = time.perf_counter()
    try:
        told = action()
        ok = True
    except Exception as problem:  # a check is failed by whatever is raised
        told, ok = f"{type(problem).__name__}: {problem}", False
    seconds = time.perf_counter() - began
    RESULTS[name] = {"ok": ok, "told": str(told or ""), "seconds": seconds, "warnings": list(WARNINGS)}
    print(f"{'ok    ' if ok else 'FAILED'} {name:55} {seconds:6.2f} s  {str(told or '')[:300]}", flush=True)


def require(condition: bool, problem: str) -> None:
    """Raises AssertionError, also where Python leaves `assert` out."""
    if not condition:
        raise AssertionError(problem)


def train(net: Any, rows: Any) -> str:
    """Trains for some steps, and logs the loss as the tensor that it is."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for step in range(20):
        optimizer.zero_grad()
        loss = (net(rows) - rows[:, :2]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        modelry.log_metric("loss", loss.detach(), step=step)
    require(losses[-1] < losses[0], f"the loss went from {losses[0]} to {losses[-1]}")
    require(not WARNINGS, str(WARNINGS))
    return f"loss {losses[0]:.3f} to {losses[-1]:.3f}"


def picture() -> str:
    """Logs a picture as a tensor of the device, and one as an array: their files are the same."""
    image = torch.linspace(0, 1, 3 * 8 * 8, device=DEVICE).reshape(3, 8, 8)
    for name, given in {"device": image, "half": image.half(), "cpu": image.cpu().numpy()}.items():
        modelry.log_image(given, f"{name}.png")
    modelry.flush()
    files = {path.read_bytes() for path in SPOOL.rglob("*") if path.is_file()}
    pictures = {content for content in files if content.startswith(b"\x89PNG")}
    require(len(pictures) in (1, 2), f"{len(pictures)} different pictures in the spool")  # half has less precision
    require(not WARNINGS, str(WARNINGS))
    return f"{len(pictures)} different files of three pictures"


def logged(net: Any, rows: Any) -> str:
    """Logs a model with a signature that is read from tensors of the device."""
    signature = modelry.models.infer_signature(rows, net(rows).detach())
    found = modelry.pytorch.log_model(net, name="model", signature=signature, input_example=rows)
    require(any(path.is_file() for path in SPOOL.rglob("*")), "the spool is empty")
    return str(found.model_uri)


def asked(net: Any) -> Any:
    """The predictions of a module, wherever it is."""
    parameter = next(iter(net.parameters()))
    with torch.no_grad():
        return net(torch.from_numpy(ROWS).to(parameter.device)).cpu().numpy()


def agrees(net: Any, device: str) -> str:
    """Requires a module to be on a device and to predict what was predicted before it was saved."""
    found = next(iter(net.parameters())).device.type
    require(found == device, f"it is on {found}, not on {device}")
    return same(asked(net))


def same(predicted: Any) -> str:
    """Requires predictions to be those of the model that was saved, up to the rounding of another device."""
    away = float(np.abs(np.asarray(predicted) - np.load(FOLDER / "expected.npy")).max())
    require(away < 1e-3, f"the predictions are {away} away")  # a GPU may multiply in TF32
    return f"predictions at most {away:.1e} away"


def agrees_or_refuses(folder: Path) -> str:
    """Requires a graph to work, or an error that names the device."""
    try:
        net = modelry.pytorch.load_model(folder)
        return agrees(net, "cpu")
    except Exception as problem:
        said = f"{type(problem).__name__}: {problem}"
        require("cpu" in said.lower() or "cuda" in said.lower(), f"the error names no device: {said}")
        return f"refused: {said}"


def saved(net: Any, rows: Any) -> None:
    """Saves a module with an example of the device."""
    signature = modelry.models.infer_signature(rows, net(rows).detach())
    modelry.pytorch.save_model(net, MODEL, signature=signature, input_example=rows)
    labels = [each for each in WARNINGS if "are builds that the main index does not have" in each]
    require(bool(labels) == ("+" in metadata.version("torch")), f"warnings: {WARNINGS}")


def inferred(net: Any, rows: Any) -> str:
    """Saves a module with an example and no signature, and requires that of its predictions."""
    modelry.pytorch.save_model(net, INFERRED, input_example=rows.cpu().numpy())
    told = (INFERRED / "MLmodel").read_text(encoding="utf-8")
    require("signature:" in told and "  outputs:" in told, f"there is no signature: {told}")
    return "with outputs"


def requirements() -> str:
    """Requires torch by its version, without the label of the build, which a warning has named."""
    lines = (MODEL / "requirements.txt").read_text(encoding="utf-8").splitlines()
    version, _, label = metadata.version("torch").partition("+")
    require(f"torch=={version}" in lines, str(lines))
    told = RESULTS["pickle: saved"]["warnings"]
    require(
        not label or any(f"torch {version}+{label}" in each and f"/whl/{label}" in each for each in told), str(told)
    )
    return f"torch=={version}, label {label or 'none in the package'}"


def save_state(net: Any, folder: Path, form: str) -> None:
    """Saves the tensors of a module."""
    modelry.pytorch.save_state_dict(net.state_dict(), folder, serialization_format=form)


def form_options(folder: Path, device: str) -> dict[str, Any]:
    """The option of the format that says to which device tensors go."""
    return {"device" if folder == STATES["safetensors"] else "map_location": device}


def state_agrees(folder: Path, options: dict[str, Any]) -> str:
    """Requires tensors to make the same module."""
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    state = modelry.pytorch.load_state_dict(folder, **options)
    wanted = next(iter(options.values()), "cpu")
    found = {each.device.type for each in state.values()}
    require(found == {wanted}, f"the tensors are on {found}, not on {wanted}")
    net.load_state_dict(state)
    return same(asked(net))


def save_graph(net: Any, rows: Any, folder: Path) -> None:
    """Saves the graph of a module."""
    modelry.pytorch.save_model(net, folder, serialization_format="pt2", input_example=rows)


def save_pipeline() -> str:
    """Saves a tiny classifier of texts that is on the device."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(1)
    words = ["[PAD]", "[UNK]", *TEXT.split()]
    known = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=known, pad_token="[PAD]", unk_token="[UNK]")
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertForSequenceClassification(config).eval()
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device=DEVICE)
    modelry.transformers.save_model(pipeline, PIPELINE, input_example=TEXT)
    answer = pipeline(TEXT)
    (FOLDER / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return str(answer)


def pipeline_agrees(device: str | None) -> str:
    """Requires a pipeline that is loaded to answer as the one that was saved."""
    pipeline = modelry.transformers.load_model(PIPELINE, device=device)
    require(pipeline.device.type == (device or "cpu"), f"it is on {pipeline.device}")
    wanted, found = json.loads((FOLDER / "answer.json").read_text(encoding="utf-8")), pipeline(TEXT)
    require(found[0]["label"] == wanted[0]["label"], f"{found}, not {wanted}")
    require(abs(found[0]["score"] - wanted[0]["score"]) < 1e-3, f"{found}, not {wanted}")
    return f"{found}"


if __name__ == "__main__":
    sys.exit(main())
