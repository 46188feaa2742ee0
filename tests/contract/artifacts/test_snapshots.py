"""Snapshots through the stubs."""

from __future__ import annotations

import hashlib

import pytest

from modelry.api.artifacts import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.artifacts.conftest import Client, refused

TREE = {"top": b"1", "model/MLmodel": b"22", "model/data/a": b"333"}


@pytest.fixture
def run(client: Client) -> str:
    owner = client.new_run()
    client.write(owner, TREE)
    return owner


@pytest.fixture
def version() -> str:
    return f"versions/{new_id()}"


def test_a_folder_of_a_run_becomes_the_files_of_a_version(client: Client, run: str, version: str) -> None:
    snapshot = client.freeze(version, run, "model")

    lines = [
        f"{hashlib.sha256(content).hexdigest()} {len(content)} {path}\n"
        for path, content in {"MLmodel": b"22", "data/a": b"333"}.items()
    ]
    assert snapshot.manifest_sha256 == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    assert (snapshot.owner, snapshot.source_owner, snapshot.source_path) == (version, run, "model")
    assert (snapshot.file_count, snapshot.size_bytes) == (2, 5)
    assert client.read(version) == {"MLmodel": b"22", "data/a": b"333"}
    assert client.snapshots.GetSnapshot(api.GetSnapshotRequest(owner=version)).snapshot == snapshot


def test_asking_again_answers_with_what_was_made(client: Client, run: str, version: str) -> None:
    snapshot = client.freeze(version, run)
    client.write(run, {"top": b"changed"})
    client.delete(run, "model")

    assert client.freeze(version, run) == snapshot
    assert client.read(version) == TREE
    answer = refused(lambda: client.freeze(version, run, "top"))
    assert (answer.code, answer.reason) == ("ALREADY_EXISTS", "SNAPSHOT_EXISTS")


def test_the_files_of_a_version_never_change(client: Client, run: str, version: str) -> None:
    client.freeze(version, run)

    for call in (lambda: client.write(version, {"x": b"y"}), lambda: client.delete(version, "top")):
        answer = refused(call)
        assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", "OWNER_FROZEN")
    assert client.read(version) == TREE


def test_what_is_not_there_can_not_be_frozen(client: Client, run: str, version: str) -> None:
    assert refused(lambda: client.freeze(version, run, "none")).reason == "ARTIFACT_NOT_FOUND"
    assert refused(lambda: client.freeze(version, client.new_run())).reason == "ARTIFACT_NOT_FOUND"
    assert refused(lambda: client.freeze(version, f"runs/{new_id()}")).reason == "OWNER_NOT_FOUND"
    assert refused(lambda: client.freeze(run, run)).fields == ["owner"]
    assert refused(lambda: client.freeze(version, "models/x")).fields == ["source_owner"]
    answer = refused(lambda: client.snapshots.GetSnapshot(api.GetSnapshotRequest(owner=version)))
    assert (answer.code, answer.reason, answer.resource) == ("NOT_FOUND", "SNAPSHOT_NOT_FOUND", "snapshot")


def test_a_deleted_snapshot_is_gone_and_can_be_deleted_again(client: Client, run: str, version: str) -> None:
    client.freeze(version, run)

    for _ in range(2):
        client.snapshots.DeleteSnapshot(api.DeleteSnapshotRequest(owner=version))

    assert refused(lambda: client.list(version)).reason == "OWNER_NOT_FOUND"
    assert client.read(run) == TREE
    assert refused(lambda: client.snapshots.DeleteSnapshot(api.DeleteSnapshotRequest(owner=run))).fields == ["owner"]
