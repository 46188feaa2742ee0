"""MLflow's client of the model registry, for code that has been written for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from modelry._sdk.client import Client
from modelry._sdk.fluent import session
from modelry._sdk.nouns.models import Model
from modelry._sdk.nouns.versions import Version
from modelry.errors import InvalidArgument

ELSEWHERE = {
    "create_experiment": "experiments.create",
    "get_experiment": "experiments.get",
    "get_experiment_by_name": "experiments.get_by_name",
    "search_experiments": "experiments.search",
    "rename_experiment": "experiments.update",
    "delete_experiment": "experiments.delete",
    "restore_experiment": "experiments.restore",
    "set_experiment_tag": "experiments.set_tags",
    "create_run": "runs.create",
    "get_run": "runs.get",
    "search_runs": "runs.search",
    "update_run": "runs.update",
    "set_terminated": "runs.finish",
    "delete_run": "runs.delete",
    "restore_run": "runs.restore",
    "log_batch": "runs.log_batch",
    "log_param": "runs.log_params",
    "log_metric": "runs.log_metrics",
    "set_tag": "runs.set_tags",
    "delete_tag": "runs.delete_tags",
    "get_metric_history": "metrics.read",
    "log_inputs": "datasets.log",
    "log_artifact": "artifacts.upload",
    "log_artifacts": "artifacts.upload",
    "list_artifacts": "artifacts.list",
    "download_artifacts": "artifacts.download",
}
"""Methods of MLflow's that MlflowClient does not have, and the method of `modelry.Client` that does the same."""


