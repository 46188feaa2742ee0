"""Writing files: all of a stream or none, each content once, nothing left behind."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry_server.artifacts.domain import incoming as arriving
from modelry_server.artifacts.domain.incoming import IncomingFile
from modelry_server.artifacts.domain.paths import folder
from modelry_server.artifacts.entities import Owner
from modelry_server.artifacts.errors import (
    ArtifactKindConflict,
    ArtifactNotFound,
    DigestMismatch,
    OwnerFrozen,
    OwnerNotFound,
    RunDeleted,
    TooManyFiles,
    TooManyFolders,
    UploadBrokenOff,
    UploadTooLong,
)
from modelry_server.kernel.errors import FieldInvalid, ModelryError
from modelry_server.kernel.ids import new_id
from tests.server.artifacts.conftest import Files, incoming

BIG = bytes(range(256)) * 4096  # above arriving.SMALL


def test_what_was_written_is_listed_and_read_back(files: Files, run: Owner) -> None:
    content = {"a.txt": b"abc", "model/MLmodel": b"", "model/data/weights.bin": BIG}

    count, size = files.write(run, content)

    assert (count, size) == (3, 3 + len(BIG))
    assert files.read(run) == content
    assert files.list(run) == ["a.txt", "model/"]
    assert files.list(run, recursive=True) == ["a.txt", "model/MLmodel", "model/data/weights.bin"]


@pytest.mark.parametrize(
    ("path", "given", "kind"),
    [
        ("a/b.txt", "", "text/plain"),
        ("m.json", "", "application/json"),
        ("notes.md", "", "text/markdown"),
        ("noending", "", "application/octet-stream"),
        ("x.txt", "text/markdown", "text/markdown"),
    ],
)
def test_a_content_type_is_the_named_one_or_what_the_ending_suggests(
    files: Files, run: Owner, path: str, given: str, kind: str
) -> None:
    files.take(run, [incoming(path, b"x", kind=given)])

    [(artifact, _)] = files.artifacts.read(run, None)
    assert artifact.content_type == kind


@pytest.mark.parametrize("content", [b"short", BIG], ids=["small", "big"])
@pytest.mark.parametrize("wrong", ["sha256", "shorter", "longer"])
def test_content_that_is_not_what_was_announced_leaves_nothing_of_the_stream(
    files: Files, run: Owner, content: bytes, wrong: str
) -> None:
    size = {"sha256": 0, "shorter": 1, "longer": -1}[wrong] + len(content)
    sha256 = "0" * 64 if wrong == "sha256" else ""
    stream = [
        incoming("a", b"first"),
        incoming("b", BIG),
        incoming("c", content, size=size, sha256=sha256),
        incoming("d", b"never"),
    ]

    with pytest.raises(DigestMismatch) as refused:
        files.take(run, stream)

    assert refused.value.metadata["path"] == "c"
    assert {"expected", "actual"} <= refused.value.metadata.keys()
    assert files.list(run) == []
    assert files.stored() == 0


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (lambda: incoming("a", b"x", sha256="ABC"), "sha256"),
        (lambda: incoming("a", b"x", sha256="A" * 64), "sha256"),
        (lambda: incoming("a", b"x", size=-1), "header.size_bytes"),
        (lambda: incoming("a", b"x", size=arriving.MOST_BYTES + 1), "header.size_bytes"),
        (lambda: incoming("a", b"x", kind="t" * 256), "header.content_type"),
        (lambda: incoming("a", b"x", kind="text/plain\n"), "header.content_type"),
    ],
)
def test_a_bad_header_or_digest_is_refused_by_its_field(files: Files, run: Owner, bad: object, field: str) -> None:
    def stream() -> Iterator[IncomingFile]:
        yield incoming("first", b"x")
        yield bad()  # type: ignore[operator]

    with pytest.raises(FieldInvalid) as refused:
        files.take(run, stream())

    assert list(refused.value.violations) == [field]
    assert files.stored() == 0


def test_more_files_than_the_server_takes_in_one_stream_are_refused(files: Files, run: Owner) -> None:
    files.rebuild(most_files=3)
    files.write(run, {f"{n}": b"x" for n in range(3)})

    with pytest.raises(TooManyFiles, match=r"more than 3 files.*pack the files"):
        files.write(run, {f"more/{n}": b"y" for n in range(4)})

    assert files.list(run) == ["0", "1", "2"]
    assert files.stored() == 1


def test_many_more_folders_than_files_are_refused(files: Files, run: Owner) -> None:
    deep = "a/" * 61
    files.write(run, {f"{n}/{deep}f": b"x" for n in range(100)})

    with pytest.raises(TooManyFolders, match=r"more than 10200 folders.*pack the files"):
        files.write(run, {f"{n}/{deep}f": b"y" for n in range(200)})

    assert len(files.list(run, recursive=True)) == 100
    assert files.stored() == 1


def test_a_folder_counts_what_is_in_it_at_any_depth(files: Files, run: Owner) -> None:
    files.write(run, {"a/b/c/one": b"1", "a/two": b"22", "three": b"333"})
    files.write(run, {"a/b/c/one": b"4444", "a/b/four": b""})

    sizes = {path: files.artifacts.get(run, folder(path)) for path in ("", "a", "a/b", "a/b/c")}

    assert {path: (each.file_count, each.size_bytes) for path, each in sizes.items()} == {
        "": (4, 9),
        "a": (3, 6),
        "a/b": (2, 4),
        "a/b/c": (1, 4),
    }


def test_a_stream_that_takes_too_long_leaves_nothing(files: Files, run: Owner) -> None:
    files.rebuild(limit_s=0)

    with pytest.raises(UploadTooLong, match="longer than the 0 s"):
        files.write(run, {"a": b"abc", "b": BIG})

    assert files.list(run) == []
    assert files.stored() == 0


def test_a_stream_that_breaks_off_leaves_nothing(files: Files, run: Owner) -> None:
    def breaking() -> Iterator[IncomingFile]:
        yield incoming("a", b"abc")
        yield incoming("b", BIG)
        raise UploadBrokenOff

    with pytest.raises(UploadBrokenOff):
        files.take(run, breaking())

    assert files.list(run) == []
    assert files.stored() == 0


def test_a_caller_who_is_gone_at_the_end_gets_nothing_written(files: Files, run: Owner) -> None:
    with pytest.raises(UploadBrokenOff):
        files.write(run, {"a": b"abc", "b": BIG}, is_wanted=lambda: False)

    assert files.list(run) == []
    assert files.stored() == 0


def test_known_content_is_stored_once(files: Files, run: Owner) -> None:
    files.write(run, {"a": b"same", "b": b"same", "c": BIG})
    files.write(files.new_run(), {"x": b"same"})
    files.write(run, {"again": BIG, "new": b"new"})

    assert files.stored() == 3
    assert files.read(run) == {"a": b"same", "b": b"same", "c": BIG, "again": BIG, "new": b"new"}


def test_a_file_of_the_same_path_is_replaced(files: Files, run: Owner) -> None:
    files.write(run, {"d/a": b"old", "d/b": b"stays"})

    files.write(run, {"d/a": b"newer"})

    assert files.read(run) == {"d/a": b"newer", "d/b": b"stays"}
    assert (files.artifacts.get(run, None).file_count, files.artifacts.get(run, None).size_bytes) == (2, 10)


def test_the_last_file_of_a_path_in_a_stream_stands(files: Files, run: Owner) -> None:
    written = files.take(run, [incoming("a", b"one"), incoming("a", b"three")])

    assert written == (1, 5)
    assert files.read(run) == {"a": b"three"}
    assert files.stored() == 1


@pytest.mark.parametrize(
    ("before", "then", "conflict"),
    [
        (["a"], ["a/b"], "a"),
        (["a"], ["a/b/c"], "a"),
        (["a/b"], ["a"], "a"),
        (["a/b/c"], ["a/b"], "a/b"),
        ([], ["a", "a/b"], "a"),
        ([], ["a/b/c", "a/b"], "a/b"),
    ],
)
def test_a_path_is_a_file_or_a_folder_but_not_both(
    files: Files, run: Owner, before: list[str], then: list[str], conflict: str
) -> None:
    if before:
        files.write(run, dict.fromkeys(before, b"x"))

    with pytest.raises(ArtifactKindConflict) as refused:
        files.write(run, {"other": b"y"} | dict.fromkeys(then, b"z"))

    assert refused.value.metadata["path"] == conflict
    assert files.list(run, recursive=True) == before
    assert files.stored() == len(before)


def test_names_that_only_begin_alike_are_no_conflict(files: Files, run: Owner) -> None:
    content = {
        "a": b"1",
        "ab": b"2",
        "a-b/c": b"3",
        "a.b": b"4",
        "a0": b"5",
        "A": b"6",
        "e\u0301": b"7",
        "\u00e9": b"8",
    }

    files.write(run, content)

    assert files.read(run) == content
    assert files.list(run) == ["A", "a", "a-b/", "a.b", "a0", "ab", "e\u0301", "\u00e9"]


def test_only_an_active_run_can_be_written_to(files: Files, run: Owner) -> None:
    deleted, version = files.new_run(), files.new_version()
    files.neighbour.delete(deleted)
    files.write(run, {"a": b"abc"})
    files.freeze(version, run)

    with pytest.raises(OwnerNotFound):
        files.write(Owner.run(new_id()), {"a": b"x"})
    with pytest.raises(OwnerNotFound):
        files.write(files.new_version(), {"a": b"x"})
    with pytest.raises(RunDeleted):
        files.write(deleted, {"a": b"x"})
    with pytest.raises(OwnerFrozen):
        files.write(version, {"a": b"x"})

    assert files.stored() == 1


def test_content_that_the_store_has_lost_is_healed_by_writing_it_again(files: Files, run: Owner) -> None:
    files.write(run, {"a": b"precious", "b": BIG})
    for blob in list(files.blobs.stored()):
        files.blobs.delete(blob.key)

    files.write(files.new_run(), {"copy": b"precious", "big": BIG})

    assert files.read(run) == {"a": b"precious", "b": BIG}


def test_many_writers_of_the_same_content_store_it_once(files: Files) -> None:
    owners = [files.new_run() for _ in range(8)]
    together = threading.Barrier(8)

    def write(owner: Owner) -> None:
        together.wait(10)
        for number in range(10):
            files.write(owner, {f"f{number}": b"content %d" % number, "big": BIG})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, owners))

    assert files.stored() == 11
    for owner in owners:
        assert files.read(owner) == {f"f{n}": b"content %d" % n for n in range(10)} | {"big": BIG}


def test_writers_of_the_same_path_leave_one_whole_file_and_a_true_count(files: Files, run: Owner) -> None:
    together = threading.Barrier(6)

    def write(number: int) -> None:
        together.wait(10)
        for turn in range(5):
            files.write(run, {"d/same": b"%d" % number * 1000, f"d/own{number}-{turn}": b"x"})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))

    same = files.read(run, "d/same")["d/same"]
    assert same in {b"%d" % number * 1000 for number in range(6)}
    assert files.artifacts.get(run, None).file_count == 31
    assert files.artifacts.get(run, None).size_bytes == 1030


def test_a_file_and_a_folder_of_one_name_at_once_end_as_one_of_them(files: Files) -> None:
    for _ in range(10):
        owner = files.new_run()
        together = threading.Barrier(2)

        def write(path: str, owner: Owner = owner, together: threading.Barrier = together) -> str:
            together.wait(10)
            try:
                files.write(owner, {path: b"x"})
            except ArtifactKindConflict:
                return ""
            return path

        with ThreadPoolExecutor(2) as pool:
            won = [path for path in pool.map(write, ["a", "a/b"]) if path]

        assert len(won) == 1
        assert files.list(owner, recursive=True) == won


def test_writing_and_deleting_at_once_keeps_the_counts_true(files: Files, run: Owner) -> None:
    together = threading.Barrier(6)

    def work(number: int) -> None:
        together.wait(10)
        for turn in range(8):
            try:
                if (number + turn) % 3:
                    files.write(run, {f"d{turn % 2}/f{number % 2}": b"x" * (turn + 1)})
                else:
                    files.delete(run, f"d{turn % 2}")
            except ArtifactNotFound:
                pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))

    content = files.read(run)
    root = files.artifacts.get(run, None)
    assert (root.file_count, root.size_bytes) == (len(content), sum(map(len, content.values())))


def test_a_small_file_is_put_while_the_next_is_read(files: Files, run: Owner) -> None:
    assert len(BIG) > arriving.SMALL

    content = {f"f{n}": hashlib.sha256(b"%d" % n).digest() for n in range(100)}
    files.write(run, content)

    assert files.read(run) == content


def test_three_thousand_files_become_visible_together(files: Files, run: Owner) -> None:
    content = {f"d{n % 30}/f{n}": b"%d" % n for n in range(3000)}
    counts: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            counts.add(files.artifacts.get(run, None).file_count)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        files.write(run, content)
        done.set()
        watching.result()
    counts.add(files.artifacts.get(run, None).file_count)

    assert counts in ({0, 3000}, {3000})
    assert files.read(run) == content


def test_every_refusal_names_its_reason(files: Files, run: Owner) -> None:
    with pytest.raises(ModelryError) as refused:
        files.take(run, [incoming("a", b"x", sha256="0" * 64)])

    assert refused.value.reason == "DIGEST_MISMATCH"
