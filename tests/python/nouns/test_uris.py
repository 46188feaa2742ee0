from __future__ import annotations

from pathlib import Path

import pytest

from modelry._sdk.nouns import uris
from modelry._sdk.nouns.uris import RunUri, VersionUri
from modelry.api.registry import v1 as registry
from modelry.errors import InvalidArgument

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (f"runs:/{RUN}/model", RunUri(RUN, "model")),
        (f"runs:/{RUN}/a/b%20c", RunUri(RUN, "a/b%20c")),
        (f"runs:/{RUN}/model/", RunUri(RUN, "model")),
        ("models:/bikes/1", VersionUri("bikes", version_number=1)),
        ("models:/bikes/0042", VersionUri("bikes", version_number=42)),
        ("models:/bikes/Production", VersionUri("bikes", stage="Production")),
        ("models:/bikes/staging", VersionUri("bikes", stage="Staging")),
        ("models:/bikes/None", VersionUri("bikes", stage="None")),
        ("models:/bikes/Shadow", VersionUri("bikes", stage="Shadow")),
        ("models:/bikes/pre prod", VersionUri("bikes", stage="pre prod")),
        ("models:/bikes/latest", VersionUri("bikes")),
        ("models:/bikes/Latest", VersionUri("bikes")),
        ("models:/bikes@Champion", VersionUri("bikes", alias="Champion")),
        ("models:/a model, v2.1/3", VersionUri("a model, v2.1", version_number=3)),
        ("/tmp/model", Path("/tmp/model")),
        ("relative/model", Path("relative/model")),
        ("a:b", Path("a:b")),
        ("C:\\models", Path("C:\\models")),
        ("file:///tmp/a%20model", Path("/tmp/a model")),
        ("file:relative", Path("relative")),
        (Path("x:/y"), Path("x:/y")),
    ],
)
def test_a_uri_means_what_it_says(text: str, meant: object) -> None:
    assert uris.parse(text) == meant


@pytest.mark.parametrize("text", [f"runs:/{RUN}/model", "models:/bikes/1", "models:/bikes/latest", "models:/bikes@a"])
def test_a_uri_is_written_as_it_is_read(text: str) -> None:
    assert str(uris.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a URI"),
        ("a\0b", "is not a URI"),
        (f"runs:/{RUN}", "lacks a path"),
        (f"runs:/{RUN}/", "lacks a path"),
        ("runs:/abc/model", "32 lower-case"),
        (f"runs:/{RUN.upper()}/model", "32 lower-case"),
        (f"runs://{RUN}/model", "one slash"),
        (f"runs:{RUN}/model", "one slash"),
        (f"runs:/{RUN}/../x", "part '..'"),
        (f"runs:/{RUN}//x", "must be relative"),
        ("models:/bikes", "does not name"),
        ("models:/bikes/", "does not name"),
        ("models:/bikes/1/model", "does not name"),
        ("models:/bikes/0", "version number"),
        ("models:/bikes/-1", "version number"),
        ("models:/bikes/v1", "version number"),
        ("models:/bikes/1.0", "version number"),
        ("models:/bikes/ Live", "does not name"),
        ("models:/bikes/99999999999999999999", "version number"),
        ("models:/@champion", "<name>@<alias>"),
        ("models:/bikes@", "<name>@<alias>"),
        ("models:/a@b@c", "<name>@<alias>"),
        ("models:/ bikes/1", "does not name"),
        ("models:/a:b/1", "does not name"),
        ("s3://bucket/model", "'s3'"),
        ("https://host/model", "'https'"),
        ("mlflow-artifacts:/x", "'mlflow-artifacts'"),
        ("file://host/model", "file:///<path>"),
        ("file:///model?x=1", "file:///<path>"),
    ],
)
def test_what_is_no_uri_is_refused_and_says_what_would_be_right(text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match="runs:/<run_id>/<path>") as refused:
        uris.parse(text)

    assert problem in refused.value.message
    assert refused.value.metadata["uri"] == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"runs:/{RUN}/a/b", registry.VersionSource(run=registry.RunFiles(run_id=RUN, path="a/b"))),
        (
            "models:/bikes/3",
            registry.VersionSource(version=registry.VersionCopy(model_name="bikes", version_number=3)),
        ),
    ],
)
def test_a_source_of_a_version_is_a_uri_in_the_sdk_and_a_message_on_the_wire(
    text: str, message: registry.VersionSource
) -> None:
    assert uris.source_message(text) == message
    assert uris.source_text(message) == text


def test_a_source_of_the_future_is_empty() -> None:
    assert uris.source_text(registry.VersionSource()) == ""


@pytest.mark.parametrize("text", ["models:/bikes/latest", "models:/bikes/Production", "models:/bikes@a", "/tmp/model"])
def test_what_is_not_fixed_is_no_source_of_a_version(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"can't be the source of a version\. Use runs:/"):
        uris.source_message(text)
