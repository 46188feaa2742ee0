from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from modelry import Client
from modelry.api.access import v1 as access
from modelry.errors import FieldInvalid, InvalidArgument, PrincipalDisabled, RoleNotFound, TokenNotFound
from tests.python.registry_script import scripted


@pytest.fixture
def robot(client: Client, unique: str) -> str:
    """The name of a service account."""
    return client.principals.create(f"robot-{unique}", kind="SERVICE_ACCOUNT").name


def test_a_token_is_made_read_rotated_and_revoked(client: Client, robot: str) -> None:
    made = client.tokens.create(
        principal=robot, description="nightly", role_cap="writer", workspaces="default", expire_time=timedelta(days=3)
    )
    rotated = client.tokens.rotate(made.token_id, expire_time=timedelta(days=5))
    revoked = client.tokens.revoke(made.token_id)

    assert re.fullmatch(r"mdy_t_[0-9A-Za-z]{36}", made.secret)
    assert (made.description, made.role_cap, made.workspaces) == ("nightly", "writer", ("default",))
    assert made.hint == made.secret[-4:]
    assert made.expire_time is not None
    assert abs(made.expire_time - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=5)
    assert rotated.secret not in ("", made.secret)
    assert rotated.token_id == made.token_id
    assert revoked.revoke_time is not None
    assert client.tokens.get(made.token_id) == revoked


def test_the_secret_shows_itself_only_on_purpose(client: Client, robot: str) -> None:
    made = client.tokens.create(principal=robot)

    for shown in (repr(made), str(made), f"{made}", f"{[made]}"):
        assert made.secret not in shown
    assert not hasattr(client.tokens.get(made.token_id), "secret")


def test_tokens_are_listed_by_whose_they_are_the_newest_first(client: Client, robot: str) -> None:
    made = [client.tokens.create(principal=robot).token_id for _ in range(3)]
    client.tokens.revoke(made[0])

    assert {each.token_id for each in client.tokens.list(robot, page_size=1)} == set(made[1:])
    assert {each.token_id for each in client.tokens.list(robot, with_ended=True)} == set(made)


def test_all_tokens_of_somebody_are_revoked_at_once(client: Client, robot: str) -> None:
    for _ in range(2):
        client.tokens.create(principal=robot)

    assert client.tokens.revoke_all(robot) == 2
    assert client.tokens.revoke_all(robot) == 0
    assert client.tokens.list(robot) == []


def test_a_token_that_cant_be_is_refused(client: Client, robot: str) -> None:
    with pytest.raises(RoleNotFound):
        client.tokens.create(principal=robot, role_cap="no-such-role")
    with pytest.raises(FieldInvalid, match="expire_time"):
        client.tokens.create(principal=robot, expire_time=timedelta(days=100_000))
    with pytest.raises(InvalidArgument, match="expire_time"):
        client.tokens.create(principal=robot, expire_time=timedelta.max)
    with pytest.raises(TokenNotFound):
        client.tokens.get("0" * 32)
    client.principals.disable(robot)
    with pytest.raises(PrincipalDisabled):
        client.tokens.create(principal=robot)
    assert client.tokens.list(robot) == []


def test_a_forgotten_argument_revokes_nothing() -> None:
    nowhere = Client("grpc://127.0.0.1:9")

    with pytest.raises(InvalidArgument, match="token_id must be the id of a token"):
        nowhere.tokens.revoke("")
    with pytest.raises(InvalidArgument, match="principal must be the id or the name"):
        nowhere.tokens.revoke_all("")


def test_without_an_id_the_token_of_the_caller_is_rotated() -> None:
    answer = access.RotateTokenResponse(token=access.Token(token_id="t1"), secret="mdy_t_new")

    with scripted({access.rpcs.ROTATE_TOKEN: [answer]}) as (client, server):
        rotated = client.tokens.rotate()

    assert (server.requests[0].token_id, server.requests[0].HasField("expire_time")) == ("", False)
    assert (rotated.token_id, rotated.secret) == ("t1", "mdy_t_new")
