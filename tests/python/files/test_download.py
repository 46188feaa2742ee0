from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.errors import DataLoss, DigestMismatch, FailedPrecondition, InvalidArgument, PathInvalid, Unavailable
from tests.python.scripted import OWNER, PASSING, BreakOff, Script, Step, a_file, a_folder, client_of

CONTENT = bytes(range(256)) * 40


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "path",
    [
        "../stolen",
        "model/../../stolen",
        "/etc/stolen",
        "model/..\\stolen",
        "model/./stolen",
        "model//stolen",
        "model/stolen/",
        "model/sto\x00len",
        "model/sto\nlen",
        "C:/stolen",
        "C:stolen",
        "model/" + "x" * 1020,
        "",
    ],
)
def test_a_path_of_a_hostile_server_writes_nothing_anywhere(tmp_path: Path, path: str) -> None:
    script = Script(a_folder("model"), [[a_file("model/good", CONTENT), CONTENT, a_file(path, CONTENT), CONTENT]])

    with client_of(script) as client, pytest.raises(PathInvalid):
        client.artifacts.download(OWNER, "model", tmp_path / "in")

    assert everything_below(tmp_path) == ["in", "in/good"]


def test_a_file_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    script = Script(a_folder("model"), [[a_file("modelling/x", CONTENT), CONTENT]])

    with client_of(script) as client, pytest.raises(DataLoss, match="modelling/x"):
        client.artifacts.download(OWNER, "model", tmp_path / "in")

    assert everything_below(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        ([CONTENT[:-1]], "bytes"),
        ([CONTENT, b"!"], "more than"),
        ([CONTENT[:-1] + b"!"], "SHA-256"),
        ([], "0 of"),
    ],
    ids=["shorter", "longer", "another", "nothing"],
)
def test_content_that_is_not_what_was_announced_never_gets_the_name(
    tmp_path: Path, sent: list[bytes], what: str
) -> None:
    whole = a_file("model/weights", CONTENT)

    with client_of(Script(whole, [[whole, *sent]])) as client, pytest.raises(DigestMismatch, match=what):
        client.artifacts.download(OWNER, "model/weights", tmp_path)
    with client_of(Script(a_folder("model"), [[whole, *sent]])) as client, pytest.raises(DigestMismatch, match=what):
        client.artifacts.download(OWNER, "model", tmp_path)
    with client_of(Script(whole, [[whole, *sent]])) as client, pytest.raises(DigestMismatch, match=what):
        client.artifacts.read_bytes(OWNER, "model/weights")

    assert everything_below(tmp_path) == []


def test_content_before_the_first_header_is_refused(tmp_path: Path) -> None:
    with client_of(Script(a_folder(""), [[CONTENT]])) as client, pytest.raises(DataLoss, match="before the header"):
        client.artifacts.download(OWNER, "", tmp_path)

    assert everything_below(tmp_path) == []


def test_pieces_without_content_do_not_hold_a_download(tmp_path: Path) -> None:
    whole = a_file("model/weights", CONTENT)
    endless: list[Iterable[Step]] = [itertools.chain[Step]([whole], itertools.repeat(b"")) for _ in range(3)]

    with client_of(Script(a_folder("model", whole), endless[:1])) as client, pytest.raises(DataLoss) as of_folder:
        client.artifacts.download(OWNER, "model", tmp_path)
    with client_of(Script(whole, endless[1:])) as client:
        with pytest.raises(DataLoss) as of_file:
            client.artifacts.download(OWNER, "model/weights", tmp_path)
        with pytest.raises(DataLoss) as of_bytes:
            client.artifacts.read_bytes(OWNER, "model/weights")

    assert {raised.value.reason for raised in (of_folder, of_file, of_bytes)} == {"STREAM_MALFORMED"}


def test_files_after_the_file_do_not_hold_a_download() -> None:
    empty = a_file("file", b"")

    with client_of(Script(empty, [itertools.repeat(empty)])) as client, pytest.raises(DataLoss, match="after the file"):
        client.artifacts.read_bytes(OWNER, "file")


@pytest.mark.parametrize(("size", "options"), [(2**50, {}), (2**30 + 1, {}), (11, {"max_bytes": 10})])
def test_no_more_is_read_into_memory_than_the_caller_wants(size: int, options: dict[str, int]) -> None:
    large = a_file("weights", CONTENT)
    large.size_bytes = size
    sent: list[int] = []

    def stream() -> Iterator[artifacts.Artifact | bytes]:
        yield large
        for number in range(1000):
            sent.append(number)
            yield bytes(2**20)

    with client_of(Script(large, [stream()])) as client, pytest.raises(InvalidArgument, match="download it") as raised:
        client.artifacts.read_bytes(OWNER, "weights", **options)

    assert raised.value.reason == "ARTIFACT_TOO_LARGE"
    assert len(sent) < 100