class MlflowClient:
    """Registered models, versions, stages and aliases, by the names and arguments that they have in MLflow.

    New code uses `modelry.Client`, which can do more: `client.models.create` is `create_registered_model`. MlflowClient
    has what concerns the model registry. For runs, experiments and files use the functions of `modelry`, or
    `modelry.Client`: a method of MLflow that is not here raises AttributeError.

    `tracking_uri` and `registry_uri` are addresses such as `grpc://host:5100`. Default: those of `set_tracking_uri` and
    `set_registry_uri`, else those of the environment. Results are those of `modelry.Client`, with MLflow's names as
    views. Lists fetch their pages while they are read, so there is no `page_token`. Every method raises ModelryError if
    the server refuses.
    """

    def __init__(self, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        uri = registry_uri or tracking_uri
        self._client = Client(uri) if uri else session.current().registry_client()

    def __getattr__(self, name: str) -> NoReturn:
        """Says what to call for what is not here."""
        told = "docs/coming-from-mlflow.md says what each method of MLflow's client is here"
        if call := ELSEWHERE.get(name):
            told = f"call modelry.Client().{call}, whose arguments differ; {told}"
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}; {told}")

    # Registered models

    def create_registered_model(
        self, name: str, tags: Mapping[str, object] | None = None, description: str | None = None
    ) -> Model:
        """Creates a registered model. Raises ModelExists."""
        return self._client.models.create(name, tags=tags, description=description or "")

    def get_registered_model(self, name: str) -> Model:
        """Reads a registered model. Raises ModelNotFound."""
        return self._client.models.get(name)

    def search_registered_models(
        self, filter_string: str | None = None, max_results: int = 100, order_by: Iterable[str] | None = None
    ) -> Sequence[Model]:
        """Finds registered models. Raises FilterSyntax when the list is read."""
        return self._client.models.search(filter_string or "", max_results=max_results, order_by=order_by or ())

    def rename_registered_model(self, name: str, new_name: str) -> Model:
        """Renames a registered model. Raises ModelNotFound or ModelExists."""
        return self._client.models.rename(name, new_name)

    def update_registered_model(self, name: str, description: str | None = None) -> Model:
        """Changes the description. None makes it empty. Raises ModelNotFound."""
        return self._client.models.update(name, description=description or "")

    def delete_registered_model(self, name: str) -> None:
        """Deletes a model with its versions. Raises ModelNotFound, or ModelInUse while a version serves."""
        self._client.models.delete(name)

    def set_registered_model_tag(self, name: str, key: str, value: object) -> None:
        """Sets a tag of a registered model. Raises ModelNotFound."""
        self._client.models.set_tags(name, {key: value})

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Removes a tag of a registered model. Raises ModelNotFound or TagNotFound."""
        self._client.models.delete_tags(name, key)

    # Versions

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Mapping[str, object] | None = None,
        *,
        description: str | None = None,
    ) -> Version:
        """Creates the next version of a model from `runs:/<run_id>/<path>` or `models:/<name>/<number>`.

        It is ready when the call returns. Raises what `client.versions.create` raises.
        """
        return self._client.versions.create(name, source, run_id=run_id or "", tags=tags, description=description or "")

    def copy_model_version(self, src_model_uri: str, dst_name: str) -> Version:
        """Creates a version of the model `dst_name` from another one, and the model too if there is none."""
        source = self._client.versions.resolve(src_model_uri)
        self._client.models.create(dst_name, allow_existing=True)
        return self._client.versions.create(dst_name, f"models:/{source.model_name}/{source.version_number}")

    def get_model_version(self, name: str, version: int | str) -> Version:
        """Reads a version. Raises ModelNotFound or VersionNotFound."""
        return self._client.versions.get(name, version)

    def get_model_version_by_alias(self, name: str, alias: str) -> Version:
        """Reads the version that an alias points at. Raises ModelNotFound or AliasNotFound."""
        return self._client.aliases.get(name, alias)

    def get_latest_versions(self, name: str, stages: Iterable[str] | None = None) -> list[Version]:
        """Lists the newest version in each stage, or in the given stages. Raises ModelNotFound or FieldInvalid."""
        return self._client.versions.latest(name, stages or ())

    def search_model_versions(
        self, filter_string: str | None = None, max_results: int = 10000, order_by: Iterable[str] | None = None
    ) -> Sequence[Version]:
        """Finds versions. Default order: the newest first. Raises FilterSyntax when the list is read."""
        return self._client.versions.search(filter_string or "", max_results=max_results, order_by=order_by or ())

    def update_model_version(self, name: str, version: int | str, description: str | None = None) -> Version:
        """Changes the description. None makes it empty. Raises ModelNotFound or VersionNotFound."""
        return self._client.versions.update(name, version, description=description or "")

    def delete_model_version(self, name: str, version: int | str) -> None:
        """Deletes a version. Raises VersionNotFound, or VersionInUse while it serves or has an alias."""
        self._client.versions.delete(name, version)

    def set_model_version_tag(
        self,
        name: str,
        version: int | str | None = None,
        key: str = "",
        value: object = None,
        stage: str | None = None,
    ) -> None:
        """Sets a tag of a version, or of the newest one in a stage. Raises ModelNotFound or VersionNotFound."""
        self._client.versions.set_tags(name, self._number(name, version, stage), {key: value})

    def delete_model_version_tag(
        self, name: str, version: int | str | None = None, key: str = "", stage: str | None = None
    ) -> None:
        """Removes a tag of a version, or of the newest one in a stage. Raises TagNotFound and what set raises."""
        self._client.versions.delete_tags(name, self._number(name, version, stage), key)

    # Stages and aliases

    def transition_model_version_stage(
        self, name: str, version: int | str, stage: str, archive_existing_versions: bool = False
    ) -> Version:
        """Moves a version to a stage. Raises ModelNotFound, VersionNotFound, or FieldInvalid for an unknown stage."""
        moved = self._client.promotions.promote(name, version, stage, archive_existing=archive_existing_versions)
        return moved.version

    def set_registered_model_alias(self, name: str, alias: str, version: int | str) -> None:
        """Points an alias at a version. Raises ModelNotFound, VersionNotFound, or FieldInvalid for a bad alias."""
        self._client.aliases.set(name, alias, version)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Removes an alias. Raises ModelNotFound or AliasNotFound."""
        self._client.aliases.delete(name, alias)

    def __repr__(self) -> str:
        """Names the address and the workspace."""
        return repr(self._client).replace("Client(", "MlflowClient(", 1)

    def _number(self, name: str, version: int | str | None, stage: str | None) -> int | str:
        if (version is None) == (stage is None):
            raise InvalidArgument("give either version or stage, to say which version is meant")
        if version is not None:
            return version
        return self._client.versions.resolve(f"models:/{name}/{stage}").version_number
