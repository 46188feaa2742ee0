"""A stream that replaces a folder: afterwards it holds what the stream brought, and nothing else of it is kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.artifacts.domain.paths import folder
from modelry_server.artifacts.entities import Owner
from modelry_server.artifacts.errors import ArtifactKindConflict, OwnerFrozen, PathInvalid, UploadBrokenOff
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.sql.database import ConcurrentChange
from tests.parts.clock import HeldClock
from tests.server.artifacts.conftest import GRACE_S, Files

OLD = {"model/MLmodel": b"old", "model/code/pkg/helpers.py": b"1", "model/code/pkg/extra.py": b"22"}
NEW = {"model/MLmodel": b"newer", "model/code/pkg/helpers.py": b"1"}
BESIDE = {"model-b/x": b"b", "model.txt": b"t", "model0": b"0", "Model/x": b"M", "other/model/y": b"o"}


def counts(files: Files, owner: Owner) -> dict[str, tuple[int, int]]:
    """The number and size of the files of the root and each folder, as the server counts them."""
    folders, found = [""], {}
    while folders:
        path = folders.pop()
        artifact = files.artifacts.get(owner, folder(path))
        found[path] = (artifact.file_count, artifact.size_bytes)
        folders += [each.rstrip("/") for each in files.list(owner, path) if each.endswith("/")]
    return found


def true_counts(files: Files, owner: Owner) -> dict[str, tuple[int, int]]:
    """The same, counted anew from the files that can be read."""
    found: dict[str, tuple[int, int]] = {"": (0, 0)}
    for path, content in files.read(owner).items():
        parts = path.split("/")
        for depth in range(len(parts)):
            count, size = found.get("/".join(parts[:depth]), (0, 0))
            found["/".join(parts[:depth])] = (count + 1, size + len(content))
    return found


def test_what_the_stream_does_not_bring_is_deleted(files: Files, run: Owner) -> None:
    files.write(run, OLD | BESIDE)

    written = files.write(run, NEW, replaces="model")

    assert written == (2, 6)
    assert files.read(run) == NEW | BESIDE
    assert counts(files, run) == true_counts(files, run)


def test_the_same_stream_again_changes_nothing(files: Files, run: Owner) -> None:
    files.write(run, OLD | BESIDE)

    for _ in range(3):
        files.write(run, NEW, replaces="model")

    assert files.read(run) == NEW | BESIDE
    assert counts(files, run) == true_counts(files, run)


def test_a_folder_that_is_not_there_is_written(files: Files, run: Owner) -> None:
    files.write(run, {"deep/er/model/a": b"1"}, replaces="deep/er/model")

    assert files.read(run) == {"deep/er/model/a": b"1"}
    assert counts(files, run) == true_counts(files, run)


def test_a_file_may_become_a_folder_and_a_folder_a_file(files: Files, run: Owner) -> None:
    files.write(run, {"m/data": b"1", "m/code/a.py": b"22", "m/code/b.py": b"333"})

    files.write(run, {"m/data/model.pth": b"4", "m/code": b"55"}, replaces="m")

    assert files.read(run) == {"m/code": b"55", "m/data/model.pth": b"4"}
    assert counts(files, run) == true_counts(files, run)
    assert files.list(run, "m") == ["m/code", "m/data/"]


def test_a_stream_without_files_empties_the_folder(files: Files, run: Owner) -> None:
    files.write(run, {"a/b/c/x": b"1", "a/y": b"2"})

    assert files.write(run, {}, replaces="a/b") == (0, 0)
    assert files.list(run, recursive=True) == ["a/y"]
    assert files.list(run, "a") == ["a/y"]
    files.write(run, {}, replaces="a")

    assert files.list(run) == []
    assert counts(files, run) == {"": (0, 0)}


@pytest.mark.parametrize(("before", "conflict"), [("m", "m"), ("a", "a")])
def test_a_file_at_or_above_the_folder_is_in_the_way(files: Files, run: Owner, before: str, conflict: str) -> None:
    files.write(run, {before: b"x"})
    target = "m" if before == "m" else "a/b"

    with pytest.raises(ArtifactKindConflict) as refused:
        files.write(run, {f"{target}/new": b"y"}, replaces=target)
    files.write(run, {}, replaces=target)

    assert refused.value.metadata["path"] == conflict
    assert files.read(run) == {before: b"x"}


@pytest.mark.parametrize("path", ["other", "model", "model-b/x", "mode", "modelx/y"])
def test_a_file_that_is_not_below_the_folder_is_refused(files: Files, run: Owner, path: str) -> None:
    files.write(run, OLD)

    with pytest.raises(FieldInvalid, match="must be below replaced_folder, which is 'model'") as refused:
        files.write(run, {"model/fine": b"x", path: b"y"}, replaces="model")

    assert list(refused.value.violations) == ["header.path"]
    assert files.read(run) == OLD
    assert files.stored() == 3


def test_a_stream_that_fails_leaves_the_old_files(files: Files, run: Owner) -> None:
    files.write(run, OLD)

    with pytest.raises(UploadBrokenOff):
        files.write(run, NEW, is_wanted=lambda: False, replaces="model")
    with pytest.raises(PathInvalid):
        files.write(run, NEW, replaces="../model")

    assert files.read(run) == OLD
    assert counts(files, run) == true_counts(files, run)


def test_a_version_keeps_the_files_that_are_replaced_in_its_run(files: Files, run: Owner, clock: HeldClock) -> None:
    version = files.new_version()
    files.write(run, OLD)
    files.freeze(version, run, "model")

    files.write(run, NEW, replaces="model")
    clock.advance(GRACE_S * 1000 + 1)
    files.garbage.collect()

    frozen = {path.removeprefix("model/"): content for path, content in OLD.items()}
    assert files.read(version) == frozen
    with pytest.raises(OwnerFrozen):
        files.write(version, {"code/x": b"x"}, replaces="code")
    assert files.read(version) == frozen


def test_the_content_that_nobody_uses_any_more_is_collected(files: Files, run: Owner, clock: HeldClock) -> None:
    other = files.new_run()
    files.write(run, {"m/gone": b"gone", "m/kept": b"kept", "m/moved": b"moved", "m/shared": b"shared"})
    files.write(other, {"x": b"shared"})

    files.write(run, {"m/kept": b"kept", "m/new-name": b"moved"}, replaces="m")
    clock.advance(GRACE_S * 1000 + 1)

    assert files.garbage.collect() == 1
    assert files.read(run) == {"m/kept": b"kept", "m/new-name": b"moved"}
    assert files.read(other) == {"x": b"shared"}


def test_two_who_replace_at_once_leave_the_files_of_one(files: Files, run: Owner) -> None:
    together = threading.Barrier(4)

    def write(number: int) -> None:
        together.wait(10)
        for turn in range(6):
            own = {f"m/{number}/{n}": b"%d %d" % (number, turn) for n in range(5)}
            files.write(run, own | {"m/MLmodel": b"%d %d" % (number, turn), "m/same": b"same"}, replaces="m")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    found = files.read(run)
    number = found["m/MLmodel"].split()[0].decode()
    own = {f"m/{number}/{n}" for n in range(5)}
    assert found.keys() == {"m/MLmodel", "m/same"} | own
    assert {found[path] for path in own} == {found["m/MLmodel"]}
    assert counts(files, run) == true_counts(files, run)


def test_a_reader_sees_the_old_files_or_the_new_ones(files: Files, run: Owner) -> None:
    models = [{f"m/{name}{n}": name.encode() for n in range(60)} for name in ("a", "b")]
    files.write(run, models[0], replaces="m")
    seen: list[set[bytes]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(set(files.read(run, "m").values()))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        for turn in range(10):
            files.write(run, models[(turn + 1) % 2], replaces="m")
        done.set()
        watching.result()

    assert seen
    assert all(len(values) == 1 for values in seen)


def test_a_folder_that_is_replaced_while_a_long_stream_is_read_ends_the_stream(
    files: Files, run: Owner, clock: HeldClock
) -> None:
    names = [f"m/{n:04}" for n in range(1200)]
    files.write(run, dict.fromkeys(names, b"old"))
    reading = files.artifacts.read(run, folder("m"))
    found = [b"".join(next(reading)[1])]

    clock.advance(1)
    files.write(run, dict.fromkeys(names, b"new"), replaces="m")
    with pytest.raises(ConcurrentChange, match="changed while they were read"):
        found += [b"".join(pieces) for _, pieces in reading]

    assert set(found) == {b"old"}
    assert set(files.read(run, "m").values()) == {b"new"}


def test_only_what_was_written_together_with_a_file_is_replaced(files: Files, run: Owner, clock: HeldClock) -> None:
    of_others = {"model/vocab.json": b"v", "model/code/pkg/notes.txt": b"n", "model/best/MLmodel": b"best"}
    for written in (of_others, OLD | {"model/deep/er/x": b"x"}, BESIDE):
        files.write(run, written)
        clock.advance(1)

    files.write(run, NEW, replaces="model", together_with=["model/MLmodel", "model/none"])

    assert files.read(run) == NEW | BESIDE | of_others
    assert counts(files, run) == true_counts(files, run)


def test_where_there_is_no_such_file_nothing_is_deleted(files: Files, run: Owner, clock: HeldClock) -> None:
    files.write(run, {"model/vocab.json": b"v", "model/code/MLmodel": b"other"})
    clock.advance(1)

    files.write(run, NEW, replaces="model", together_with=["model/MLmodel", "model/code"])

    assert files.read(run) == NEW | {"model/vocab.json": b"v", "model/code/MLmodel": b"other"}
    assert counts(files, run) == true_counts(files, run)


def test_a_file_outside_of_the_folder_is_refused_as_one_of_those(files: Files, run: Owner) -> None:
    with pytest.raises(FieldInvalid) as refused:
        files.write(run, NEW, replaces="model", together_with=["model.txt"])

    assert list(refused.value.violations) == ["replaced_with"]
