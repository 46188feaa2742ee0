"""Freezing files for a version."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.artifacts.domain.paths import folder
from modelry_server.artifacts.entities import Owner
from modelry_server.artifacts.errors import ArtifactNotFound, OwnerNotFound, SnapshotExists, SnapshotNotFound
from modelry_server.kernel.ids import new_id
from tests.server.artifacts.conftest import Files

TREE = {"top.txt": b"1", "model/MLmodel": b"22", "model/data/a.bin": b"333", "model2/x": b"y"}


@pytest.fixture
def run(files: Files) -> Owner:
    owner = files.new_run()
    files.write(owner, TREE)
    return owner


def test_a_folder_becomes_the_root_of_a_version(files: Files, run: Owner) -> None:
    version = files.new_version()

    snapshot = files.freeze(version, run, "model")

    assert (snapshot.version_id, snapshot.source, snapshot.source_path) == (version.id, run, "model")
    assert (snapshot.file_count, snapshot.size_bytes, snapshot.create_time) == (2, 5, files.clock.now())
    assert files.read(version) == {"MLmodel": b"22", "data/a.bin": b"333"}
    assert files.list(version) == ["MLmodel", "data/"]
    assert files.artifacts.get(version, folder("data")).file_count == 1
    assert files.snapshots.get(version.id) == snapshot
    assert files.stored() == 4


def test_a_run_or_a_single_file_can_be_frozen(files: Files, run: Owner) -> None:
    whole, single = files.new_version(), files.new_version()

    files.freeze(whole, run)
    files.freeze(single, run, "model/data/a.bin")

    assert files.read(whole) == TREE
    assert files.read(single) == {"a.bin": b"333"}


def test_the_manifest_digest_is_that_of_its_sorted_lines(files: Files, run: Owner) -> None:
    snapshot = files.freeze(files.new_version(), run, "model")

    lines = [
        f"{hashlib.sha256(content).hexdigest()} {len(content)} {path}\n"
        for path, content in {"MLmodel": b"22", "data/a.bin": b"333"}.items()
    ]
    assert snapshot.manifest_sha256 == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def test_the_same_files_have_the_same_manifest_wherever_they_lay(files: Files, run: Owner) -> None:
    other = files.new_run()
    files.write(other, {"elsewhere/data/a.bin": b"333"})
    files.write(other, {"elsewhere/MLmodel": b"22"})

    one = files.freeze(files.new_version(), run, "model")
    two = files.freeze(files.new_version(), other, "elsewhere")
    three = files.freeze(files.new_version(), Owner.version(one.version_id))

    assert one.manifest_sha256 == two.manifest_sha256 == three.manifest_sha256


def test_a_version_stays_as_it_was_whatever_happens_to_the_run(files: Files, run: Owner) -> None:
    version = files.new_version()
    snapshot = files.freeze(version, run)

    files.write(run, {"top.txt": b"changed", "model/new": b"new"})
    files.delete(run, "model/data")

    assert files.read(version) == TREE
    assert files.freeze(version, run) == snapshot


def test_another_source_for_the_same_version_is_refused(files: Files, run: Owner) -> None:
    version = files.new_version()
    files.freeze(version, run, "model")

    with pytest.raises(SnapshotExists) as refused:
        files.freeze(version, run)

    assert refused.value.metadata["source_path"] == "model"
    assert files.list(version) == ["MLmodel", "data/"]


def test_nothing_to_freeze_is_not_found(files: Files, run: Owner) -> None:
    version = files.new_version()

    with pytest.raises(ArtifactNotFound):
        files.freeze(version, run, "none")
    with pytest.raises(ArtifactNotFound):
        files.freeze(version, files.new_run())
    with pytest.raises(OwnerNotFound):
        files.freeze(version, Owner.run(new_id()))
    with pytest.raises(OwnerNotFound):
        files.freeze(version, files.new_version())
    with pytest.raises(SnapshotNotFound):
        files.snapshots.get(version.id)
    with pytest.raises(OwnerNotFound):
        files.list(version)


def test_a_deleted_snapshot_is_gone_and_deleting_it_again_is_fine(files: Files, run: Owner) -> None:
    version = files.new_version()
    files.freeze(version, run)

    files.snapshots.delete(version.id)
    files.snapshots.delete(version.id)

    with pytest.raises(SnapshotNotFound):
        files.snapshots.get(version.id)
    with pytest.raises(OwnerNotFound):
        files.list(version)
    assert files.read(run) == TREE


def test_the_same_snapshot_asked_for_at_once_is_made_once(files: Files, run: Owner) -> None:
    version = files.new_version()
    together = threading.Barrier(6)

    def create(_: int) -> object:
        together.wait(10)
        return files.freeze(version, run)

    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(create, range(6)))

    assert len(made) == 1
    assert files.read(version) == TREE


def test_a_snapshot_taken_while_the_run_is_written_holds_one_state_of_it(files: Files) -> None:
    run = files.new_run()
    states = [{"a": b"%d" % n, "d/b": b"%d" % n} for n in range(20)]
    files.write(run, states[0])

    def write() -> None:
        for state in states[1:]:
            files.write(run, state)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write)
        versions = []
        while not writing.done():
            versions.append(files.new_version())
            files.freeze(versions[-1], run)
        writing.result()

    for version in versions:
        assert files.read(version) in states


def test_many_files_are_frozen_in_one_step(files: Files) -> None:
    run, version = files.new_run(), files.new_version()
    content = {f"d{n % 7}/f{n}": b"%d" % n for n in range(2500)}
    files.write(run, content)

    snapshot = files.freeze(version, run)

    assert snapshot.file_count == 2500
    assert files.read(version) == content
