"""Logging a model: saved to a temporary folder, uploaded to a run, and registered if asked for."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelry._sdk.files import paths
from modelry._sdk.nouns import arguments
from modelry._sdk.schemas.borrowed import mlflow_module
from modelry.errors import InvalidArgument, ModelryError

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.fluent.active_run import ActiveRun

DEFAULT_PATH = "model"
MODEL_FILE = "MLmodel"


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that was logged.

    `model_uri` is `runs:/<run_id>/<path>`, which every `load_model` takes. `registered_model_version` is the number of
    the version that was created from it, None without `registered_model_name`. `flavors` has the options of each
    flavor by its name.
    """

    model_uri: str
    run_id: str
    artifact_path: str
    signature: Any
    flavors: dict[str, dict[str, Any]]
    model_uuid: str
    utc_time_created: str
    registered_model_version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a model is logged to: the arguments that every `log_model` has."""

    artifact_path: str | None = None
    name: str | None = None
    run_id: str | None = None
    registered_model_name: str | None = None
    client: Client | None = None
    run: ActiveRun | None = None
    """A run of this process, in place of the active one."""
    on_unregistered: Callable[[ModelryError], object] | None = None
    """Is told why the model was logged, but not registered. Without it that is raised."""

    def path(self) -> str:
        """The artifact path: MLflow 3 calls it `name`, MLflow 2 `artifact_path`.

        Raises InvalidArgument if they differ, and PathInvalid; and FieldInvalid for a name that no registered model
        can have.
        """
        if self.registered_model_name is not None:
            arguments.model_name("registered_model_name", self.registered_model_name)
        if self.name is not None and self.artifact_path is not None and self.name != self.artifact_path:
            raise InvalidArgument(
                f"name {self.name!r} and artifact_path {self.artifact_path!r} mean the same but differ; give one",
                reason="FIELD_INVALID",
                fields={"name": "differs from artifact_path"},
            )
        given = self.name if self.name is not None else self.artifact_path
        return paths.checked(DEFAULT_PATH if given is None else given)


def log(save: Callable[[str, Any], None], destination: Destination) -> LoggedModel:
    """Logs what `save(folder, metadata)` writes.

    With `registered_model_name` a version is created from it, and the registered model if there is none. If that fails,
    the model stays logged. The model replaces all that was at its path of the run.
    """
    return saved(save, destination)()


def saved(save: Callable[[str, Any], None], destination: Destination) -> Callable[[], LoggedModel]:
    """Has `save(folder, metadata)` write a model to a temporary folder. What is returned logs it, once; see `log`.

    Where no run is active, one is started to log it, so that a model that can't be saved leaves none.
    """
    path = destination.path()
    target = _target(destination) if _has_run(destination) else None
    metadata = mlflow_module("mlflow.models").Model(artifact_path=path, run_id=target and target[0])
    temporary = tempfile.TemporaryDirectory(prefix="modelry-model-")
    folder = os.path.join(temporary.name, "model")
    try:
        save(folder, metadata)
    except BaseException:
        temporary.cleanup()
        raise

    def log_it() -> LoggedModel:
        with temporary:
            run_id, upload = target or _target(destination)
            if target is None:
                metadata.run_id = run_id
                metadata.save(os.path.join(folder, MODEL_FILE))
            with _ended_if_it_fails(is_own=target is None):
                upload(folder, path)
        model_uri = f"runs:/{run_id}/{path}"
        return LoggedModel(
            model_uri=model_uri,
            run_id=run_id,
            artifact_path=path,
            signature=metadata.signature,
            flavors=metadata.flavors,
            model_uuid=metadata.model_uuid,
            utc_time_created=str(metadata.utc_time_created),
            registered_model_version=_registered(destination, model_uri, metadata),
        )

    return log_it


def log_files(
    save: Callable[[str], None], destination: Destination, *, names: Collection[str], synchronous: bool = True
) -> str:
    """Logs what `save(folder)` writes, which is no model, and returns its URI.

    It replaces what was written together with a file of one of the `names`.
    If not `synchronous`, it is uploaded in the background, which only a run of this process can do.
    """
    arguments.flag("synchronous", synchronous)
    if not synchronous and (destination.run_id or destination.client):
        raise InvalidArgument(
            "synchronous=False needs a run of this process to upload in the background; leave run_id and client out",
            reason="FIELD_INVALID",
            fields={"synchronous": "given with run_id or client"},
        )
    path = destination.path()
    with tempfile.TemporaryDirectory(prefix="modelry-files-") as temporary:
        save(temporary)
        run_id, upload = _target(destination, names, synchronous=synchronous)
        upload(temporary, path)
    return f"runs:/{run_id}/{path}"


def _has_run(destination: Destination) -> bool:
    """Whether there is a run that gets the model, or a client without one, which is refused."""
    from modelry._sdk.fluent import functions

    return bool(destination.run_id or destination.client or destination.run or functions.active_run())


@contextlib.contextmanager
def _ended_if_it_fails(*, is_own: bool) -> Iterator[None]:
    """Ends the active run as failed if the block fails, if it was started for it."""
    from modelry._sdk.fluent import functions

    try:
        yield
    except BaseException:
        if is_own:
            functions.end_run("FAILED")
        raise


def _target(
    destination: Destination, replace: Collection[str] = ("MLmodel",), *, synchronous: bool = True
) -> tuple[str, Callable[[str, str], object]]:
    """The run that gets the model, and a function that uploads a folder to a path of it.

    There it replaces the model before: what was written together with its MLmodel. Other files and models stay.
    """
    from modelry._sdk.fluent import functions, session

    if destination.run_id or destination.client:
        if not destination.run_id:
            raise InvalidArgument("a client is given without a run; give run_id too", reason="FIELD_INVALID")
        client = destination.client or session.current().client()
        owner = f"runs/{destination.run_id}"
        return destination.run_id, lambda folder, path: client.artifacts.upload(owner, folder, path, replace=replace)
    run = destination.run or functions.active_run() or functions.start_run()
    return run.run_id, lambda folder, path: run.files.upload_together(
        Path(folder), path, synchronous=synchronous, replace=replace
    )


def _registered(destination: Destination, model_uri: str, metadata: Any) -> int | None:
    from modelry._sdk.fluent import session
    from modelry._sdk.packaging import registering

    name = destination.registered_model_name
    if name is None:
        return None
    described = {"flavors": metadata.flavors, "signature": metadata.signature and metadata.signature.to_dict()}
    signature, flavors = registering.described_by(described)
    client = destination.client or session.current().registry_client()
    try:
        client.models.create(name, allow_existing=True)
        return client.versions.create(name, model_uri, signature=signature, flavors=flavors).version_number
    except ModelryError as problem:
        if destination.on_unregistered is None:
            raise
        destination.on_unregistered(problem)
        return None
