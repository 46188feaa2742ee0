"""Where files lie, and who may know of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from modelry_server.artifacts.domain.paths import ArtifactPath
from modelry_server.artifacts.entities import Owner
from modelry_server.artifacts.errors import (
    ArtifactNotFound,
    OwnerFrozen,
    OwnerNotFound,
    SnapshotExists,
    SnapshotNotFound,
)
from modelry_server.artifacts.store import owners
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Kind, Place
from modelry_server.kernel.errors import PermissionMissing
from modelry_server.kernel.ids import new_id
from tests.parts.judge import calling
from tests.server.artifacts.conftest import MODEL, WORKSPACE, Files

TREE = {"a": b"1", "d/b": b"22"}
RPCS = {"get": "GetArtifact", "list": "ListArtifacts", "read": "ReadArtifacts"}
RPCS |= {"write": "WriteArtifacts", "delete": "DeleteArtifact"}
READS: dict[str, Callable[[Files, Owner], Any]] = {
    "get": lambda files, owner: files.artifacts.get(owner, ArtifactPath("a")),
    "get the root": lambda files, owner: files.artifacts.get(owner, None),
    "get nothing": lambda files, owner: files.artifacts.get(owner, ArtifactPath("none")),
    "list": lambda files, owner: files.list(owner),
    "read": lambda files, owner: files.read(owner),
}
WRITES: dict[str, Callable[[Files, Owner], Any]] = {
    "write": lambda files, owner: files.write(owner, {"new": b"x"}),
    "delete": lambda files, owner: files.delete(owner, "a"),
    "delete nothing": lambda files, owner: files.delete(owner, "none"),
}
CALLS = READS | WRITES


@pytest.fixture(params=["run", "empty run", "version"])
def owner(request: pytest.FixtureRequest, files: Files) -> Owner:
    """An owner of each kind."""
    run = files.new_run()
    if request.param == "empty run":
        return run
    files.write(run, TREE)
    if request.param == "run":
        return run
    version = files.new_version()
    files.freeze(version, run)
    return version


def using(principal_id: str, name: str) -> caller.using:
    """Makes somebody the caller of the rpc behind one of the calls."""
    return caller.using(calling(principal_id, "artifacts", RPCS[name.split()[0]]))


def acting_for(principal_id: str) -> caller.using:
    """Makes the registry the caller, which acts for somebody."""
    who = calling(principal_id, "artifacts", "GetArtifact")
    return caller.using(replace(who, is_service=True, permission=Kind.SERVICE))


def stored_place(files: Files, owner: Owner) -> Place | None:
    with files.db.read() as tx:
        return owners.find(tx, owner)


def test_the_place_of_a_run_is_kept_when_it_is_written_to(files: Files) -> None:
    run = files.new_run("another")
    assert stored_place(files, run) is None

    files.write(run, TREE)

    assert stored_place(files, run) == Place("another", experiment_id="7")


def test_the_place_of_a_version_is_that_of_its_snapshot(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    version = files.new_version()

    snapshot = files.freeze(version, run)

    assert stored_place(files, version) == snapshot.place == Place(WORKSPACE, model_id=MODEL)
    assert files.snapshots.get(version.id).place == snapshot.place
    files.snapshots.delete(version.id)
    assert stored_place(files, version) is None


def test_an_owner_is_judged_by_its_place(files: Files, owner: Owner) -> None:
    place = Place(WORKSPACE, model_id=MODEL) if owner.is_version else Place(WORKSPACE, experiment_id="7")

    files.judge.give("bob", "writer", at=place)

    for name, call in CALLS.items():
        files.judge.asked.clear()
        with suppress(ArtifactNotFound, OwnerFrozen), using("bob", name):
            call(files, owner)
        needed = calling("bob", "artifacts", RPCS[name.split()[0]]).permission
        assert (name, set(files.judge.asked)) == (name, {("bob", needed, place)})


def test_for_a_stranger_an_owner_is_as_one_that_does_not_exist(files: Files, owner: Owner) -> None:
    unknown = Owner(owner.kind, new_id())

    for name, call in CALLS.items():
        with using("eve", name), pytest.raises(OwnerNotFound) as of_owner:
            call(files, owner)
        with using("eve", name), pytest.raises(OwnerNotFound) as of_unknown:
            call(files, unknown)
        assert of_owner.value.message == of_unknown.value.message.replace(unknown.id, owner.id)
        assert of_owner.value.metadata == {"owner": str(owner)}


def test_a_reader_may_read_and_not_write(files: Files, owner: Owner) -> None:
    before = files.read(owner)
    files.judge.give("bob", "reader", at=Place(WORKSPACE))

    for name, read in READS.items():
        with suppress(ArtifactNotFound), using("bob", name):
            read(files, owner)
    for name, write in WRITES.items():
        with pytest.raises(PermissionMissing), using("bob", name):
            write(files, owner)

    assert files.read(owner) == before


def test_a_source_in_another_workspace_is_not_found(files: Files, run: Owner) -> None:
    elsewhere, version = files.new_run("another"), files.new_version()
    empty = files.new_run("another")
    files.write(elsewhere, TREE)
    files.write(run, TREE)
    files.freeze(version, run)
    version_elsewhere = files.new_version()
    files.freeze(version_elsewhere, elsewhere, workspace="another")

    for source in (elsewhere, empty, version_elsewhere):
        with pytest.raises(OwnerNotFound) as refused:
            files.freeze(files.new_version(), source)
        assert refused.value.metadata == {"owner": str(source)}

    assert files.read(version) == TREE


def test_a_snapshot_of_another_model_or_workspace_is_another_snapshot(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    version = files.new_version()
    files.freeze(version, run)

    with pytest.raises(SnapshotExists):
        files.freeze(version, run, model=new_id())
    with pytest.raises(SnapshotExists):
        files.freeze(version, run, workspace="another")


def test_only_a_service_may_make_read_and_delete_snapshots(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    version = files.new_version()
    files.freeze(version, run)
    files.judge.give("root", "admin", at=INSTALLATION)

    with using("root", "get"):
        with pytest.raises(PermissionMissing):
            files.freeze(files.new_version(), run)
        for version_id in (version.id, new_id()):
            with pytest.raises(PermissionMissing):
                files.snapshots.get(version_id)
            with pytest.raises(PermissionMissing):
                files.snapshots.delete(version_id)

    assert files.read(version) == TREE


def test_to_who_is_no_service_a_snapshot_in_a_workspace_of_others_is_not_found(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    version = files.new_version()
    files.freeze(version, run)

    with using("eve", "get"):
        with pytest.raises(SnapshotNotFound):
            files.snapshots.get(version.id)
        with pytest.raises(SnapshotNotFound):
            files.snapshots.delete(version.id)
        with pytest.raises(OwnerNotFound):
            files.freeze(files.new_version(), run)


def test_the_registry_reads_no_files_for_a_caller_who_may_not(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    files.judge.give("bob", "versions.create", at=Place(WORKSPACE, model_id=MODEL))

    with acting_for("bob"), pytest.raises(OwnerNotFound) as refused:
        files.freeze(files.new_version(), run)
    files.judge.give("bob", "runs.read", at=Place(WORKSPACE, "7"))
    with acting_for("bob"), pytest.raises(PermissionMissing, match=r"files\.read"):
        files.freeze(files.new_version(), run)
    files.judge.give("bob", "files.read", at=Place(WORKSPACE, "7"))
    with acting_for("bob"):
        assert files.freeze(files.new_version(), run).file_count == 2

    assert refused.value.metadata == {"owner": str(run)}


def test_the_registry_makes_no_version_for_a_caller_who_may_not(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    files.judge.give("bob", "files.read", at=Place(WORKSPACE, "7"))
    version = files.new_version()

    with acting_for("bob"), pytest.raises(OwnerNotFound):
        files.freeze(version, run)
    files.judge.give("bob", "reader", at=Place(WORKSPACE, model_id=MODEL))
    with acting_for("bob"), pytest.raises(PermissionMissing, match=r"versions\.create"):
        files.freeze(version, run)

    with pytest.raises(SnapshotNotFound):
        files.snapshots.get(version.id)


def test_a_repeated_request_is_judged_again(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    files.judge.give("bob", "writer", at=Place(WORKSPACE))
    version = files.new_version()
    with acting_for("bob"):
        made = files.freeze(version, run)

    files.judge.take_all("bob")
    files.judge.give("bob", "writer", at=Place(WORKSPACE, model_id=MODEL))

    with acting_for("bob"), pytest.raises(OwnerNotFound):
        files.freeze(version, run)
    assert files.snapshots.get(version.id) == made


def test_the_registry_lets_files_go_by_itself(files: Files, run: Owner) -> None:
    files.write(run, TREE)
    version = files.new_version()
    files.freeze(version, run)

    with caller.using(caller.NOBODY):
        files.snapshots.delete(version.id)

    with pytest.raises(SnapshotNotFound):
        files.snapshots.get(version.id)
