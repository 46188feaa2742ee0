"""Credentials in URLs are not recorded."""

from __future__ import annotations

import pytest

import modelry
from modelry._sdk.datasets.sources import without_credentials

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (f"https://user:{SECRET}@host/a.csv", "https://host/a.csv"),
        (f"https://{SECRET}@github.com/org/repository", "https://github.com/org/repository"),
        (f"postgresql+psycopg://u:{SECRET}@db:5432/prices", "postgresql+psycopg://db:5432/prices"),
        (f"postgresql://u:{SECRET}/#?x@db/prices", "postgresql://db/prices"),
        (f"postgresql://u:{SECRET}@more@db/prices", "postgresql://db/prices"),
        (f"https://h/a?id=5&X-Amz-Signature={SECRET}&token={SECRET}", "https://h/a?id=5&X-Amz-Signature=&token="),
        (f"mssql:///?odbc_connect=PWD%3D{SECRET}", "mssql:///?odbc_connect="),
        ("s3://bucket/a@b.csv", "s3://bucket/a@b.csv"),
        ("http://host:80/a@b.csv", "http://host:80/a@b.csv"),
        ("git@github.com:org/repository", "git@github.com:org/repository"),
        ("data/a.csv", "data/a.csv"),
        ("", ""),
    ],
)
def test_an_url_loses_its_credentials_and_nothing_else(given: str, kept: str) -> None:
    assert without_credentials(given) == kept


def test_the_source_of_a_dataset_has_no_credentials() -> None:
    dataset = modelry.data.from_pandas({"a": [1]}, source=f"https://user:{SECRET}@host/a.csv")

    assert dataset.to_dict()["source"] == "https://host/a.csv"
