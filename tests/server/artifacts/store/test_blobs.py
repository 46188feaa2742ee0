"""The contract of the object store, for each implementation of it."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from modelry_server.artifacts.errors import StoreUnavailable
from modelry_server.artifacts.store.blobs import PIECE, BlobMissing, Blobs, new_key
from modelry_server.artifacts.store.blobs import minio as minio_store
from modelry_server.artifacts.store.blobs.local import LocalBlobs
from modelry_server.artifacts.store.blobs.minio import MinioBlobs
from tests.parts import free_port
from tests.parts.minio import MinioServer

MiB = 1 << 20


def minio_blobs(server: MinioServer, bucket: str, **changes: str) -> MinioBlobs:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key, "region": "us-east-1"} | changes
    return MinioBlobs(server.address, bucket, secure=server.secure, connections=16, **keys)


@contextmanager
def slowed(server: MinioServer, bytes_per_s: int) -> Iterator[str]:
    """The address of a server behind a slow line."""
    host, port = server.address.rsplit(":", 1)
    pause = threading.Event()

    def forward(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while received := source.recv(64 << 10):
                target.sendall(received)
                pause.wait(len(received) / bytes_per_s)
            target.shutdown(socket.SHUT_WR)

    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client = stack.enter_context(listening.accept()[0])
                    behind = stack.enter_context(socket.create_connection((host, int(port))))
                    for ends in ((client, behind), (behind, client)):
                        threading.Thread(target=forward, args=ends, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(params=["local", "minio"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    """An empty store, once for each implementation."""
    if request.param == "local":
        store: Blobs = LocalBlobs(tmp_path / "blobs")
    else:
        server: MinioServer = request.getfixturevalue("minio_server")
        store = minio_blobs(server, server.new_bucket())
    yield store
    store.close()


def content(size: int) -> bytes:
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


def pieces(whole: bytes, size: int = PIECE) -> Iterator[bytes]:
    return (whole[at : at + size] for at in range(0, len(whole), size))


def stored_keys(blobs: Blobs) -> list[str]:
    return sorted(blob.key for blob in blobs.stored())


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 33 * MiB + 7])
def test_what_was_put_is_read_back(blobs: Blobs, size: int) -> None:
    key, whole = new_key(), content(size)

    blobs.put(key, pieces(whole), size)

    read = list(blobs.read(key))
    assert b"".join(read) == whole
    assert all(0 < len(piece) <= PIECE for piece in read)
    assert blobs.stat(key) == size
    assert stored_keys(blobs) == [key]


@pytest.mark.parametrize("offset", [1, 100, PIECE, PIECE + 5, 2 * PIECE - 1, 2 * PIECE])
def test_content_is_read_from_an_offset(blobs: Blobs, offset: int) -> None:
    key, whole = new_key(), content(2 * PIECE)
    blobs.put(key, pieces(whole), len(whole))

    assert b"".join(blobs.read(key, offset)) == whole[offset:]


def test_pieces_of_any_size_are_put_together(blobs: Blobs) -> None:
    key, whole = new_key(), content(100_000)

    blobs.put(key, itertools.chain([b""], pieces(whole, 777), [b""]), len(whole))

    assert b"".join(blobs.read(key)) == whole


def test_what_is_not_there_is_missing(blobs: Blobs) -> None:
    key = new_key()

    with pytest.raises(BlobMissing):
        list(blobs.read(key))
    with pytest.raises(BlobMissing):
        list(blobs.read(key, 5))
    assert blobs.stat(key) is None
    assert stored_keys(blobs) == []


def test_deleted_content_is_gone_and_deleting_it_again_is_fine(blobs: Blobs) -> None:
    key = new_key()
    blobs.put(key, [b"abc"], 3)

    blobs.delete(key)
    blobs.delete(key)

    assert blobs.stat(key) is None
    assert stored_keys(blobs) == []


@pytest.mark.parametrize("before", [0, 3 * PIECE, 40 * MiB])
def test_a_put_that_breaks_off_leaves_nothing_and_raises_what_its_source_raised(blobs: Blobs, before: int) -> None:
    class BrokenOff(Exception):
        pass

    def breaking() -> Iterator[bytes]:
        yield from pieces(content(before))
        raise BrokenOff

    key = new_key()
    with pytest.raises(BrokenOff):
        blobs.put(key, breaking(), 64 * MiB)

    assert blobs.stat(key) is None
    assert stored_keys(blobs) == []


def test_nothing_is_visible_before_all_is_there(blobs: Blobs) -> None:
    seen: list[object] = []

    def watched() -> Iterator[bytes]:
        for piece in pieces(content(20 * MiB)):
            yield piece
            if len(seen) < 5:
                seen.append(blobs.stat(key))

    key = new_key()
    blobs.put(key, watched(), 20 * MiB)

    assert seen == [None] * 5
    assert blobs.stat(key) == 20 * MiB


def test_no_more_is_read_than_was_announced(blobs: Blobs) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    key = new_key()
    blobs.put(key, endless(), 20_000)

    assert blobs.stat(key) == 20_000


def test_a_reader_that_stops_holds_nothing_up(blobs: Blobs) -> None:
    key = new_key()
    blobs.put(key, pieces(content(4 * PIECE)), 4 * PIECE)

    for _ in range(40):
        reading = blobs.read(key)
        next(reading)
        reading.close()  # type: ignore[attr-defined]

    assert len(b"".join(blobs.read(key))) == 4 * PIECE


def test_many_threads_put_read_and_delete_at_once(blobs: Blobs) -> None:
    def work(number: int) -> str | None:
        key, whole = new_key(), content(number * 1000)
        blobs.put(key, pieces(whole), len(whole))
        assert b"".join(blobs.read(key)) == whole
        if number % 2:
            blobs.delete(key)
            return None
        return key

    with ThreadPoolExecutor(16) as pool:
        left = [key for key in pool.map(work, range(1, 61)) if key]

    assert stored_keys(blobs) == sorted(left)


def test_what_is_stored_is_listed_with_its_time(blobs: Blobs) -> None:
    keys = [new_key() for _ in range(20)]
    begun = time.time_ns() // 1_000_000
    for key in keys:
        blobs.put(key, [b"abc"], 3)

    found = list(blobs.stored())

    assert sorted(blob.key for blob in found) == sorted(keys)
    assert all(begun - 2000 <= blob.modify_time <= begun + 60_000 for blob in found)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "ab/cd", "A" * 32, "a" * 31, "a" * 32 + "\n"])
def test_only_keys_of_the_right_form_name_objects(blobs: Blobs, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: blobs.put(name, [b"x"], 1),
        lambda: list(blobs.read(name)),
        lambda: blobs.stat(name),
        lambda: blobs.delete(name),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="is not a key"):
            call()


def test_a_missing_bucket_is_made_also_by_two_at_once(minio_server: MinioServer) -> None:
    name = f"{minio_server.new_bucket()}-made"
    stores = [minio_blobs(minio_server, name) for _ in range(4)]
    together = threading.Barrier(4)

    def put(store: MinioBlobs) -> None:
        together.wait(10)
        store.put(new_key(), [b"abc"], 3)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, stores))

    assert len(stored_keys(stores[0])) == 4
    for store in stores:
        store.close()


def test_a_store_that_refuses_is_unavailable_and_shows_no_secret(minio_server: MinioServer) -> None:
    store = minio_blobs(minio_server, minio_server.new_bucket(), secret_key="wrong-secret-of-mine")

    for call in (
        lambda: store.put(new_key(), [b"x"], 1),
        lambda: list(store.read(new_key())),
        lambda: list(store.stored()),
    ):
        with pytest.raises(StoreUnavailable) as refused:
            call()
        assert "wrong-secret-of-mine" not in refused.value.message
    store.close()


def test_a_store_that_does_not_answer_is_unavailable_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    store = MinioBlobs(
        f"127.0.0.1:{free_port()}",
        "bucket",
        access_key="a",
        secret_key="b",
        region="us-east-1",
        secure=False,
        connections=2,
    )

    for call in (
        lambda: store.put(new_key(), [b"x"], 1),
        lambda: list(store.read(new_key())),
        lambda: store.stat(new_key()),
        lambda: store.delete(new_key()),
    ):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            call()
    store.close()

    [record] = [each for each in caplog.records if each.getMessage() == "blobs.failed"]
    assert "Connection refused" in record.__dict__["modelry_fields"]["cause"]
    assert not record.exc_info


def test_a_request_to_a_store_that_hangs_ends_and_is_not_repeated(
    own_minio_server: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minio_store, "_WAIT_S", 2)
    store = minio_blobs(own_minio_server, own_minio_server.new_bucket())
    key = new_key()
    store.put(key, [b"abc"], 3)

    took = []
    with own_minio_server.paused():
        for call in (
            lambda: store.put(new_key(), pieces(content(16 * MiB)), 16 * MiB),
            lambda: list(store.read(key)),
            lambda: store.delete(key),
        ):
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable, match="does not answer"):
                call()
            took.append(time.monotonic() - begun)

    assert all(1.5 < seconds < 3.5 for seconds in took), took
    assert list(store.read(key)) == [b"abc"]
    store.close()


def test_a_part_may_take_longer_than_opening_a_connection(minio_server: MinioServer) -> None:
    size = 16 * MiB  # one part
    with slowed(minio_server, 2 * MiB) as address:
        store = minio_blobs(replace(minio_server, endpoint=f"http://{address}"), minio_server.new_bucket())
        key = new_key()
        begun = time.monotonic()
        store.put(key, pieces(content(size)), size)
        took = time.monotonic() - begun
        store.close()

    direct = minio_blobs(minio_server, store._bucket)
    assert took > minio_store._CONNECT_S
    assert direct.stat(key) == size
    direct.close()
