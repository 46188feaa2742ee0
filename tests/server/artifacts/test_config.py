"""Settings that can't work together are all told at once, each with its key and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from modelry_server.artifacts.config import ArtifactsConfig
from modelry_server.kernel.config import Secret

MINIO = {
    "store": "minio",
    "s3_endpoint": "minio.example:9000",
    "s3_bucket": "modelry",
    "s3_access_key": "me",
    "s3_secret_key": Secret("sesame-open"),
}


KEY = {"s3_access_key": "me", "s3_secret_key": Secret("sesame-open")}


@pytest.mark.parametrize(
    "given", [{}, {"local_folder": "/srv/blobs"}, KEY, MINIO, MINIO | {"s3_endpoint": "[::1]:9000"}]
)
def test_settings_that_fit_together_are_taken(given: dict[str, Any]) -> None:
    assert ArtifactsConfig(**given).mistakes() == []


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ({"store": "minio"}, ["s3_endpoint", "s3_bucket", "s3_access_key", "s3_secret_key"]),
        (MINIO | {"s3_secret_key": Secret("")}, ["s3_secret_key"]),
        (MINIO | {"s3_endpoint": "https://minio.example:9000"}, ["s3_endpoint"]),
        (MINIO | {"s3_endpoint": "minio.example:9000/x", "s3_bucket": "My_Bucket"}, ["s3_endpoint", "s3_bucket"]),
        (MINIO | {"s3_bucket": "ab"}, ["s3_bucket"]),
        (MINIO | {"local_folder": "/srv/blobs"}, ["local_folder"]),
        ({"s3_bucket": "modelry", "s3_secret_key": Secret("sesame-open")}, ["s3_bucket"]),
        ({"upload_limit": 100.0, "garbage_grace": 100.0}, ["garbage_grace"]),
        ({"s3_bucket": "modelry", "garbage_grace": 5.0}, ["s3_bucket", "garbage_grace"]),
    ],
)
def test_each_mistake_is_told_by_its_key(given: dict[str, Any], keys: list[str]) -> None:
    mistakes = ArtifactsConfig(**given).mistakes()

    assert [mistake.split(" ")[0] for mistake in mistakes] == [f"artifacts.{key}" for key in keys]
    assert "sesame-open" not in str(mistakes)
