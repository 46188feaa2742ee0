"""Snapshots through the stubs, on the internal listener."""

from __future__ import annotations

import hashlib

import pytest

from modelry.internal.artifacts import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.artifacts.conftest import MODEL, Client, Owner, refused

TREE = {"top": b"1", "model/MLmodel": b"22", "model/data/a": b"333"}


@pytest.fixture
def run(client: Client) -> Owner:
    owner = client.new_run()
    client.write(owner, TREE)
    return owner


@pytest.fixture
def version() -> Owner:
    return Owner(version_id=new_id())


def test_a_folder_of_a_run_becomes_the_files_of_a_version(client: Client, run: Owner, version: Owner) -> None:
    snapshot = client.freeze(version.version_id, run, "model")

    lines = [
        f"{hashlib.sha256(content).hexdigest()} {len(content)} {path}\n"
        for path, content in {"MLmodel": b"22", "data/a": b"333"}.items()
    ]
    assert snapshot.manifest_sha256 == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    assert (snapshot.version_id, snapshot.workspace, snapshot.model_id) == (version.version_id, "default", MODEL)
    assert (snapshot.source_owner, snapshot.source_path) == (run, "model")
    assert (snapshot.file_count, snapshot.size_bytes) == (2, 5)
    assert client.read(version) == {"MLmodel": b"22", "data/a": b"333"}
    assert client.snapshots.GetSnapshot(api.GetSnapshotRequest(version_id=version.version_id)).snapshot == snapshot


def test_asking_again_answers_with_what_was_made(client: Client, run: Owner, version: Owner) -> None:
    snapshot = client.freeze(version.version_id, run)
    client.write(run, {"top": b"changed"})
    client.delete(run, "model")

    assert client.freeze(version.version_id, run) == snapshot
    assert client.read(version) == TREE
    answer = refused(lambda: client.freeze(version.version_id, run, "top"))
    assert (answer.code, answer.reason) == ("ALREADY_EXISTS", "SNAPSHOT_EXISTS")


def test_the_files_of_a_version_never_change(client: Client, run: Owner, version: Owner) -> None:
    client.freeze(version.version_id, run)

    for call in (lambda: client.write(version, {"x": b"y"}), lambda: client.delete(version, "top")):
        answer = refused(call)
        assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", "OWNER_FROZEN")
    assert client.read(version) == TREE


def test_what_does_not_exist_can_not_be_frozen(client: Client, run: Owner) -> None:
    version_id = new_id()

    assert refused(lambda: client.freeze(version_id, run, "none")).reason == "ARTIFACT_NOT_FOUND"
    assert refused(lambda: client.freeze(version_id, client.new_run())).reason == "ARTIFACT_NOT_FOUND"
    assert refused(lambda: client.freeze(version_id, Owner(run_id=new_id()))).reason == "OWNER_NOT_FOUND"
    answer = refused(lambda: client.snapshots.GetSnapshot(api.GetSnapshotRequest(version_id=version_id)))
    assert (answer.code, answer.reason, answer.resource) == ("NOT_FOUND", "SNAPSHOT_NOT_FOUND", "snapshot")


def test_files_of_another_workspace_can_not_be_frozen(client: Client, run: Owner) -> None:
    elsewhere = client.new_workspace()
    foreign = client.new_run(elsewhere)
    client.write(foreign, TREE)

    assert refused(lambda: client.freeze(new_id(), foreign)).reason == "OWNER_NOT_FOUND"
    assert refused(lambda: client.freeze(new_id(), run, workspace=elsewhere)).reason == "OWNER_NOT_FOUND"
    assert client.freeze(new_id(), foreign, workspace=elsewhere).workspace == elsewhere


def test_a_bad_request_is_refused_by_its_fields(client: Client, run: Owner) -> None:
    def fields(**given: object) -> list[str]:
        good = {"version_id": new_id(), "workspace": "default", "model_id": MODEL, "source_owner": run}
        request = api.CreateSnapshotRequest(**(good | given))  # type: ignore[arg-type]
        return refused(lambda: client.snapshots.CreateSnapshot(request)).fields

    assert fields(version_id="", workspace="", model_id="x") == ["version_id", "workspace", "model_id"]
    assert fields(source_owner=Owner()) == ["source_owner"]
    assert fields(source_owner=Owner(version_id="x")) == ["source_owner.version_id"]
    assert refused(lambda: client.snapshots.GetSnapshot(api.GetSnapshotRequest())).fields == ["version_id"]
    assert refused(lambda: client.snapshots.DeleteSnapshot(api.DeleteSnapshotRequest())).fields == ["version_id"]


def test_a_deleted_snapshot_is_gone_and_can_be_deleted_again(client: Client, run: Owner, version: Owner) -> None:
    client.freeze(version.version_id, run)

    for _ in range(2):
        client.snapshots.DeleteSnapshot(api.DeleteSnapshotRequest(version_id=version.version_id))

    assert refused(lambda: client.list(version)).reason == "OWNER_NOT_FOUND"
    assert client.read(run) == TREE
