"""Before a server answers, and when it has stopped."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from modelry_server.kernel.access import Kind
from modelry_server.kernel.transport.server import Room, Server
from modelry_server.permissions import PERMISSIONS
from tests.server.kernel.stage import INTERNAL, KEY, SERVICE, limits_with

GET = f"/{SERVICE}/GetWorkspace"


@pytest.mark.parametrize(
    ("rpc", "permission", "said"),
    [
        (GET, None, "does not name"),
        (f"/{SERVICE}/UpdateWorkspace", None, "does not name"),
        (f"/{INTERNAL}/DeleteSnapshot", None, "does not name"),
        (GET, Kind.SERVICE, "clients can reach"),
        (f"/{INTERNAL}/DeleteSnapshot", "runs.read", "only other services can reach"),
    ],
)
def test_a_server_does_not_start_with_an_rpc_whose_permission_is_missing_or_does_not_fit_its_listener(
    rpc: str, permission: str | None, said: str
) -> None:
    permissions = {name: need for name, need in PERMISSIONS.items() if name != rpc}
    if permission is not None:
        permissions[rpc] = permission
    room = Room("access", (SERVICE,), lambda server: None, internal_services=(INTERNAL,))

    with pytest.raises(ValueError, match=said) as caught:
        Server([room], address="127.0.0.1:0", internal={}, key=KEY, permissions=permissions, limits=limits_with())

    assert rpc in str(caught.value)


def test_a_server_stops_once_and_closes_what_its_rooms_hold() -> None:
    with ExitStack() as stack:
        closed: list[str] = []
        room = Room("access", (SERVICE,), lambda server: None, close=lambda: closed.append("access"))
        server = Server(
            [room],
            address="127.0.0.1:0",
            internal={},
            key=KEY,
            permissions=PERMISSIONS,
            limits=limits_with(drain_s=0.1),
        )
        server.start()
        stack.callback(server.stop)
        server.stop()
        server.stop()
        server.wait()

    assert closed == ["access"]
