"""Files through the stubs."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from modelry.api.artifacts import v1 as api
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.ids import new_id
from tests.contract.artifacts.conftest import MODEL, PIECE, Client, Owner, Step, file_steps, refused
from tests.parts.deployment import Deployment

BIG = hashlib.sha256(b"big").digest() * 100_000  # 3.2 MB: several pieces, above what goes through the pool of threads
TREE = {"a.txt": b"abc", "empty": b"", "model/MLmodel": b"flavors:", "model/data/weights.bin": BIG}
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

# Attack P1: what reaches the service is compared to the letter; nothing decodes it.
BAD_PATHS = [
    *("../x", "a/../../x", "..\\x", "%2e%2e%2fx", "%252e%252e%252fx", "a;/../x", "a#/../x", "a?/../x", "/etc/passwd"),
    *("C:/x", "C:x", "\\\\host\\share", "file:///x", "a//b", "a/./b", "a/", "a\x7fb", "a\nb", "\uff0e\uff0e\uff0fx"),
    *("a\u2215b", "a" * 1025, ".", "./.", ".//", "%2e"),
]


def test_what_was_written_is_read_back(client: Client, run: Owner) -> None:
    answer = client.write(run, TREE)

    assert (answer.file_count, answer.size_bytes) == (4, sum(map(len, TREE.values())))
    assert client.read(run) == TREE
    assert client.read(run, "model") == {path: TREE[path] for path in TREE if path.startswith("model/")}
    assert client.read(run, "a.txt") == {"a.txt": b"abc"}


def test_a_file_is_described_by_its_header(client: Client, run: Owner) -> None:
    client.write(run, TREE)

    [header, *_] = client.artifacts.ReadArtifacts(api.ReadArtifactsRequest(owner=run, path="model/data/weights.bin"))

    assert header.artifact == client.get(run, "model/data/weights.bin")
    assert header.artifact.owner == run
    assert header.artifact.kind == api.ARTIFACT_KIND_FILE
    assert header.artifact.sha256 == hashlib.sha256(BIG).hexdigest()
    assert (header.artifact.size_bytes, header.artifact.file_count) == (len(BIG), 1)
    assert header.artifact.content_type == "application/octet-stream"
    assert header.artifact.create_time.seconds > 1_600_000_000


def test_a_folder_is_described_by_what_lies_in_it(client: Client, run: Owner) -> None:
    client.write(run, TREE)

    folder, root = client.get(run, "model"), client.get(run)

    assert (folder.kind, folder.file_count, folder.size_bytes) == (api.ARTIFACT_KIND_FOLDER, 2, len(BIG) + 8)
    assert (root.kind, root.file_count, root.size_bytes) == (api.ARTIFACT_KIND_FOLDER, 4, len(BIG) + 11)
    assert not folder.HasField("create_time")
    assert not folder.sha256


@pytest.mark.parametrize("offset", [1, PIECE, len(BIG) - 1, len(BIG)])
def test_a_download_goes_on_where_it_broke_off(client: Client, run: Owner, offset: int) -> None:
    client.write(run, {"big": BIG})

    assert client.read(run, "big", offset) == {"big": BIG[offset:]}
    header = next(client.artifacts.ReadArtifacts(api.ReadArtifactsRequest(owner=run, path="big", offset_bytes=offset)))
    assert header.artifact.size_bytes == len(BIG)


def test_pages_of_a_folder_hold_everything_once(client: Client, run: Owner) -> None:
    names = [f"d/{n:02}" for n in range(25)] + ["d/x/1", "d/x/2"]
    client.write(run, dict.fromkeys(names, b"x"))

    for recursive, expected in ((False, [*names[:25], "d/x"]), (True, names)):
        found: list[str] = []
        token = ""
        for _ in range(10):
            request = api.ListArtifactsRequest(owner=run, path="d", recursive=recursive, page_size=10, page_token=token)
            page = client.artifacts.ListArtifacts(request)
            found += [artifact.path for artifact in page.artifacts]
            token = page.next_page_token
            if not token:
                break
        assert found == expected


def test_a_page_token_holds_for_its_own_listing_only(client: Client, run: Owner) -> None:
    client.write(run, {"d/a": b"x", "d/b": b"x", "e/a": b"x"})
    page = client.artifacts.ListArtifacts(api.ListArtifactsRequest(owner=run, path="d", page_size=1))

    for other in (
        api.ListArtifactsRequest(owner=run, path="e", page_token=page.next_page_token),
        api.ListArtifactsRequest(owner=client.new_run(), path="d", page_token=page.next_page_token),
        api.ListArtifactsRequest(owner=run, path="d", recursive=True, page_token=page.next_page_token),
        api.ListArtifactsRequest(owner=run, path="d", page_token="nonsense"),
    ):
        assert refused(partial(client.artifacts.ListArtifacts, other)).reason == "PAGE_TOKEN_INVALID"
    negative = api.ListArtifactsRequest(owner=run, page_size=-1)
    assert refused(lambda: client.artifacts.ListArtifacts(negative)).fields == ["page_size"]


def test_a_file_or_folder_is_deleted(client: Client, run: Owner) -> None:
    client.write(run, TREE)

    assert client.delete(run, "model") == 2
    assert client.delete(run, "a.txt") == 1

    assert client.list(run) == ["empty"]
    answer = refused(lambda: client.delete(run, "model"))
    assert (answer.code, answer.reason, answer.resource) == ("NOT_FOUND", "ARTIFACT_NOT_FOUND", "artifact")


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
def test_a_bad_path_is_refused_by_every_call(client: Client, run: Owner, path: str) -> None:
    header = api.ArtifactHeader(path=path)
    reading = api.ReadArtifactsRequest(owner=run, path=path)
    snapshot = internal.CreateSnapshotRequest(
        version_id=new_id(), workspace="default", model_id=MODEL, source_owner=run, source_path=path
    )
    calls: dict[str, Callable[[], object]] = {
        "header.path": lambda: client.send([Step(owner=run), Step(header=header)]),
        "source_path": lambda: client.snapshots.CreateSnapshot(snapshot),
    }
    for field, call in calls.items():
        answer = refused(call)
        assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "PATH_INVALID", [field])
        assert answer.metadata["rule"]
    by_path: list[Callable[[], object]] = [
        lambda: list(client.artifacts.ReadArtifacts(reading)),
        lambda: client.list(run, path),
        lambda: client.get(run, path),
        lambda: client.delete(run, path),
    ]
    for call in by_path:
        answer = refused(call)
        assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "PATH_INVALID", ["path"])


def test_a_path_with_a_null_character_is_refused_by_its_field(client: Client, run: Owner) -> None:
    header = api.ArtifactHeader(path="a\0b")

    for call, field in (
        (lambda: client.send([Step(owner=run), Step(header=header)]), "header.path"),
        (lambda: client.get(run, "a\0b"), "path"),
    ):
        answer = refused(call)
        assert (answer.code, answer.fields) == ("INVALID_ARGUMENT", [field])


def test_the_root_can_be_neither_written_nor_deleted(client: Client, run: Owner) -> None:
    header = api.ArtifactHeader(path="")

    assert refused(lambda: client.send([Step(owner=run), Step(header=header)])).metadata["rule"] == "empty"
    assert refused(lambda: client.delete(run, "")).metadata["rule"] == "empty"


@pytest.mark.parametrize(
    ("owner", "field"),
    [
        (Owner(), "owner"),
        (Owner(run_id=""), "owner.run_id"),
        (Owner(run_id="../x"), "owner.run_id"),
        (Owner(run_id="A" * 32), "owner.run_id"),
        (Owner(version_id="a" * 31), "owner.version_id"),
        (Owner(version_id="runs/" + "a" * 32), "owner.version_id"),
    ],
    ids=str,
)
def test_a_bad_owner_is_refused_by_its_field(client: Client, owner: Owner, field: str) -> None:
    for call in _calls_of(client, owner):
        answer = refused(call)
        assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", [field])


@pytest.mark.parametrize("owner", [Owner(run_id=new_id()), Owner(version_id=new_id())], ids=["run", "version"])
def test_an_owner_that_nobody_knows_is_not_found(client: Client, owner: Owner) -> None:
    for call in _calls_of(client, owner):
        answer = refused(call)
        assert (answer.code, answer.reason, answer.resource) == ("NOT_FOUND", "OWNER_NOT_FOUND", "owner")


def _calls_of(client: Client, owner: Owner) -> list[Callable[[], object]]:
    return [
        lambda: client.write(owner, {"a": b"x"}),
        lambda: client.read(owner),
        lambda: client.list(owner),
        lambda: client.get(owner),
        lambda: client.delete(owner, "a"),
    ]


def test_a_deleted_run_can_be_read_but_not_written(client: Client, run: Owner) -> None:
    client.write(run, {"a": b"x"})
    client.runs.DeleteRun(tracking.DeleteRunRequest(run_id=run.run_id))

    answer = refused(lambda: client.write(run, {"b": b"y"}))

    assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", "RUN_DELETED")
    assert client.read(run) == {"a": b"x"}


def _header(path: str = "a", size: int = 0) -> Step:
    return Step(header=api.ArtifactHeader(path=path, size_bytes=size))


END = Step(sha256=EMPTY_SHA256)


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([_header()], "owner"),
        ([Step(content=b"x")], "owner"),
        ([Step()], "owner"),
        (["owner", Step(content=b"x")], "content"),
        (["owner", "owner", _header()], "owner"),
        (["owner", _header(), "owner"], "owner"),
        (["owner", _header(), Step()], "step"),
        (["owner", _header(size=PIECE + 1), Step(content=bytes(PIECE + 1))], "content"),
        (["owner", _header(size=-1)], "header.size_bytes"),
        (["owner", _header(), Step(sha256="x")], "sha256"),
        (["owner", _header(), Step(sha256="")], "sha256"),
        (["owner", _header(), _header("b"), END], "header"),
        (["owner", _header(), Step(sent_file_count=1)], "sent_file_count"),
        (["owner", END, _header()], "sha256"),
        (["owner", _header(), END, END], "sha256"),
        (["owner", _header(), END, Step(content=b"x")], "content"),
        (["owner", _header(), END, Step(sent_file_count=0)], "sent_file_count"),
        (["owner", _header(), END, Step(sent_file_count=2)], "sent_file_count"),
        (["owner", Step(sent_file_count=1)], "sent_file_count"),
        (["owner", _header(), END, Step(sent_file_count=1), Step(sent_file_count=1)], "sent_file_count"),
        (["owner", _header(), END, Step(sent_file_count=1), _header("b"), END, Step(sent_file_count=2)], "header"),
        (["owner", _header(), END, Step(sent_file_count=1), "owner"], "owner"),
        (["owner", _header(), END, Step(sent_file_count=1), Step()], "step"),
    ],
)
def test_a_stream_out_of_order_is_refused_by_its_field(
    client: Client, run: Owner, steps: list[Step | str], field: str
) -> None:
    answer = refused(lambda: client.send(step if isinstance(step, Step) else Step(owner=run) for step in steps))

    assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", [field])
    assert client.list(run) == []


def test_an_empty_stream_of_files_writes_nothing(client: Client, run: Owner) -> None:
    assert client.write(run, {}).file_count == 0
    assert client.list(run) == []


def test_content_that_is_not_what_was_announced_is_refused_with_both(client: Client, run: Owner) -> None:
    wrong = [_header("wrong", 3), Step(content=b"abc"), Step(sha256="0" * 64)]

    answer = refused(lambda: client.send([Step(owner=run)], file_steps("fine", BIG), wrong))

    assert (answer.code, answer.reason) == ("DATA_LOSS", "DIGEST_MISMATCH")
    assert answer.metadata == {"path": "wrong", "expected": "0" * 64, "actual": hashlib.sha256(b"abc").hexdigest()}
    assert client.list(run) == []


def test_a_header_without_the_size_of_its_content_is_refused_in_words(client: Client, run: Owner) -> None:
    unsized = [_header("a.txt"), Step(content=b"abc"), Step(sha256="0" * 64)]
    short = [_header("a.txt", 2), Step(content=b"abc"), Step(sha256="0" * 64)]

    without = refused(lambda: client.send([Step(owner=run)], unsized))
    wrong = refused(lambda: client.send([Step(owner=run)], short))

    assert (without.reason, wrong.reason) == ("DIGEST_MISMATCH", "DIGEST_MISMATCH")
    assert without.message == "size_bytes of 'a.txt' is 0, but content came; nothing was written"
    assert wrong.message == (
        "the announced size of 'a.txt' is 2 bytes, but that of its content is larger; nothing was written"
    )


def test_a_path_is_a_file_or_a_folder_but_not_both(client: Client, run: Owner) -> None:
    client.write(run, {"a": b"x"})

    answer = refused(lambda: client.write(run, {"z": b"y", "a/b": b"y"}))

    assert (answer.code, answer.reason, answer.metadata["path"]) == ("ALREADY_EXISTS", "ARTIFACT_KIND_CONFLICT", "a")
    assert client.list(run) == ["a"]


def test_a_message_over_the_limit_is_refused_and_the_server_lives(client: Client, run: Owner) -> None:
    steps = [Step(owner=run), _header(size=5 << 20), Step(content=bytes(5 << 20))]

    with pytest.raises(grpc.RpcError) as raised:
        client.send(steps)

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.list(run) == []


def test_a_cancelled_stream_leaves_nothing(client: Client, run: Owner) -> None:
    sent = threading.Event()
    go_on = threading.Event()

    def steps() -> Iterator[Step]:
        yield Step(owner=run)
        yield from file_steps("a", b"abc")
        yield from file_steps("big", BIG)
        sent.set()
        go_on.wait(30)

    call = client.artifacts.WriteArtifacts.future(steps())
    assert sent.wait(30)
    call.cancel()
    go_on.set()

    assert client.list(run) == []
    client.write(run, {"a": b"later"})
    assert client.read(run) == {"a": b"later"}


def test_clients_that_die_between_two_files_leave_nothing(deployment: Deployment, client: Client) -> None:
    owners = [client.new_run() for _ in range(20)]
    calls = []
    for owner in owners:
        channel = grpc.insecure_channel(deployment.addresses["artifacts"], [("grpc.use_local_subchannel_pool", 1)])
        sent, go_on = threading.Event(), threading.Event()

        def steps(owner: Owner = owner, sent: threading.Event = sent, go_on: threading.Event = go_on) -> Iterator[Step]:
            yield Step(owner=owner)
            yield from file_steps("a", b"abc")
            yield from file_steps("b", b"def")
            sent.set()
            go_on.wait(30)

        calls.append(api.ArtifactServiceStub(channel).WriteArtifacts.future(steps()))
        assert sent.wait(30)
        channel.close()
        go_on.set()

    for owner in owners:
        client.write(owner, {"last": b"x"})  # what a broken stream could still have written is written by now, or never
        assert client.list(owner) == ["last"]


def test_a_reader_that_goes_away_holds_nothing_up(client: Client, run: Owner) -> None:
    client.write(run, {f"f{n}": BIG for n in range(3)})

    for _ in range(10):
        reading = client.artifacts.ReadArtifacts(api.ReadArtifactsRequest(owner=run))
        next(reading)
        reading.cancel()

    assert client.read(run) == {f"f{n}": BIG for n in range(3)}


def test_many_small_files_go_in_one_stream(client: Client, run: Owner) -> None:
    content = {f"d{n % 10}/f{n}": b"%d" % n for n in range(3000)}

    client.write(run, content)

    assert client.read(run) == content
    assert client.get(run, "d3").file_count == 300


def test_names_that_differ_in_the_smallest_thing_are_two_files(client: Client, run: Owner) -> None:
    names = ["Model.pkl", "model.pkl", "\u00e9", "e\u0301", "con", "a.", "a", "a "]
    content = {name: b"%d" % number for number, name in enumerate(names)}

    client.write(run, content)

    assert client.read(run) == content
    assert client.list(run) == sorted(names, key=str.encode)


def test_streams_of_one_run_at_once_are_all_written(client: Client, run: Owner) -> None:
    together = threading.Barrier(5)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            together.wait(30)
            client.write(run, {f"d/{number}/{n}": b"%d" % n for n in range(50)} | {f"big{number}": BIG})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert client.get(run).file_count == 255
    expected = {f"d/{a}/{b}" for a, b in itertools.product(range(5), range(50))} | {f"big{n}" for n in range(5)}
    assert client.read(run).keys() == expected


@pytest.mark.parametrize(
    "content", [b"\x0a\x02\xff\xfe", b"\x0a\x7fshort", b"\xff\xff\xff"], ids=["not-utf8", "cut", "no"]
)
def test_a_message_that_can_not_be_read_is_refused_as_the_callers_mistake(
    deployment: Deployment, content: bytes
) -> None:
    channel, service = deployment.channel("artifacts"), "/modelry.api.artifacts.v1.ArtifactService"
    single: Any = channel.unary_unary(f"{service}/GetArtifact")
    upload: Any = channel.stream_unary(f"{service}/WriteArtifacts")
    download: Any = channel.unary_stream(f"{service}/ReadArtifacts")

    for call in (lambda: single(content), lambda: upload(iter([content])), lambda: list(download(content))):
        answer = refused(call)
        assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
