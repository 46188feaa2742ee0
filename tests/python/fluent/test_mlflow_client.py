from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from modelry import Client, MlflowClient
from modelry._sdk.fluent.mlflow_client import ELSEWHERE
from modelry.errors import AliasNotFound, InvalidArgument, ModelNotFound, TagNotFound, VersionNotFound
from tests.parts.deployment import Deployment

PAGE = (Path(__file__).parents[3] / "docs" / "coming-from-mlflow.md").read_text()


@pytest.fixture
def mlflow_client(fluent: None) -> MlflowClient:
    return MlflowClient()


def test_a_model_is_described_tagged_found_renamed_and_deleted(mlflow_client: MlflowClient, unique: str) -> None:
    mlflow_client.create_registered_model(unique, {"team": "rides"}, "first")
    mlflow_client.set_registered_model_tag(unique, "stock", 3)
    mlflow_client.delete_registered_model_tag(unique, "team")
    mlflow_client.update_registered_model(unique, "second")
    mlflow_client.rename_registered_model(unique, f"{unique}-renamed")

    found = mlflow_client.search_registered_models(f"name = '{unique}-renamed'")
    assert [(model.description, model.tags) for model in found] == [("second", {"stock": "3"})]
    mlflow_client.delete_registered_model(f"{unique}-renamed")
    with pytest.raises(ModelNotFound):
        mlflow_client.get_registered_model(f"{unique}-renamed")


def test_a_version_is_described_tagged_promoted_copied_and_deleted(
    mlflow_client: MlflowClient, a_run: Callable[..., str], unique: str
) -> None:
    run_id = a_run()
    mlflow_client.create_registered_model(unique)
    first = mlflow_client.create_model_version(unique, f"runs:/{run_id}/model", run_id, {"by": "me"}, description="one")
    assert (first.version, first.tags, first.description) == (1, {"by": "me"}, "one")

    mlflow_client.transition_model_version_stage(unique, 1, "Staging")
    mlflow_client.set_model_version_tag(unique, 1, "validation_status", "approved")
    mlflow_client.set_model_version_tag(unique, key="checked", value="yes", stage="Staging")
    mlflow_client.delete_model_version_tag(unique, "1", "by")
    mlflow_client.update_model_version(unique, 1, "better")
    copy = mlflow_client.copy_model_version(f"models:/{unique}/1", f"{unique}-copy")

    read = mlflow_client.get_model_version(unique, "1")
    assert (read.tags, read.description) == ({"validation_status": "approved", "checked": "yes"}, "better")
    assert [version.version for version in mlflow_client.get_latest_versions(unique, ["Staging"])] == [1]
    assert (copy.name, copy.version, copy.manifest_sha256) == (f"{unique}-copy", 1, read.manifest_sha256)
    mlflow_client.delete_model_version(f"{unique}-copy", 1)
    with pytest.raises(VersionNotFound):
        mlflow_client.get_model_version(f"{unique}-copy", 1)
    with pytest.raises(TagNotFound):
        mlflow_client.delete_model_version_tag(unique, 1, "by")


def test_promotion_archives_the_versions_before(
    mlflow_client: MlflowClient, a_run: Callable[..., str], unique: str
) -> None:
    run_id = a_run()
    mlflow_client.create_registered_model(unique)
    for _ in range(2):
        mlflow_client.create_model_version(unique, f"runs:/{run_id}/model")
    mlflow_client.transition_model_version_stage(unique, 1, "Production")

    moved = mlflow_client.transition_model_version_stage(unique, 2, "Production", archive_existing_versions=True)

    assert moved.current_stage == "Production"
    assert mlflow_client.get_model_version(unique, 1).current_stage == "Archived"


def test_an_alias_is_set_read_and_deleted(mlflow_client: MlflowClient, a_run: Callable[..., str], unique: str) -> None:
    mlflow_client.create_registered_model(unique)
    mlflow_client.create_model_version(unique, f"runs:/{a_run()}/model")

    mlflow_client.set_registered_model_alias(unique, "champion", 1)

    assert mlflow_client.get_model_version_by_alias(unique, "champion").version == 1
    mlflow_client.delete_registered_model_alias(unique, "champion")
    with pytest.raises(AliasNotFound):
        mlflow_client.get_model_version_by_alias(unique, "champion")


def test_a_tag_needs_a_version_or_a_stage(mlflow_client: MlflowClient) -> None:
    for version, stage in ((None, None), (1, "Staging")):
        with pytest.raises(InvalidArgument, match="either version or stage"):
            mlflow_client.set_model_version_tag("bikes", version, "key", "value", stage)


def test_it_goes_to_the_registry_that_is_named(platform: Deployment) -> None:
    assert repr(MlflowClient("127.0.0.1:1", platform.address)) == (
        f"MlflowClient({platform.address!r}, workspace='default')"
    )
    assert "127.0.0.1:1" in repr(MlflowClient("127.0.0.1:1"))


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_a_method_that_is_elsewhere_says_what_to_call(name: str) -> None:
    call = ELSEWHERE[name]
    noun, _, method = call.partition(".")

    with pytest.raises(AttributeError, match=rf"'{name}'; call modelry.Client\(\).{call},"):
        getattr(MlflowClient("127.0.0.1:1"), name)
    assert callable(getattr(getattr(Client("127.0.0.1:1"), noun), method))
    assert re.search(rf"^\| `{name}` \| `client.{call}\b", PAGE, re.MULTILINE)


def test_a_method_that_is_nowhere_says_where_all_are_listed() -> None:
    with pytest.raises(AttributeError, match=r"'start_trace'; docs/coming-from-mlflow\.md"):
        MlflowClient("127.0.0.1:1").start_trace  # noqa: B018
