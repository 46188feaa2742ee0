"""What the files of a workspace take, and may take."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from modelry.api.artifacts import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.artifacts.conftest import Client, Owner, Step, file_steps, refused
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.quotas import set_quotas, workspace_with


@pytest.fixture
def usage(deployment: Deployment) -> Callable[[str], tuple[int, int]]:
    """Asks for the bytes and the number of the files of a workspace."""
    stub = deployment.stub(api.UsageServiceStub)

    def ask(workspace: str) -> tuple[int, int]:
        found = stub.GetUsage(api.GetUsageRequest(workspace=workspace)).usage
        return found.stored_bytes, found.file_count

    return ask


def test_each_file_counts_for_each_run_and_version_that_has_it(
    client: Client, usage: Callable[[str], tuple[int, int]]
) -> None:
    workspace = client.new_workspace()
    first, second = client.new_run(workspace), client.new_run(workspace)
    client.write(first, {"a/x.bin": bytes(100), "b.txt": b"hello"})
    client.write(second, {"a/x.bin": bytes(100)})

    client.freeze(new_id(), first, "a", workspace=workspace)
    with_version = usage(workspace)
    client.delete(first, "a")

    assert with_version == (305, 4)
    assert usage(workspace) == (205, 3)
    assert usage(client.new_workspace()) == (0, 0)


def test_the_usage_of_no_workspace_is_refused(deployment: Deployment) -> None:
    stub = deployment.stub(api.UsageServiceStub)

    missing = refused(lambda: stub.GetUsage(api.GetUsageRequest(workspace="nowhere")))
    unnamed = refused(lambda: stub.GetUsage(api.GetUsageRequest()))

    assert (missing.code, missing.reason) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND")
    assert (unnamed.code, unnamed.fields) == ("INVALID_ARGUMENT", ["workspace"])


def test_a_file_for_which_there_is_no_room_is_refused_with_the_numbers(deployment: Deployment, client: Client) -> None:
    workspace = workspace_with(deployment, stored_bytes=1000)
    run = client.new_run(workspace)
    client.write(run, {"first.bin": bytes(900)})

    refusal = refused(lambda: client.write(run, {"second.bin": bytes(101)}))
    client.write(run, {"third.bin": bytes(100)})

    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert refusal.metadata == {"workspace": workspace, "quota": "stored_bytes", "used": "900", "limit": "1000"}
    assert client.list(run) == ["first.bin", "third.bin"]


def test_a_quota_of_0_lets_no_byte_in(
    deployment: Deployment, client: Client, usage: Callable[[str], tuple[int, int]]
) -> None:
    workspace = workspace_with(deployment, stored_bytes=0)
    run = client.new_run(workspace)

    refusal = refused(lambda: client.write(run, {"first.bin": b"1"}))
    client.write(run, {"empty.bin": b""})

    assert refusal.metadata == {"workspace": workspace, "quota": "stored_bytes", "used": "0", "limit": "0"}
    assert usage(workspace) == (0, 1)


def test_a_stream_whose_later_file_has_no_room_writes_nothing(
    deployment: Deployment, client: Client, usage: Callable[[str], tuple[int, int]]
) -> None:
    workspace = workspace_with(deployment, stored_bytes=1000)
    run = client.new_run(workspace)

    refusal = refused(lambda: client.write(run, {f"{number}.bin": bytes(400) for number in range(3)}))
    client.write(run, {"whole.bin": bytes(1000)})

    assert (refusal.reason, refusal.metadata["used"]) == ("QUOTA_EXCEEDED", "800")
    assert (client.list(run), usage(workspace)) == (["whole.bin"], (1000, 1))


def test_a_file_that_has_begun_ends_although_the_quota_is_lower_by_now(deployment: Deployment, client: Client) -> None:
    workspace = workspace_with(deployment, stored_bytes=10_000)
    run, another = client.new_run(workspace), client.new_run(workspace)
    content, may_end, has_begun = bytes(2000), threading.Event(), threading.Event()

    def slowly() -> Iterator[Step]:
        yield Step(owner=run)
        yield Step(header=api.ArtifactHeader(path="slow.bin", size_bytes=len(content)))
        yield Step(content=content[:1000])
        has_begun.set()
        may_end.wait(30)
        yield Step(content=content[1000:])
        yield Step(sha256=hashlib.sha256(content).hexdigest())
        yield Step(sent_file_count=1)

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(client.send, slowly())
        has_begun.wait(30)
        client.write(another, {"small.bin": b"1"})  # on the same connection, so after the header of the slow one
        eventually(lambda: _holds_back(client, another))
        set_quotas(deployment, workspace, stored_bytes=100)
        eventually(lambda: not _is_written(client, another, 101))
        may_end.set()
        answer = ending.result(30)

    assert (answer.file_count, answer.size_bytes) == (1, 2000)
    assert client.read(run) == {"slow.bin": content}


def test_a_higher_quota_or_fewer_files_let_one_go_on(deployment: Deployment, client: Client) -> None:
    workspace = workspace_with(deployment, stored_bytes=1000)
    run = client.new_run(workspace)
    client.write(run, {"first.bin": bytes(1000)})
    refused(lambda: client.write(run, {"second.bin": bytes(10)}))

    client.delete(run, "first.bin")
    eventually(lambda: _is_written(client, run, 900))
    set_quotas(deployment, workspace, stored_bytes=2000)
    eventually(lambda: _is_written(client, run, 800, "third.bin"))

    assert client.list(run) == ["more.bin", "third.bin"]


def test_files_that_a_version_would_have_count_before_they_are_frozen(deployment: Deployment, client: Client) -> None:
    workspace = workspace_with(deployment, stored_bytes=1000)
    run = client.new_run(workspace)
    client.write(run, {"model/a.bin": bytes(600), "notes.txt": bytes(300)})
    version = new_id()

    refusal = refused(lambda: client.freeze(version, run, "model", workspace=workspace))

    assert (refusal.reason, refusal.metadata["used"]) == ("QUOTA_EXCEEDED", "900")
    assert refused(lambda: client.list(Owner(version_id=version))).reason == "OWNER_NOT_FOUND"


def test_of_many_who_write_at_once_as_many_get_in_as_there_is_room_for(
    deployment: Deployment, client: Client, usage: Callable[[str], tuple[int, int]]
) -> None:
    workspace = workspace_with(deployment, stored_bytes=10_000)
    runs = [client.new_run(workspace) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda run: _is_written(client, run, 3000), runs))

    assert sum(written) == 3
    assert usage(workspace) == (9000, 3)


def _is_written(client: Client, run: Owner, size: int, path: str = "more.bin") -> bool:
    """Writes a file; False if there is no room."""
    try:
        client.send([Step(owner=run)], file_steps(path, bytes(size)), [Step(sent_file_count=1)])
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    return True


def _holds_back(client: Client, run: Owner) -> bool:
    """Whether another stream has taken its room: what it holds can't be taken."""
    return not _is_written(client, run, 9000)
