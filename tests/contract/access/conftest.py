"""Access with callers who are known, through the contract alone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from modelry.api.access import v1 as api
from modelry_server.targets import ROOMS
from tests.architecture.tree import rpcs
from tests.conftest import DEPLOYMENTS
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, Metadata, Who, locked
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import Refusal, unpacked

UNKNOWN = b"\xa2\x1f\x05later"
"""The field 500, which no message has, as it arrives: one of a later release."""
RPC_OF = {method.input_type.full_name: rpc for rpc, method in rpcs()}


class World:
    """A platform that knows its callers. Without `by` the administrator calls."""

    def __init__(self, platform: Locked) -> None:
        self.locked = platform
        self.admin = platform.admin

    def ask(self, request: Any, by: Who | Metadata | None = None) -> Any:
        """The answer to a request; a list if it is a stream."""
        first = request[0] if isinstance(request, Sequence) else request
        metadata = by.metadata if isinstance(by, Who) else self.admin.metadata if by is None else by
        return self.locked.call(RPC_OF[first.DESCRIPTOR.full_name], request, metadata)

    def refusal(self, request: Any, by: Who | Metadata | None = None) -> Refusal | None:
        """Why a request is refused; None if it is answered."""
        try:
            self.ask(request, by)
        except grpc.RpcError as error:
            return unpacked(error)
        return None

    def refused(self, request: Any, by: Who | Metadata | None = None) -> Refusal:
        """Why a request is refused, as it must be."""
        found = self.refusal(request, by)
        assert found is not None, f"was not refused: {request}"
        return found

    def soon(self, request: Any, by: Who | Metadata | None = None) -> Any:
        """The answer to a request that is answered after a change which others hear of within five seconds."""
        eventually(lambda: self.refusal(request, by) is None, within_s=5)
        return self.ask(request, by)

    def soon_refused(self, request: Any, by: Who | Metadata | None = None) -> Refusal:
        """Why a request is refused after a change which others hear of within five seconds."""
        return eventually(lambda: self.refusal(request, by), within_s=5) or Refusal("", "")

    def principal(self, **fields: Any) -> api.Principal:
        """A new principal; by default a service account."""
        given = {"kind": api.PRINCIPAL_KIND_SERVICE_ACCOUNT, "name": unique("job"), **fields}
        found: api.Principal = self.ask(api.CreatePrincipalRequest(**given)).principal
        return found

    def owned(self, by: Who, role: str = "") -> str:
        """The id of a new service account that somebody owns, perhaps with a role for the whole installation."""
        made = self.principal(owner_id=by.principal_id).principal_id
        if role:
            self.locked.bind(made, role)
        return made

    def group(self, *members: str, groups: Sequence[str] = (), name: str = "") -> str:
        """A new group with principals and groups in it; its name."""
        name = name or unique("group")
        self.ask(api.CreateGroupRequest(name=name))
        given = [api.GroupMember(principal_id=each) for each in members] + [api.GroupMember(group=g) for g in groups]
        if given:
            self.ask(api.AddGroupMembersRequest(name=name, members=given))
        return name

    def role(self, *permissions: str) -> str:
        """A new role; its name."""
        name = unique("r")
        self.ask(api.CreateRoleRequest(name=name, permissions=permissions))
        return name

    def bind_group(self, group: str, role: str, place: api.Place | None = None) -> str:
        """Gives a role to a group; the id of the binding."""
        request = api.CreateRoleBindingRequest(role=role, group=group, place=place or api.Place(everywhere=True))
        return str(self.ask(request).role_binding.binding_id)

    def records(self, resource_type: str = "", resource_id: str = "") -> list[Any]:
        """The audit records, the newest first: all pages."""
        request = api.ListAuditRecordsRequest(resource_type=resource_type, resource_id=resource_id, page_size=1000)
        return self.pages(request, "records")

    def pages(self, request: Any, field: str, by: Who | None = None) -> list[Any]:
        """What all pages of a list have."""
        given, found = type(request)(), list[Any]()
        given.CopyFrom(request)
        while True:
            page = self.ask(given, by)
            found += getattr(page, field)
            if not page.next_page_token:
                return found
            given.page_token = page.next_page_token


def unique(word: str) -> str:
    """A name that no other test has."""
    return f"{word}-{secrets.token_hex(8)}"


def masked(request: Any, *paths: str) -> Any:
    """A request with a mask."""
    request.update_mask.paths.extend(paths)
    return request


def in_seconds(seconds: float) -> Timestamp:
    """A time from now on, as requests have it."""
    found = Timestamp()
    found.FromMilliseconds(int((time.time() + seconds) * 1000))
    return found


@pytest.fixture(scope="session", params=DEPLOYMENTS)
def world(request: pytest.FixtureRequest) -> World:
    """The platform at work with callers who are known: use things of your own in it, and leave `root` alone."""
    found: World = request.getfixturevalue("world_" + request.param.replace("-", "_"))
    return found


@pytest.fixture(scope="session")
def world_all_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """That in one process."""
    with locked("all", tmp_path_factory.mktemp("locked")) as platform:
        yield World(platform)


@pytest.fixture(scope="session")
def world_split_postgres(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[World]:
    """That in four processes."""
    yield from _split(tmp_path_factory.mktemp("locked"), postgres_server)


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def lonely(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """As `world`, with no other administrator than `root`: make none that stays."""
    folder = tmp_path_factory.mktemp("lonely")
    if request.param == "split-postgres":
        yield from _split(folder, request.getfixturevalue("postgres_server"))
        return
    with locked("all", folder) as platform:
        yield World(platform)


def _split(folder: Path, server: PostgresServer) -> Iterator[World]:
    with server.database() as url, locked("split", folder, database_urls=dict.fromkeys(ROOMS, url)) as platform:
        yield World(platform)
