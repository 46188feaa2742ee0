"""Killed clients, killed servers, missing services: what was acknowledged is there, and of a stream all or nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from modelry._sdk.files import local_files, transfer
from modelry._sdk.files.transfer import Progress
from modelry._sdk.transport.connection import connect
from modelry.api.artifacts import v1 as api
from modelry.errors import Unavailable
from modelry_server.targets import ROOMS
from tests.contract.artifacts.conftest import Client, Owner, refused
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.minio import MinioServer
from tests.parts.postgres import PostgresServer

Answer = TypeVar("Answer")

# Opens a stream for each owner, sends two whole files on each, says so, and waits to be killed.
DYING_CLIENT = """
import hashlib, sys, threading
import grpc
from modelry.api.artifacts import v1 as api

Step = api.WriteArtifactsRequest
never = threading.Event()
sent = threading.Semaphore(0)

def steps(run_id):
    yield Step(owner=api.ArtifactOwner(run_id=run_id))
    for path in ("a", "b"):
        yield Step(header=api.ArtifactHeader(path=path, size_bytes=3))
        yield Step(content=b"abc")
        yield Step(sha256=hashlib.sha256(b"abc").hexdigest())
    sent.release()
    never.wait()

stub = api.ArtifactServiceStub(grpc.insecure_channel(sys.argv[1]))
calls = [stub.WriteArtifacts.future(steps(run_id)) for run_id in sys.argv[2:]]
for _ in calls:
    sent.acquire()
print("sent", flush=True)
never.wait()
"""


@pytest.fixture(params=["all-sqlite", "split-postgres"])
def fragile(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment of the test's own, whose processes it may kill."""
    name, database = request.param.split("-")
    with contextlib.ExitStack() as stack:
        urls: dict[str, str] = {}
        if database == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            urls = dict.fromkeys(ROOMS, stack.enter_context(server.database()))
        yield stack.enter_context(deployments.running(name, tmp_path / "platform", urls))


def test_a_client_that_is_killed_between_two_files_leaves_nothing(fragile: Deployment) -> None:
    client = Client(fragile)
    owners = [client.new_run() for _ in range(20)]
    ids = [owner.run_id for owner in owners]
    command = [sys.executable, "-c", DYING_CLIENT, fragile.addresses["artifacts"], *ids]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout
        assert dying.stdout.readline() == "sent\n"
        dying.kill()

    for owner in owners:
        client.write(owner, {"last": b"x"})
        assert client.list(owner) == ["last"]


def test_a_server_that_is_killed_keeps_what_it_acknowledged_and_no_half_of_a_stream(fragile: Deployment) -> None:
    client = Client(fragile)
    owners = [client.new_run() for _ in range(4)]
    acknowledged: dict[str, list[int]] = {owner.run_id: [] for owner in owners}
    enough = threading.Event()

    def files(number: int) -> dict[str, bytes]:
        return {f"{number}/small{n}": b"%d-%d" % (number, n) for n in range(10)} | {
            f"{number}/big": bytes(300_000) + b"%d" % number
        }

    def load(owner: Owner) -> None:
        for number in range(10_000):
            try:
                client.write(owner, files(number))
            except grpc.RpcError:
                return
            acknowledged[owner.run_id].append(number)
            if sum(map(len, acknowledged.values())) >= 40:
                enough.set()

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, owner) for owner in owners]
        assert enough.wait(60)
        fragile.kill(fragile.target_of("artifacts"))
        for each in loads:
            each.result()
    fragile.start()

    for owner in owners:
        found = client.read(owner)
        streams = {int(path.split("/")[0]) for path in found}
        assert streams >= set(acknowledged[owner.run_id])
        assert found == {path: content for number in streams for path, content in files(number).items()}
        assert client.get(owner).file_count == len(found)


