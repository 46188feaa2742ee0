from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelry import Client
from modelry._sdk.nouns.artifacts import Artifacts
from modelry._sdk.nouns.versions import Version
from modelry.errors import (
    ArtifactKindConflict,
    ArtifactNotFound,
    DataLoss,
    InvalidArgument,
    OwnerFrozen,
    OwnerNotFound,
    PathInvalid,
)


@pytest.fixture
def owner(client: Client) -> str:
    """A run without files."""
    return f"runs/{client.runs.create('0').run_id}"


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, bytes]:
    """Files of all kinds, in a folder `up`."""
    files = {
        "empty": b"",
        "a/b/deep.txt": b"deep",
        "large.bin": os.urandom(3 * 2**20 + 17),
        "ä ö.json": b"{}",
        **{f"many/{number:03}": str(number).encode() for number in range(300)},
    }
    for path, content in files.items():
        (tmp_path / "up" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / path).write_bytes(content)
    return files


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_as_it_went(client: Client, owner: str, tmp_path: Path, tree: dict[str, bytes]) -> None:
    told: list[tuple[int, int]] = []

    uploaded = client.artifacts.upload(owner, tmp_path / "up", "data")
    got = client.artifacts.download(owner, "data", tmp_path / "down", progress=lambda *state: told.append(state))

    assert uploaded.file_count == len(tree)
    assert got == tmp_path / "down"
    assert files_below(got) == tree
    assert told[-1] == (uploaded.size_bytes, uploaded.size_bytes)


def test_a_file_comes_back_as_it_went(client: Client, owner: str, tmp_path: Path, tree: dict[str, bytes]) -> None:
    client.artifacts.upload(owner, tmp_path / "up" / "large.bin", "weights")

    got = client.artifacts.download(owner, "weights/large.bin", tmp_path / "down")

    assert got == tmp_path / "down" / "large.bin"
    assert got.read_bytes() == tree["large.bin"]
    assert client.artifacts.read_bytes(owner, "weights/large.bin") == tree["large.bin"]


def test_all_files_of_an_owner_are_its_root(client: Client, owner: str, tmp_path: Path) -> None:
    client.artifacts.upload_bytes(owner, "a.txt", b"a")
    client.artifacts.upload_bytes(owner, "sub/b.txt", b"b")

    client.artifacts.download(owner, "", tmp_path)

    assert files_below(tmp_path) == {"a.txt": b"a", "sub/b.txt": b"b"}


def test_a_folder_is_listed_level_by_level_or_whole(client: Client, owner: str) -> None:
    for path, content in {"a.txt": b"a", "sub/b.json": b"bb", "sub/deep/c": b"ccc"}.items():
        client.artifacts.upload_bytes(owner, path, content)

    top = client.artifacts.list(owner)
    whole = client.artifacts.list(owner, recursive=True, page_size=1)

    assert [(artifact.path, artifact.kind, artifact.size_bytes) for artifact in top] == [
        ("a.txt", "file", 1),
        ("sub", "folder", 5),
    ]
    assert [artifact.path for artifact in whole] == ["a.txt", "sub/b.json", "sub/deep/c"]
    assert whole[0].sha256 == hashlib.sha256(b"a").hexdigest()
    assert client.artifacts.get(owner, "sub/b.json").content_type == "application/json"
    assert client.artifacts.get(owner, "sub").file_count == 2
    assert not client.artifacts.list(owner, "nothing")


def test_a_file_is_replaced_and_deleted(client: Client, owner: str) -> None:
    client.artifacts.upload_bytes(owner, "sub/a", b"one")
    client.artifacts.upload_bytes(owner, "sub/a", b"two", content_type="text/x-two")
    client.artifacts.upload_bytes(owner, "sub/b", b"three")

    assert client.artifacts.read_bytes(owner, "sub/a") == b"two"
    assert client.artifacts.get(owner, "sub/a").content_type == "text/x-two"
    assert client.artifacts.delete(owner, "sub") == 2
    with pytest.raises(ArtifactNotFound):
        client.artifacts.read_bytes(owner, "sub/a")


