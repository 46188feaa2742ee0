"""Reading, listing and deleting files."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelry_server.artifacts.domain.paths import ArtifactPath, folder
from modelry_server.artifacts.entities import Artifact, Owner
from modelry_server.artifacts.errors import (
    ArtifactKindConflict,
    ArtifactNotFound,
    BlobLost,
    OwnerFrozen,
    OwnerNotFound,
)
from modelry_server.kernel.errors import FieldInvalid, ServiceUnavailable
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.paging import Found, SortValue
from tests.parts import free_port
from tests.server.artifacts.conftest import Files

BIG = bytes(range(256)) * 16384  # 4 MiB: several pieces
TREE = {"top.txt": b"1", "model/MLmodel": b"22", "model/data/a.bin": b"333", "model/data/b.bin": b"4444", "zoo/z": b"5"}


@pytest.fixture
def run(files: Files) -> Owner:
    owner = files.new_run()
    files.write(owner, TREE)
    return owner


def test_a_folder_has_the_count_and_size_of_all_files_below_it(files: Files, run: Owner) -> None:
    model = files.artifacts.get(run, folder("model"))
    root = files.artifacts.get(run, None)

    assert (model.is_folder, model.file_count, model.size_bytes) == (True, 3, 9)
    assert (root.is_folder, root.file_count, root.size_bytes) == (True, 5, 11)


def test_a_file_is_known_by_its_digest_size_and_time(files: Files, run: Owner) -> None:
    found = files.artifacts.get(run, folder("top.txt"))

    assert (found.is_folder, found.file_count, found.size_bytes) == (False, 1, 1)
    assert found.sha256 == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert found.create_time == files.clock.now()


@pytest.mark.parametrize(
    ("path", "level", "deep"),
    [
        ("", ["model/", "top.txt", "zoo/"], sorted(TREE)),
        ("model", ["model/MLmodel", "model/data/"], ["model/MLmodel", "model/data/a.bin", "model/data/b.bin"]),
        ("model/data", ["model/data/a.bin", "model/data/b.bin"], ["model/data/a.bin", "model/data/b.bin"]),
        ("top.txt", ["top.txt"], ["top.txt"]),
        ("mod", [], []),
        ("model/data/a.bin/x", [], []),
    ],
)
def test_a_folder_is_listed_by_level_or_with_all_below(
    files: Files, run: Owner, path: str, level: list[str], deep: list[str]
) -> None:
    assert files.list(run, path) == level
    assert files.list(run, path, recursive=True) == deep


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_hold_everything_once_in_order(files: Files, size: int, recursive: bool) -> None:
    run = files.new_run()
    names = ["a", "a-b/x", "a.b", "aa/1", "aa/2/3", "B", "b/y", "\U0001f9ea", "\uffee", "z z"]
    files.write(run, dict.fromkeys(names, b"x"))

    def page(after: tuple[SortValue, ...] | None, limit: int) -> list[Found[Artifact]]:
        return files.artifacts.search(run, None, after=after, limit=limit, recursive=recursive)

    whole = page(None, 1000)

    found: list[Found[Artifact]] = []
    while more := page(found[-1].key if found else None, size):
        found += more

    assert found == whole
    assert [each.item.path for each in whole] == sorted((each.item.path for each in whole), key=str.encode)
    assert len(whole) == (10 if recursive else 9)


def test_a_run_without_files_has_an_empty_list(files: Files) -> None:
    run = files.new_run()

    assert files.list(run) == []
    assert files.read(run) == {}
    assert files.artifacts.get(run, None).file_count == 0


def test_an_owner_that_nobody_knows_is_not_found(files: Files) -> None:
    for owner in (Owner.run(new_id()), Owner.version(new_id())):
        for call in (
            lambda owner=owner: files.list(owner),
            lambda owner=owner: files.read(owner),
            lambda owner=owner: files.artifacts.get(owner, None),
            lambda owner=owner: files.artifacts.get(owner, ArtifactPath("a")),
        ):
            with pytest.raises(OwnerNotFound):
                call()
    with pytest.raises(OwnerNotFound):
        files.delete(Owner.run(new_id()), "a")


def test_the_files_of_a_deleted_run_can_still_be_read(files: Files, run: Owner) -> None:
    files.neighbour.delete(run)

    assert files.read(run) == TREE


def test_an_owner_with_files_answers_also_when_tracking_does_not(files: Files, run: Owner) -> None:
    empty = files.new_run()

    files.rebuild(address=f"127.0.0.1:{free_port()}")

    assert files.artifacts.get(run, None).file_count == 5
    assert files.read(run) == TREE
    assert files.list(run, "nothing") == []
    assert files.delete(run, "zoo") == 1
    with pytest.raises(ServiceUnavailable, match="tracking"):
        files.artifacts.get(empty, None)


def test_tracking_is_asked_when_files_are_written_and_not_when_they_are_read(files: Files) -> None:
    run = files.new_run()
    before = files.neighbour.asked

    files.write(run, TREE)
    assert files.neighbour.asked == before + 1

    files.read(run)
    files.list(run)
    files.freeze(files.new_version(), run)
    files.delete(run, "zoo")
    assert files.neighbour.asked == before + 1


@pytest.mark.parametrize("offset", [0, 1, 1 << 20, len(BIG) - 1, len(BIG)])
def test_a_file_is_read_from_an_offset(files: Files, run: Owner, offset: int) -> None:
    files.write(run, {"big": BIG})

    assert files.read(run, "big", offset) == {"big": BIG[offset:]}


@pytest.mark.parametrize(("path", "offset"), [("top.txt", 2), ("top.txt", -1), ("model", 1), ("", 1)])
def test_an_offset_that_makes_no_sense_is_refused(files: Files, run: Owner, path: str, offset: int) -> None:
    with pytest.raises(FieldInvalid, match="offset_bytes"):
        files.read(run, path, offset)


def test_a_folder_is_read_in_order_with_big_files_among_small_ones(files: Files) -> None:
    run = files.new_run()
    content = {f"d/{n:03}": (BIG[: 300_000 + n] if n % 10 == 0 else b"%d" % n) for n in range(100)}
    files.write(run, content)

    found = files.read(run, "d")

    assert list(found) == sorted(content)
    assert found == content


def test_what_is_not_there_is_not_found(files: Files, run: Owner) -> None:
    with pytest.raises(ArtifactNotFound) as refused:
        files.read(run, "model/none")

    assert refused.value.metadata == {"owner": str(run), "path": "model/none"}
    with pytest.raises(ArtifactNotFound):
        files.artifacts.get(run, ArtifactPath("mode"))
    with pytest.raises(ArtifactNotFound):
        files.delete(run, "model/data/c.bin")


@pytest.mark.parametrize("damage", ["gone", "short", "long"])
def test_damaged_content_is_told_by_its_path(files: Files, tmp_path: Path, damage: str) -> None:
    run = files.new_run()
    files.write(run, {"fine": b"fine", "hurt": b"hurt" * 1000})
    [hurt] = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file() and path.stat().st_size == 4000]
    if damage == "gone":
        hurt.unlink()
    else:
        hurt.write_bytes(b"hurt" * (999 if damage == "short" else 1001))

    with pytest.raises(BlobLost) as refused:
        files.read(run)

    assert refused.value.metadata["path"] == "hurt"
    assert files.read(run, "fine") == {"fine": b"fine"}


def test_a_file_is_deleted(files: Files, run: Owner) -> None:
    assert files.delete(run, "model/MLmodel") == 1

    assert files.list(run, "model") == ["model/data/"]
    assert files.artifacts.get(run, folder("model")).file_count == 2
    assert files.artifacts.get(run, None).size_bytes == 9


def test_a_folder_is_deleted_with_all_below_and_its_empty_parents(files: Files, run: Owner) -> None:
    files.write(run, {"deep/er/est/a": b"x", "deep/er/est/b": b"y", "model-2/x": b"z", "model0": b"0"})

    assert files.delete(run, "deep/er/est") == 2
    assert files.delete(run, "model") == 3

    assert files.list(run) == ["model-2/", "model0", "top.txt", "zoo/"]
    assert files.artifacts.get(run, None).file_count == 4


def test_a_run_whose_files_are_all_deleted_can_be_written_again(files: Files, run: Owner) -> None:
    for path in ("model", "top.txt", "zoo"):
        files.delete(run, path)

    assert files.list(run) == []
    assert files.artifacts.get(run, None).size_bytes == 0
    files.write(run, {"model": b"a file now"})
    assert files.read(run) == {"model": b"a file now"}


def test_files_of_a_version_are_not_deleted(files: Files, run: Owner) -> None:
    version = files.new_version()
    files.freeze(version, run)

    with pytest.raises(OwnerFrozen):
        files.delete(version, "top.txt")


paths = st.lists(st.sampled_from(["a", "b", "a.", "B", "-"]), min_size=1, max_size=3).map("/".join)
# A dictionary is written, a path is deleted.
steps = st.lists(st.dictionaries(paths, st.binary(max_size=3), min_size=1, max_size=4) | paths, max_size=8)


@given(steps=steps)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_are_those_of_a_plain_dictionary(files: Files, steps: list[dict[str, bytes] | str]) -> None:
    run = files.new_run()
    expected: dict[str, bytes] = {}

    for step in steps:
        refusal: Exception | None = None
        try:
            if isinstance(step, dict):
                files.write(run, step)
                expected |= step
            else:
                files.delete(run, step)
                expected = {path: content for path, content in expected.items() if not _is_at(path, step)}
        except (ArtifactKindConflict, ArtifactNotFound) as refused:
            refusal = refused
        assert refusal is None or _refused_rightly(refusal, expected, step)

    assert files.read(run) == expected
    for place in {"", *(path[:at] for path in expected for at, c in enumerate(path) if c == "/")}:
        below = {path: content for path, content in expected.items() if not place or _is_at(path, place)}
        found = files.artifacts.get(run, folder(place))
        assert (found.file_count, found.size_bytes) == (len(below), sum(map(len, below.values())))
        prefix = f"{place}/" if place else ""
        level = {prefix + path[len(prefix) :].split("/")[0] for path in below}
        assert [path.rstrip("/") for path in files.list(run, place)] == sorted(level)


def _is_at(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _refused_rightly(refused: Exception, expected: dict[str, bytes], step: dict[str, bytes] | str) -> bool:
    if isinstance(step, str):
        return isinstance(refused, ArtifactNotFound) and not any(_is_at(path, step) for path in expected)
    together = {*expected, *step}
    return any(_is_at(one, other) and one != other for one, other in itertools.permutations(together, 2))
