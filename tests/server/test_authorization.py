"""Every rpc of tracking, artifacts and the registry asks whether its caller may, and tells a stranger nothing of what
exists.

All services run in one process on databases of their own, with a judge that the test holds. Callers are known by their
names here: who is recognised, and how, is tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from modelry_server.config import Config
from modelry_server.databases import database
from modelry_server.kernel.access import ALL, Kind, Open, Place, Within, rest_of
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.config import load
from modelry_server.permissions import PERMISSIONS
from modelry_server.permissions import Permission as P
from modelry_server.targets import ROOMS, build
from tests.architecture.tree import rpcs
from tests.parts.refusal import Refusal, unpacked
from tests.parts.vouched import vouched
from tests.server.every_rpc import BUILD, OTHER_WAYS, Request, Things, absent, make

KEY = "the-key-of-the-services-in-this-test"
ALL_RPCS = dict(rpcs())
RPCS = {rpc: method for rpc, method in ALL_RPCS.items() if rpc.split(".")[2] != "access"}
"""The rpcs of the services that ask access; those of access itself are tested there."""
TELLS_UNKNOWN = {"/modelry.api.tracking.v1.RunService/LogHeartbeats"}
"""What answers, for many things at once, which of them are unknown: to a stranger, all."""
INTERNAL = {rpc for rpc in RPCS if PERMISSIONS[rpc] == Kind.SERVICE}
"""What only services can call, which may learn what exists."""
HIDING = sorted(set(RPCS) - TELLS_UNKNOWN - INTERNAL)
OF_WORKSPACE = {
    f"/modelry.api.{rpc}"
    for rpc in (
        "tracking.v1.ExperimentService/CreateExperiment",
        "tracking.v1.ExperimentService/SearchExperiments",
        "tracking.v1.RunService/SearchRuns",
        "tracking.v1.DatasetService/GetDataset",
        "tracking.v1.DatasetService/SearchDatasets",
        "registry.v1.ModelService/CreateModel",
        "registry.v1.ModelService/SearchModels",
        "registry.v1.VersionService/SearchVersions",
        "registry.v1.EventService/ListEvents",
        "tracking.v1.UsageService/GetUsage",
        "artifacts.v1.UsageService/GetUsage",
        "registry.v1.UsageService/GetUsage",
    )
}
"""What is about a workspace as a whole. All else is about something in an experiment or in a model."""


@dataclass
class Judge(Open):
    """Says what a caller may do: everything or, while it is refusing, nothing. Notes what it was asked."""

    is_refusing: bool = False
    asked: list[tuple[Caller, str, Place]] = field(default_factory=list)

    def may(self, caller: Caller, permission: str, place: Place) -> bool:
        """Whether a caller has a permission at a place."""
        self.asked.append((caller, permission, place))
        return not self.is_refusing and super().may(caller, permission, place)

    def sees(self, caller: Caller, place: Place) -> bool:
        """Whether a caller has any role at a place."""
        return not self.is_refusing

    def within(self, caller: Caller, permission: str, workspace: str) -> Within:
        """All of a workspace, or nothing."""
        return ALL if self.may(caller, permission, Place(workspace)) else Within(is_all=False)

    def workspaces(self, caller: Caller) -> frozenset[str] | None:
        """All, or none."""
        return frozenset() if self.is_refusing else None

    def anywhere(self, caller: Caller, permission: str) -> bool:
        """Everywhere, or nowhere."""
        return not self.is_refusing


@dataclass
class Platform:
    """The platform at work in this process, and who judges."""

    judge: Judge
    public: grpc.Channel
    internal: Mapping[str, grpc.Channel]

    def call(self, rpc: str, request: Request) -> Any:
        """The answer of an rpc; a list if it is a stream. Raises grpc.RpcError."""
        method = ALL_RPCS[rpc]
        _, side, room, *_ = rpc.split(".")
        channel: Any = self.public if side == "api" else self.internal[room]
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
        callable_ = getattr(channel, kind)(
            rpc,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        metadata = [("modelry-subject", "ann")] + ([*vouched(KEY, room)] if side == "internal" else [])
        answer = callable_(iter(request) if isinstance(request, list) else request, timeout=30, metadata=metadata)
        return list(answer) if method.server_streaming else answer

    def refused(self, rpc: str, request: Request) -> Refusal | None:
        """Why an rpc is refused; None if it is not."""
        try:
            self.call(rpc, request)
        except grpc.RpcError as error:
            return unpacked(error)
        return None

    def refused_to_a_stranger(self, rpc: str, request: Request) -> Refusal | None:
        """Why an rpc is refused to somebody who has no rights at all."""
        self.judge.is_refusing = True
        try:
            return self.refused(rpc, request)
        finally:
            self.judge.is_refusing = False


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """All services in this process."""
    folder: Path = tmp_path_factory.mktemp("platform")
    flags = {"server.data-folder": str(folder), "server.listen": "127.0.0.1:0", "server.service-key": KEY}
    config = load(Config, environment={}, flags=flags)
    for room in ROOMS:
        db = database(config, room)
        db.upgrade()
        db.close()
    judge = Judge()
    server = build("all", config, judge=judge)
    server.start()
    internal = {room: grpc.insecure_channel(address) for room, address in server.internal.items()}
    public = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    try:
        yield Platform(judge, public, internal)
    finally:
        for channel in (public, *internal.values()):
            channel.close()
        server.stop()


@pytest.fixture(scope="module")
def things(platform: Platform) -> Things:
    """One of everything, which exists as long as nobody with rights changes it."""
    return make(platform.call)


def told(refusal: Refusal | None, of: Things) -> Refusal | None:
    """What a refusal says, with the name of each thing in place of its value."""
    if refusal is None:
        return None
    names = {value: f"<{name}>" for name, value in asdict(of).items()}

    def named(text: str) -> str:
        for value, name in sorted(names.items(), key=lambda item: -len(item[0])):
            text = text.replace(value, name)
        return text

    return Refusal(
        refusal.code,
        named(refusal.message),
        refusal.reason,
        refusal.domain,
        {key: named(value) for key, value in refusal.metadata.items()},
        {key: named(value) for key, value in refusal.violations.items()},
        (refusal.resource[0], named(refusal.resource[1])),
        {key: named(value) for key, value in refusal.unmet.items()},
        refusal.retry,
    )


def place_of(rpc: str, things: Things) -> Place:
    """Where the thing lies that a request is about."""
    _, side, room, *_ = rpc.split(".")
    if rpc in OF_WORKSPACE:
        return Place(things.workspace)
    if room == "registry" or side == "internal":
        return Place(things.workspace, model_id=things.model_id)
    return Place(things.workspace, experiment_id=things.experiment_id)


def needed_by(rpc: str, things: Things) -> set[tuple[str, Place]]:
    """What the caller of an rpc must be allowed, and where."""
    of_model = Place(things.workspace, model_id=things.model_id)
    of_experiment = Place(things.workspace, experiment_id=things.experiment_id)
    name = rpc.rpartition("/")[2]
    if name == "CreateSnapshot":  # for whom the registry acts
        return {(Kind.SERVICE, of_model), (P.VERSIONS_CREATE, of_model), (P.FILES_READ, of_experiment)}
    needed: set[tuple[str, Place]] = {(PERMISSIONS[rpc], place_of(rpc, things))}
    if name == "GetDataset":  # what no role at a part of the workspace gives
        needed = {(PERMISSIONS[rpc], rest_of(things.workspace))}
    if name == "PromoteVersion":  # to Staging, see StagePolicy.permission
        needed.add((P.VERSIONS_STAGE, of_model))
    if name == "CreateEvaluation":
        needed.add((P.MODELS_READ, of_model))
    return needed


def asked_of(platform: Platform, rpc: str, request: Request) -> list[tuple[str, Place]]:
    """What is asked about the caller of an rpc, without what other services ask on the way."""
    platform.judge.asked.clear()
    refusal = platform.refused(rpc, request)
    assert refusal is None or refusal.code == "FAILED_PRECONDITION", refusal
    is_internal = rpc in INTERNAL
    return [
        (permission, place) for caller, permission, place in platform.judge.asked if caller.is_service == is_internal
    ]


def test_there_is_a_request_for_every_rpc_of_every_contract() -> None:
    assert set(BUILD) == set(ALL_RPCS)


@pytest.mark.parametrize("rpc", HIDING)
def test_a09_a_stranger_hears_of_what_exists_what_everybody_hears_of_what_does_not(
    platform: Platform, things: Things, rpc: str
) -> None:
    nothing = absent()

    stranger = told(platform.refused_to_a_stranger(rpc, BUILD[rpc](things)), things)
    stranger_of_nothing = told(platform.refused_to_a_stranger(rpc, BUILD[rpc](nothing)), nothing)
    everybody_of_nothing = told(platform.refused(rpc, BUILD[rpc](nothing)), nothing)

    assert stranger is not None, "was answered"
    assert (stranger.code, stranger.violations) == ("NOT_FOUND", {})
    assert stranger == stranger_of_nothing
    assert stranger == everybody_of_nothing


@pytest.mark.parametrize("rpc", sorted(INTERNAL))
def test_an_internal_rpc_is_judged_too_although_its_caller_has_the_key(
    platform: Platform, things: Things, rpc: str
) -> None:
    refusal = platform.refused_to_a_stranger(rpc, BUILD[rpc](things))

    assert refusal is not None, "was answered"
    assert refusal.code == "NOT_FOUND"


def test_all_runs_are_unknown_to_a_stranger(platform: Platform, things: Things) -> None:
    (rpc,) = TELLS_UNKNOWN
    before = _seen(platform, things)
    platform.judge.is_refusing = True
    try:
        answer = platform.call(rpc, BUILD[rpc](things))
    finally:
        platform.judge.is_refusing = False

    assert list(answer.unknown_run_ids) == [things.run_id]
    assert answer.ByteSize() == platform.call(rpc, BUILD[rpc](absent())).ByteSize()
    assert _seen(platform, things) == before


@pytest.mark.parametrize("rpc", sorted(RPCS))
def test_each_rpc_asks_for_the_permission_of_the_table_where_its_thing_lies_and_for_what_it_needs_besides(
    platform: Platform, rpc: str
) -> None:
    things = make(platform.call)

    asked = asked_of(platform, rpc, BUILD[rpc](things))

    assert set(asked) == needed_by(rpc, things)


@pytest.mark.parametrize("way", sorted(OTHER_WAYS))
def test_a_thing_that_is_named_in_another_way_lies_in_its_model_too(
    platform: Platform, things: Things, way: str
) -> None:
    rpc, build = OTHER_WAYS[way]

    asked = asked_of(platform, rpc, build(things))

    assert set(asked) == {(PERMISSIONS[rpc], Place(things.workspace, model_id=things.model_id))}


@pytest.mark.parametrize("rpc", [*HIDING, *sorted(INTERNAL)])
def test_a_stranger_changes_nothing(platform: Platform, things: Things, rpc: str) -> None:
    before = _seen(platform, things)

    platform.refused_to_a_stranger(rpc, BUILD[rpc](things))

    assert _seen(platform, things) == before


def _seen(platform: Platform, things: Things) -> list[Any]:
    """What everybody sees of the things."""
    reading = [rpc for rpc in HIDING if rpc.rpartition("/")[2].startswith(("Get", "List", "Read", "Search"))]
    return [platform.call(rpc, BUILD[rpc](things)) for rpc in reading]