def test_a_file_as_large_as_the_caller_wants_is_read() -> None:
    whole = a_file("weights", CONTENT)

    with client_of(Script(whole, [[whole, CONTENT]])) as client:
        assert client.artifacts.read_bytes(OWNER, "weights", max_bytes=len(CONTENT)) == CONTENT


def test_a_file_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = a_file("weights", CONTENT)
    script = Script(whole, [[whole, CONTENT[:1000], BreakOff()], [whole, CONTENT[1000:]]])
    told: list[tuple[int, int]] = []

    with client_of(script) as client:
        got = client.artifacts.download(OWNER, "weights", tmp_path, progress=lambda *state: told.append(state))

    assert got == tmp_path / "weights"
    assert got.read_bytes() == CONTENT
    assert [request.offset_bytes for request in script.read] == [0, 1000]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert everything_below(tmp_path) == ["weights"]


@pytest.mark.parametrize("end", PASSING, ids=str)
def test_a_download_that_a_server_ends_early_is_continued(tmp_path: Path, end: BreakOff) -> None:
    whole = a_file("weights", CONTENT)
    script = Script(whole, [[whole, CONTENT[:1000], end], [whole, CONTENT[1000:]]])

    with client_of(script) as client:
        path = client.artifacts.download(OWNER, "weights", tmp_path)

    assert path.read_bytes() == CONTENT
    assert [request.offset_bytes for request in script.read] == [0, 1000]


