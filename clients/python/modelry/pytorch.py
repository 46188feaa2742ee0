"""PyTorch models in MLflow's format: save them to a folder, log them to a run, load them back.

By default the file of a model is a pickle of the whole module, which every module can be. Loading it needs the module's
class, and runs code that its author chose. So does loading its graph, `serialization_format="pt2"`, which PyTorch
evaluates as Python. Data is only `log_state_dict(…, serialization_format="safetensors")`, its tensors without the
module.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelry._sdk.files import local_files
from modelry._sdk.flavors.pytorch import FLAVOR, require_example_of_graph, save_model
from modelry._sdk.packaging import devices
from modelry.errors import FailedPrecondition, InvalidArgument, NotFound

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.client import Client
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions

    class _Autolog(AutologOptions, total=False):
        log_every_n_epoch: int
        log_every_n_step: int | None
        checkpoint: bool


__all__ = ["autolog", "load_model", "load_state_dict", "log_model", "log_state_dict", "save_model", "save_state_dict"]

_STATE_FILES = {"pickle": "state_dict.pth", "safetensors": "state_dict.safetensors"}  # the first is MLflow's


def log_model(
    pytorch_model: Any,
    artifact_path: str | None = None,
    *,
    serialization_format: str = "pickle",
    pickle_module: Any = None,
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    FLAVOR.require(pytorch_model)
    require_example_of_graph(serialization_format, options)
    model = {
        "pytorch_model": pytorch_model,
        "serialization_format": serialization_format,
        "pickle_module": pickle_module,
    }
    return FLAVOR.log_model(save_model, model, artifact_path, options)


def load_model(
    model_uri: str | os.PathLike[str],
    dst_path: str | os.PathLike[str] | None = None,
    *,
    client: Client | None = None,
    **options: Any,
) -> Any:
    """Loads a model from `runs:/…`, `models:/…` or a folder on this machine: see `FlavorShell.load_model`.

    The options are those of `torch.load`, such as `map_location="cpu"`, and `device`, to which the model is moved.
    A model of a GPU is on the CPU where PyTorch sees no GPU; not so in the format `pt2`, whose graph names its device:
    there FailedPrecondition is raised.
    """
    given = {"map_location": devices.usable, **options}
    with devices.graphs_of_a_gpu_refused():
        return FLAVOR.load(model_uri, dst_path=dst_path, client=client, **given)


def save_state_dict(
    state_dict: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    serialization_format: str = "pickle",
    **options: Any,
) -> None:
    """Saves the tensors of a model, or a checkpoint, to a folder on this machine.

    `serialization_format` is `pickle`, the file `state_dict.pth` of `torch.save(…, **options)`, which holds nested
    dicts, numbers and the state of optimizers too; or `safetensors`, which holds tensors by name, and nothing else.

    Raises InvalidArgument for what the format can't hold, and ModuleNotFoundError without the package safetensors.
    """
    if not isinstance(state_dict, Mapping):
        raise _wrong(f"a state dict is a mapping, not {type(state_dict).__name__}; give model.state_dict()")
    if serialization_format not in _STATE_FILES:
        raise _wrong(f"serialization_format {serialization_format!r} is none of {', '.join(_STATE_FILES)}")
    local_files.require_no_url(path, local_files.SAVED)
    file = Path(path, _STATE_FILES[serialization_format])
    if serialization_format == "safetensors":
        tensors = _tensors_alone(state_dict)
        save = _safetensors().save_file
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            save(tensors, file, **options)
        except RuntimeError as problem:  # tensors that share memory, such as tied weights
            raise _wrong(f"safetensors can't hold this state dict: {problem}") from problem
        return
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state_dict, file, **options)


def log_state_dict(
    state_dict: Mapping[str, Any],
    artifact_path: str,
    *,
    serialization_format: str = "pickle",
    run_id: str | None = None,
    client: Client | None = None,
    synchronous: bool = True,
    **options: Any,
) -> str:
    """Logs the tensors of a model, or a checkpoint, to a run, and returns its URI: see `save_state_dict`.

    It is no model: `load_state_dict` reads it, and no `load_model`. It can be registered, as a folder of files; see
    docs/models.md. `run_id` is its run. Default: the active run, which is started if there is none.

    If not `synchronous`, it returns when the file is written on this machine. A thread uploads it, and `modelry.flush`
    waits for it. Raises InvalidArgument for that with `run_id` or `client`.
    """
    from modelry._sdk.packaging import logged

    def save(folder: str) -> None:
        save_state_dict(state_dict, folder, serialization_format=serialization_format, **options)

    destination = logged.Destination(artifact_path=artifact_path, run_id=run_id, client=client)
    return logged.log_files(save, destination, names=_STATE_FILES.values(), synchronous=synchronous)


def load_state_dict(
    state_dict_uri: str | os.PathLike[str], *, client: Client | None = None, **options: Any
) -> dict[str, Any]:
    """Loads what `log_state_dict` logged, from `runs:/…` or a folder on this machine.

    The options are those of `torch.load`, or of `safetensors.torch.load_file`. What a GPU had is on the CPU where
    PyTorch sees no GPU, and always if it is of the format safetensors. Unless they say `weights_only=False`,
    nothing but tensors, numbers, texts and their collections is read, so no code of the author runs.

    Raises NotFound without the file, and FailedPrecondition for a pickle where the environment forbids them.
    """
    from modelry._sdk.packaging import forbidding, loading

    with tempfile.TemporaryDirectory(prefix="modelry-state-") as temporary:
        folder = Path(loading.local_path(state_dict_uri, temporary, client))
        if (file := folder / _STATE_FILES["safetensors"]).exists():
            tensors: dict[str, Any] = _safetensors().load_file(file, **options)
            return tensors
        if not (file := folder / _STATE_FILES["pickle"]).exists():
            raise NotFound(
                f"{str(state_dict_uri)!r} has no file {' or '.join(_STATE_FILES.values())}",
                reason="LOCAL_FILE_NOT_FOUND",
            )
        if forbidding.is_on():
            raise FailedPrecondition(
                f"{file.name} is a pickle, which {forbidding.SWITCH}=false forbids; log it with "
                "serialization_format='safetensors'",
                reason="MODEL_HAS_CODE",
            )
        import torch

        state: dict[str, Any] = torch.load(file, **{"weights_only": True, "map_location": devices.usable, **options})
        return state


def _tensors_alone(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    for name, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            raise _wrong(
                f"safetensors holds tensors alone, and {name!r} is of type {type(value).__name__}; "
                "log the state dict of the model by itself, or as serialization_format='pickle'"
            )
    return {name: value.contiguous() for name, value in state_dict.items()}


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            "the format safetensors needs a package that is not installed: pip install safetensors", name="safetensors"
        ) from missing
    return safetensors.torch


def _wrong(problem: str) -> InvalidArgument:
    return InvalidArgument(problem, reason="FIELD_INVALID", fields={"state_dict": problem})


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Has each `Trainer.fit` of PyTorch Lightning log itself: params, metrics, best checkpoint, model.

    Metrics of steps are logged every `log_every_n_step` steps (default: as the trainer does, its `log_every_n_steps`),
    those of epochs every `log_every_n_epoch` (1). `checkpoint` (True) uploads the best checkpoint of the trainer.
    A training loop of your own logs with `modelry.log_metric`.
    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.lightning_fits import LIGHTNING

    switch(LIGHTNING, options, disable=disable)
