"""What is taken away is gone everywhere within five seconds: two processes of each service, on one PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.targets import ROOMS
from tests.parts.deployment import Deployment, running
from tests.parts.locked import Locked, Who
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import unpacked
from tests.server.every_rpc import CONTENT, make

WITHIN_S = 5.0
"""What is promised."""
STREAMS, CALLERS = 200, 50
BEFORE_S = 1.0  # all have worked for so long before something is taken away
AFTER_S = 8.0  # all go on trying for so long after it


@dataclass
class Twins:
    """Two of each service. The first ones are those that the administrator asks."""

    locked: Locked
    channels: dict[str, list[grpc.Channel]]
    """By service, one to each process."""
    workspace: str
    experiment_id: str
    run_id: str


@pytest.fixture(scope="module")
def twins(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """Eight processes on one database, with the service key and the folder of content in common."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres_server.database())
        folder = tmp_path_factory.mktemp("twins")
        common = {
            "server.authentication": "required",
            "server.service-key": "for-tests-" + "0123456789abcdef" * 2,
            "artifacts.local-folder": str(folder / "content"),
        }
        urls = dict.fromkeys(ROOMS, url)
        first = stack.enter_context(running("split", folder / "first", urls, common))
        second = stack.enter_context(running("split", folder / "second", urls, common))
        locked = Locked(first)
        things = make(lambda rpc, message: locked.call(rpc, message, locked.admin.metadata))
        channels: dict[str, list[grpc.Channel]] = {room: [] for room in ROOMS}
        for room in ROOMS:
            for each in (first, second):
                channels[room] += [stack.enter_context(_channel(each, room)) for _ in range(STREAMS // 50)]
        yield Twins(locked, channels, things.workspace, things.experiment_id, things.run_id)


def _channel(deployment: Deployment, room: str) -> grpc.Channel:
    """A connection of its own: one may not have all streams of a server."""
    return grpc.insecure_channel(deployment.addresses[room], options=[("grpc.use_local_subchannel_pool", 1)])


@dataclass
class Seen:
    """When callers last succeeded, by what they did, and what they are told now."""

    last: dict[str, float] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def success(self, what: str) -> None:
        """Notes a success."""
        now = time.monotonic()
        with self.lock:
            self.last[what] = max(now, self.last.get(what, 0.0))

    def refused(self, what: str, error: Any) -> None:
        """Notes a refusal."""
        with self.lock:
            self.told[f"{what}: {unpacked(error).reason or error.code().name}"] += 1


def _calls(twins: Twins, who: Who) -> dict[str, Callable[[int], Any]]:
    """One unary call of each service, to one of its processes by a number."""

    def method(room: str, stub: Any, rpc: str, request: Any) -> Callable[[int], Any]:
        channels = twins.channels[room]
        methods = [getattr(stub(each), rpc) for each in channels]
        return lambda number: methods[number % len(methods)](request, timeout=20, metadata=who.metadata)

    owner = artifacts.ArtifactOwner(run_id=twins.run_id)
    return {
        "access": method(
            "access", access.WorkspaceServiceStub, "GetWorkspace", access.GetWorkspaceRequest(name=twins.workspace)
        ),
        "tracking": method("tracking", tracking.RunServiceStub, "GetRun", tracking.GetRunRequest(run_id=twins.run_id)),
        "artifacts": method(
            "artifacts", artifacts.ArtifactServiceStub, "ListArtifacts", artifacts.ListArtifactsRequest(owner=owner)
        ),
        "registry": method(
            "registry",
            registry.ModelServiceStub,
            "SearchModels",
            registry.SearchModelsRequest(workspace=twins.workspace),
        ),
    }


class Upload:
    """A stream that stays open: an upload that sends a little again and again, until the server ends it."""

    def __init__(self, channel: grpc.Channel, run_id: str, who: Who, path: str) -> None:
        self._go_on = threading.Event()
        self._owner = artifacts.ArtifactOwner(run_id=run_id)
        self._path = path
        self.call = artifacts.ArtifactServiceStub(channel).WriteArtifacts.future(
            self._steps(), metadata=who.metadata, timeout=120
        )

    def _steps(self) -> Iterator[artifacts.WriteArtifactsRequest]:
        yield artifacts.WriteArtifactsRequest(owner=self._owner)
        header = artifacts.ArtifactHeader(path=self._path, size_bytes=1 << 20)
        yield artifacts.WriteArtifactsRequest(header=header)
        while not self._go_on.wait(0.5):
            yield artifacts.WriteArtifactsRequest(content=CONTENT)

    def end(self) -> None:
        """Lets go of it."""
        self._go_on.set()
        self.call.cancel()


def _revoke(twins: Twins, who: Who, _: str) -> None:
    twins.locked.revoke(who)


def _disable(twins: Twins, who: Who, _: str) -> None:
    twins.locked.disable(who)


def _unbind(twins: Twins, _: Who, binding: str) -> None:
    twins.locked.ask("access.v1.RoleService/DeleteRoleBinding", access.DeleteRoleBindingRequest(binding_id=binding))


TAKEN = {"token revoked": _revoke, "role removed": _unbind, "principal disabled": _disable}


@pytest.mark.parametrize("how", sorted(TAKEN))
def test_a13_the_last_success_is_five_seconds_after_it_was_taken_away_at_most(twins: Twins, how: str) -> None:
    who = twins.locked.somebody()
    other = twins.locked.somebody("writer", access.Place(workspace=twins.workspace))
    binding = twins.locked.bind(who.principal_id, "writer", access.Place(workspace=twins.workspace))
    seen, others, stop = Seen(), Seen(), threading.Event()
    channels = twins.channels["artifacts"]
    uploads = [
        Upload(channels[number % len(channels)], twins.run_id, who, f"open/{how.replace(' ', '-')}-{number}.bin")
        for number in range(STREAMS)
    ]

    def ask(number: int) -> None:
        mine, known = (who, seen) if number < CALLERS else (other, others)
        calls = _calls(twins, mine)
        while not stop.is_set():
            for room, call in calls.items():
                number += 1
                try:
                    call(number)
                except grpc.RpcError as error:
                    known.refused(room, error)
                else:
                    known.success(room)
            stop.wait(0.1)

    with ThreadPoolExecutor(CALLERS + 2) as pool:
        try:
            asking = [pool.submit(ask, number) for number in range(CALLERS + 2)]
            stop.wait(BEFORE_S)
            opened = [upload for upload in uploads if not upload.call.done()]
            told_before = dict(seen.told)
            begun = time.monotonic()
            TAKEN[how](twins, who, binding)
            ends: list[float] = []
            for upload in opened:
                with suppress(grpc.FutureTimeoutError):
                    upload.call.exception(timeout=max(0.0, begun + AFTER_S - time.monotonic()))
                    ends.append(time.monotonic() - begun)
            stop.wait(max(0.0, begun + AFTER_S - time.monotonic()))
        finally:
            stop.set()
            for upload in uploads:
                upload.end()
        for each in asking:
            each.result()

    late = {room: round(last - begun, 2) for room, last in seen.last.items()}
    print(f"{how}: last success {late}, streams ended {len(ends)} of {len(opened)} by {max(ends, default=0):.2f} s")
    assert len(opened) == STREAMS, unpacked(next(each.call for each in uploads if each not in opened).exception())
    assert told_before == {}
    assert set(late) == set(ROOMS)
    assert max(late.values()) <= WITHIN_S, late
    assert len(ends) == STREAMS
    assert max(ends) <= WITHIN_S
    assert others.told == Counter()
    assert all(last > begun + WITHIN_S for last in others.last.values())