@pytest.mark.parametrize("end", PASSING, ids=str)
def test_a_folder_whose_stream_a_server_ends_early_is_completed(tmp_path: Path, end: BreakOff) -> None:
    first, second = a_file("a", b"aaaa"), a_file("b", CONTENT)
    streams: list[Iterable[Step]] = [[first, b"aaaa", second, CONTENT[:10], end], [second, CONTENT]]
    script = Script(a_folder("", first, second), streams, listed=[first, second])

    with client_of(script) as client:
        client.artifacts.download(OWNER, "", tmp_path)

    assert (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes() == b"aaaa" + CONTENT


def test_a_later_call_goes_on_with_what_an_earlier_one_left(tmp_path: Path) -> None:
    whole = a_file("weights", CONTENT)
    broken: list[Iterable[Step]] = [[whole, CONTENT[:1000], BreakOff()]]
    # What gRPC repeats by itself and what the client repeats: none of it gets further.
    broken += [[BreakOff()] for _ in range(20)]

    with client_of(Script(whole, broken)) as client, pytest.raises(Unavailable):
        client.artifacts.download(OWNER, "weights", tmp_path)
    rest = Script(whole, [[whole, CONTENT[1000:]]])
    with client_of(rest) as client:
        client.artifacts.download(OWNER, "weights", tmp_path)

    assert [request.offset_bytes for request in rest.read] == [1000]
    assert (tmp_path / "weights").read_bytes() == CONTENT


def test_a_damaged_beginning_is_thrown_away_and_read_again(tmp_path: Path) -> None:
    whole = a_file("weights", CONTENT)
    (tmp_path / f".modelry-{whole.sha256[:32]}.part").write_bytes(b"damaged")
    script = Script(whole, [[whole, CONTENT[7:]], [whole, CONTENT]])

    with client_of(script) as client:
        client.artifacts.download(OWNER, "weights", tmp_path)

    assert [request.offset_bytes for request in script.read] == [7, 0]
    assert (tmp_path / "weights").read_bytes() == CONTENT


def a_pipe(part: Path) -> None:
    os.mkfifo(part)


def a_file_of_another_user(part: Path) -> None:
    part.write_bytes(CONTENT[:7])
    os.chown(part, 12345, 12345)


def a_file_with_another_name(part: Path) -> None:
    part.with_name("mine").write_bytes(b"mine")
    os.link(part.with_name("mine"), part)


def a_link(part: Path) -> None:
    part.with_name("mine").write_bytes(b"mine")
    part.symlink_to(part.with_name("mine"))


@pytest.mark.parametrize("plant", [a_pipe, a_file_of_another_user, a_file_with_another_name, a_link])
@pytest.mark.parametrize("breaks_off", [False, True])
def test_a_beginning_that_is_not_the_users_alone_is_left_and_not_resumed(
    tmp_path: Path, plant: Callable[[Path], None], breaks_off: bool
) -> None:
    if plant is a_file_of_another_user and os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    whole = a_file("weights", CONTENT)
    part = tmp_path / f".modelry-{whole.sha256[:32]}.part"
    plant(part)
    planted = os.lstat(part)
    before = everything_below(tmp_path)
    script = Script(whole, [[BreakOff()] for _ in range(20)] if breaks_off else [[whole, CONTENT]])

    with client_of(script) as client:
        if breaks_off:
            with pytest.raises(Unavailable):
                client.artifacts.download(OWNER, "weights", tmp_path)
        else:
            client.artifacts.download(OWNER, "weights", tmp_path)
            assert (tmp_path / "weights").read_bytes() == CONTENT
            assert os.stat(tmp_path / "weights").st_uid == os.geteuid()

    assert {request.offset_bytes for request in script.read} == {0}
    assert everything_below(tmp_path) == [*before, *([] if breaks_off else ["weights"])]
    assert (os.lstat(part).st_ino, os.lstat(part).st_size) == (planted.st_ino, planted.st_size)


def test_a_folder_that_breaks_off_gets_its_missing_files_one_by_one(tmp_path: Path) -> None:
    first, second = a_file("model/a", b"aaaa"), a_file("model/sub/b", CONTENT)
    script = Script(
        a_folder("model", first, second),
        [[first, b"aaaa", second, CONTENT[:10], BreakOff()], [second, CONTENT]],
        listed=[first, second],
    )

    with client_of(script) as client:
        got = client.artifacts.download(OWNER, "model", tmp_path / "in")

    assert got == tmp_path / "in"
    assert [request.path for request in script.read] == ["model", "model/sub/b"]
    assert everything_below(got) == ["a", "sub", "sub/b"]
    assert (got / "sub/b").read_bytes() == CONTENT


def test_a_symbolic_link_in_the_destination_is_not_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    inside.mkdir()
    (inside / "sub").symlink_to(outside)
    script = Script(a_folder(""), [[a_file("sub/b", CONTENT), CONTENT]])

    with client_of(script) as client, pytest.raises(FailedPrecondition, match="symbolic link"):
        client.artifacts.download(OWNER, "", inside)

    assert everything_below(outside) == []


def test_a_symbolic_link_under_the_files_own_name_is_replaced(tmp_path: Path) -> None:
    kept, inside = tmp_path / "kept", tmp_path / "in"
    kept.write_text("mine")
    inside.mkdir()
    (inside / "weights").symlink_to(kept)
    whole = a_file("weights", CONTENT)

    with client_of(Script(whole, [[whole, CONTENT]])) as client:
        client.artifacts.download(OWNER, "weights", inside)

    assert kept.read_text() == "mine"
    assert not os.path.islink(inside / "weights")


def test_what_was_there_before_stays_until_the_whole_is_there(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("before")
    whole = a_file("weights", CONTENT)

    with client_of(Script(whole, [[whole, b"?" * len(CONTENT)]])) as client, pytest.raises(DigestMismatch):
        client.artifacts.download(OWNER, "weights", tmp_path)

    assert (tmp_path / "weights").read_text() == "before"
    assert everything_below(tmp_path) == ["weights"]


@pytest.mark.parametrize("sha256", ["", "x" * 64, "a" * 63, "../../../up", "a" * 64 + "\n"])
def test_a_digest_that_is_none_names_no_file(tmp_path: Path, sha256: str) -> None:
    whole = a_file("weights", CONTENT)
    whole.sha256 = sha256

    with client_of(Script(whole, [])) as client, pytest.raises(DataLoss, match="64 hexadecimal digits"):
        client.artifacts.download(OWNER, "weights", tmp_path)

    assert everything_below(tmp_path) == []


ONE, TWO = a_file("one", b"1"), a_file("two", b"22")


@pytest.mark.parametrize("streamed", [[], [ONE, b"1"]])
def test_a_folder_that_is_short_of_files_is_never_taken_for_whole(
    tmp_path: Path, streamed: list[artifacts.Artifact | bytes | BreakOff]
) -> None:
    script = Script(a_folder("", ONE, TWO), [list(streamed), [ONE, b"1"]], listed=[ONE])

    with client_of(script) as client, pytest.raises(DataLoss, match="announced 2 files with 3 bytes") as raised:
        client.artifacts.download(OWNER, "", tmp_path)

    assert raised.value.reason == "FOLDER_INCOMPLETE"


def test_a_folder_whose_stream_ends_too_early_gets_the_rest(tmp_path: Path) -> None:
    script = Script(a_folder("", ONE, TWO), [[ONE, b"1"], [TWO, b"22"]], listed=[ONE, TWO])

    with client_of(script) as client:
        client.artifacts.download(OWNER, "", tmp_path)

    assert everything_below(tmp_path) == ["one", "two"]


def test_a_file_that_is_deleted_meanwhile_is_not_missed(tmp_path: Path) -> None:
    script = Script(a_folder("", ONE, TWO), [[ONE, b"1"]], listed=[ONE])

    def delete(done: int, total: int) -> None:
        script.artifact = a_folder("", ONE)

    with client_of(script) as client:
        client.artifacts.download(OWNER, "", tmp_path, progress=delete)

    assert everything_below(tmp_path) == ["one"]


def test_a_file_that_is_replaced_meanwhile_is_read_again(tmp_path: Path) -> None:
    new = a_file("one", b"newer")
    script = Script(a_folder("", new, TWO), [[ONE, b"1", TWO, b"22"], [new, b"newer"]], listed=[new, TWO])

    with client_of(script) as client:
        client.artifacts.download(OWNER, "", tmp_path)

    assert everything_below(tmp_path) == ["one", "two"]
    assert (tmp_path / "one").read_bytes() == b"newer"


@pytest.mark.parametrize("old", ["one", "data"])
def test_of_a_folder_that_is_replaced_meanwhile_no_old_file_is_left(tmp_path: Path, old: str) -> None:
    new = a_file("data/b", b"new")
    was = a_file(old, b"1")
    script = Script(a_folder("", was, TWO), [[was, b"1", BreakOff()], [new, b"new"]], listed=[new])

    def replaced(done: int, total: int) -> None:
        script.artifact = a_folder("", new)

    with client_of(script) as client:
        client.artifacts.download(OWNER, "", tmp_path, progress=replaced)

    assert everything_below(tmp_path) == ["data", "data/b"]
    assert (tmp_path / "data" / "b").read_bytes() == b"new"


def test_no_more_files_come_than_were_announced(tmp_path: Path) -> None:
    with client_of(Script(a_folder("", ONE), [[ONE, b"1", TWO, b"22"]], listed=[ONE])) as client:
        client.artifacts.download(OWNER, "", tmp_path)

    assert everything_below(tmp_path) == ["one"]


def test_the_beginning_of_a_folder_that_was_replaced_is_not_taken_for_whole(tmp_path: Path) -> None:
    new = [a_file("one", b"n"), a_file("two", b"nn"), a_file("zero", b"more")]
    stream: list[Step] = [new[0], b"n", new[1], b"nn", new[2], b"more"]
    script = Script(a_folder("", ONE, TWO), [stream, [new[2], b"more"]], listed=new)

    def replaced(done: int, total: int) -> None:
        script.artifact = a_folder("", *new)

    with client_of(script) as client:
        client.artifacts.download(OWNER, "", tmp_path, progress=replaced)

    assert {name: (tmp_path / name).read_bytes() for name in everything_below(tmp_path)} == {
        "one": b"n",
        "two": b"nn",
        "zero": b"more",
    }


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    script = Script(a_folder("", ONE, TWO), [[ONE, b"1", ONE, b"1"]])

    with client_of(script) as client, pytest.raises(DataLoss, match="'one' twice"):
        client.artifacts.download(OWNER, "", tmp_path)


@pytest.mark.parametrize("files", [[], [ONE, TWO], [TWO, ONE]])
def test_a_list_without_an_end_or_an_order_is_refused(tmp_path: Path, files: list[artifacts.Artifact]) -> None:
    script = Script(a_folder("", ONE, TWO), [[]], listed=files, next_page_token="again")

    with client_of(script) as client, pytest.raises(DataLoss) as raised:
        client.artifacts.download(OWNER, "", tmp_path)

    assert raised.value.reason == "ANSWER_MALFORMED"


@pytest.mark.parametrize("wrong", [{"size_bytes": -1}, {"file_count": -1}, {"path": "elsewhere"}])
def test_metadata_that_can_not_be_is_refused(tmp_path: Path, wrong: dict[str, int | str]) -> None:
    folder = a_folder("", ONE)
    for name, value in wrong.items():
        setattr(folder, name, value)

    with client_of(Script(folder, [])) as client, pytest.raises(DataLoss):
        client.artifacts.download(OWNER, "", tmp_path)


def test_an_empty_folder_comes_back_without_the_file_that_stands_for_it(tmp_path: Path) -> None:
    stands = a_file("model/cache/.modelry-folder", b"")
    script = Script(a_folder("model", stands), [[stands]])

    with client_of(script) as client:
        client.artifacts.download(OWNER, "model", tmp_path)

    assert everything_below(tmp_path) == ["cache"]