LARGE = 300 * 2**20
MODELS = {
    "two large files": {"weights.0": LARGE, "weights.1": LARGE},
    "3000 small files": {f"d{number % 30}/{number}": 10 for number in range(3000)},
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the files of a model; each file has content of its own."""
    folder = tmp_path / "model"
    for name, size in MODELS[request.param].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(name.encode().ljust(10))
            file.truncate(size)
    return folder


def test_a_reader_sees_all_files_of_a_model_or_none(fragile: Deployment, model: Path) -> None:
    client, run = Client(fragile), Client(fragile).new_run()
    sizes = {path.relative_to(model).as_posix(): path.stat().st_size for path in model.rglob("*") if path.is_file()}
    seen: set[int] = set()

    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(upload, fragile, run, model)
        while not uploading.done():
            seen.add(client.get(run).file_count)
        uploading.result()

    assert seen <= {0, len(sizes)}
    assert 0 in seen
    assert {artifact.path: artifact.size_bytes for artifact in client.everything(run)} == sizes


def test_of_a_model_that_is_uploaded_to_a_killed_server_nothing_is_there(fragile: Deployment, model: Path) -> None:
    client, run = Client(fragile), Client(fragile).new_run()
    total = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    half = threading.Event()

    def progress(done: int, total: int) -> None:
        if done > total / 2:
            half.set()

    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(upload, fragile, run, model, progress)
        assert half.wait(60)
        fragile.kill(fragile.target_of("artifacts"))
        with pytest.raises(Unavailable):
            uploading.result()
    fragile.start()

    assert _answered(lambda: client.get(run)).file_count == 0
    upload(fragile, run, model)
    assert client.get(run).size_bytes == total


def upload(deployment: Deployment, owner: Owner, folder: Path, progress: Progress | None = None) -> None:
    """Uploads a folder as the SDK does."""
    connection = connect(deployment.addresses["artifacts"])
    transfer.upload_files(connection, f"runs/{owner.run_id}", local_files.found(folder, ""), progress)


def test_files_are_read_but_not_written_while_tracking_is_away(tmp_path: Path) -> None:
    with deployments.running("split", tmp_path / "platform") as fragile:
        client = Client(fragile)
        run = client.new_run()
        client.write(run, {"a": b"abc"})
        fragile.kill("tracking")

        assert client.read(run) == {"a": b"abc"}
        assert client.list(run) == ["a"]
        snapshot = client.freeze("0" * 32, run)
        assert snapshot.file_count == 1
        answer = refused(lambda: client.write(run, {"b": b"x"}))
        assert (answer.code, answer.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
        assert answer.metadata["service"] == "tracking"

        fragile.start("tracking")
        assert _answered(lambda: client.write(run, {"b": b"x"})).file_count == 1


def _answered(call: Callable[[], Answer]) -> Answer:
    """Makes a call again, as clients do, until the service that was away is found again."""
    until = time.monotonic() + 10
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if time.monotonic() > until or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


def test_files_on_an_object_store_are_written_and_read_through_the_whole_platform(
    tmp_path: Path, minio_server: MinioServer
) -> None:
    settings = {
        "artifacts.store": "minio",
        "artifacts.s3-endpoint": minio_server.address,
        "artifacts.s3-bucket": minio_server.new_bucket(),
        "artifacts.s3-access-key": minio_server.access_key,
        "artifacts.s3-secret-key": minio_server.secret_key,
        "artifacts.s3-secure": str(minio_server.secure).lower(),
    }
    with deployments.running("all", tmp_path / "platform", settings=settings) as platform:
        client = Client(platform)
        run = client.new_run()
        content = {"small": b"abc", "empty": b"", "big": bytes(range(256)) * 100_000}
        client.write(run, content)

        assert client.read(run) == content
        assert client.read(run, "big", 20_000_000) == {"big": content["big"][20_000_000:]}
        assert not (platform.folder / "blobs").exists()
        assert client.get(run, "big").kind == api.ARTIFACT_KIND_FILE
