"""What is taken away ends what was begun with it: a token, or a permission of its cap."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry_server.kernel.ids import new_id
from tests.attacks.conftest import Scene
from tests.parts.eventually import eventually
from tests.parts.locked import Who
from tests.parts.refusal import Refusal


@contextmanager
def _uploading(scene: Scene, who: Who) -> Iterator[Any]:
    """An upload of somebody to a run of the victim, which is open, within the block."""
    sent: queue.Queue[Any] = queue.Queue()
    sent.put(artifacts.WriteArtifactsRequest(owner=scene.things.files))
    stub = artifacts.ArtifactServiceStub(scene.locked.deployment.channel("artifacts"))
    call = stub.WriteArtifacts.future(iter(sent.get, None), metadata=who.metadata, timeout=120)
    try:
        eventually(sent.empty)
        yield call
    finally:
        call.cancel()
        sent.put(None)


def _is_good(scene: Scene, who: Who) -> bool:
    return not isinstance(scene.answer(who, "access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest()), Refusal)


@pytest.mark.parametrize("is_rotated", [False, True])
def test_a13_an_upload_ends_when_its_token_is_revoked_after_it_has_ended(scene: Scene, is_rotated: bool) -> None:
    def in_seconds(number: int) -> Timestamp:
        return Timestamp(seconds=int(time.time()) + number)

    who = scene.locked.somebody("writer", access.Place(workspace=scene.things.workspace), expire_time=in_seconds(4))
    if is_rotated:  # its text ends, then, and the token goes on
        rotate = access.RotateTokenRequest(token_id=who.token_id, expire_time=in_seconds(3600))
        scene.ask(scene.locked.admin, "access.v1.TokenService/RotateToken", rotate)
    with _uploading(scene, who) as call:
        assert _is_good(scene, who)
        eventually(lambda: not _is_good(scene, who))
        assert not call.done()

        scene.locked.revoke(who)
        eventually(call.done, within_s=10)

    assert call.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.CANCELLED)


def test_a13_an_upload_ends_when_its_permission_is_taken_out_of_the_cap(scene: Scene) -> None:
    role = access.Role(name=f"uploader-{new_id()[:8]}", permissions=["runs.read", "files.read", "files.write"])
    service = "access.v1.RoleService"
    create = access.CreateRoleRequest(name=role.name, permissions=role.permissions)
    scene.ask(scene.locked.admin, f"{service}/CreateRole", create)
    place = access.Place(workspace=scene.things.workspace)
    with _uploading(scene, scene.locked.somebody("writer", place, role_cap=role.name)) as call:
        assert not call.done()
        del role.permissions[2:]
        narrow = access.UpdateRoleRequest(role=role, update_mask=FieldMask(paths=["permissions"]))
        scene.ask(scene.locked.admin, f"{service}/UpdateRole", narrow)
        eventually(call.done, within_s=10)

    assert call.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.CANCELLED)