def test_what_can_not_be_is_refused_with_its_reason(
    client: Client, owner: str, tmp_path: Path, a_run: Callable[..., str]
) -> None:
    client.artifacts.upload_bytes(owner, "file", b"x")

    with pytest.raises(ArtifactKindConflict):
        client.artifacts.upload_bytes(owner, "file/below", b"x")
    with pytest.raises(ArtifactNotFound):
        client.artifacts.download(owner, "nothing", tmp_path)
    with pytest.raises(PathInvalid):
        client.artifacts.get(owner, "../file")
    with pytest.raises(OwnerNotFound):
        client.artifacts.upload_bytes("runs/" + "0" * 32, "file", b"x")
    client.artifacts.upload_bytes(owner, "folder/file", b"x")
    with pytest.raises(InvalidArgument, match="is a folder"):
        client.artifacts.read_bytes(owner, "folder")


def test_a_text_is_refused_where_bytes_are_wanted(client: Client, owner: str) -> None:
    with pytest.raises(InvalidArgument, match=r"data must be bytes, such as text.encode\(\)"):
        client.artifacts.upload_bytes(owner, "a.txt", "text")  # type: ignore[arg-type]


def test_the_files_of_a_version_never_change(client: Client, unique: str, a_run: Callable[..., str]) -> None:
    client.models.create(unique)
    version = client.versions.create(unique, f"runs:/{a_run()}/model")

    with pytest.raises(OwnerFrozen):
        client.artifacts.upload_bytes(version.owner, "model", b"other")
    with pytest.raises(OwnerFrozen):
        client.artifacts.delete(version.owner, "model")


NAMES = [
    "plain.txt",
    "a:b.txt",
    "c#1?.txt",
    "day=1%2F2",
    "tab\t",
    "line\nfeed",
    "a.",
    "a ",
    "CON",
    "A.",
    "\udcff",
    "x\\y",
]


def test_what_is_uploaded_is_what_comes_back(client: Client, owner: str, tmp_path: Path) -> None:
    up = tmp_path / "up"
    (up / "empty" / "folder").mkdir(parents=True)
    for name in NAMES:
        (up / name).write_text(ascii(name))

    client.artifacts.upload(owner, up, "f")
    client.artifacts.upload(owner, up)
    stored = [file.path.removeprefix("f/") for file in client.artifacts.list(owner, "f", recursive=True)]
    down = client.artifacts.download(owner, "f", tmp_path / "down")

    assert len(stored) == len(NAMES) + 1
    assert sorted(files_below(down)) == sorted(path for path in stored if not path.endswith(".modelry-folder"))
    assert sorted(files_below(down).values()) == sorted(ascii(name).encode() for name in NAMES)
    assert (down / "empty" / "folder").is_dir()


@pytest.fixture
def version(client: Client, owner: str) -> Version:
    """A version with two files, one of them in a folder."""
    client.artifacts.upload_bytes(owner, "model/MLmodel", b"flavors: {}")
    client.artifacts.upload_bytes(owner, "model/sub/weights", b"weights")
    name = f"m-{owner[5:]}"
    client.models.create(name)
    return client.versions.create(name, f"runs:/{owner[5:]}/model")


def test_the_files_of_a_version_are_those_of_its_manifest(client: Client, version: Version, tmp_path: Path) -> None:
    client.artifacts.download(version.owner, "", tmp_path / "all")
    client.artifacts.download(version.owner, "sub", tmp_path / "sub")
    one = client.artifacts.download(version.owner, "sub/weights", tmp_path / "one")

    assert files_below(tmp_path / "all") == {"MLmodel": b"flavors: {}", "sub/weights": b"weights"}
    assert files_below(tmp_path / "sub") == {"weights": b"weights"}
    assert one.read_bytes() == b"weights"
    assert client.artifacts.read_bytes(version.owner, "MLmodel") == b"flavors: {}"


def test_files_that_are_not_those_of_the_manifest_are_refused(client: Client, version: Version, tmp_path: Path) -> None:
    registered = dataclasses.replace(version, manifest_sha256="0" * 64)
    read = Artifacts(client._connection.of("artifacts"), client.workspace, lambda version_id: registered)

    for path in ("", "sub", "sub/weights"):
        with pytest.raises(DataLoss, match="not those that were registered") as refused:
            read.download(version.owner, path, tmp_path / "down")
        assert refused.value.reason == "MANIFEST_MISMATCH"
    with pytest.raises(DataLoss):
        read.read_bytes(version.owner, "sub/weights")

    assert not (tmp_path / "down").exists()
