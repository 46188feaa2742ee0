"""A platform that knows its callers, and those who call it: people and programs with tokens and roles."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from modelry.api.access import v1 as access
from tests.architecture.tree import rpcs
from tests.parts.deployment import Deployment, running
from tests.parts.vouched import vouched

RPCS = dict(rpcs())
Metadata = tuple[tuple[str, str], ...]
NOBODY: Metadata = ()


def bearing(secret: str) -> Metadata:
    """The metadata of a call with a token."""
    return (("authorization", f"Bearer {secret}"),)


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody with a token."""

    principal_id: str
    name: str
    token_id: str
    secret: str

    @property
    def metadata(self) -> Metadata:
        """What a call carries."""
        return bearing(self.secret)


class Locked:
    """A platform with an administrator, by whom everybody else is made."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        bootstrap = (deployment.folder / "bootstrap.token").read_text().strip()
        request = access.CreateAdministratorRequest(name="root")
        made = self.ask("access.v1.PrincipalService/CreateAdministrator", request, bearing(bootstrap))
        self.admin = Who(made.principal.principal_id, "root", made.token.token_id, made.secret)

    def call(self, rpc: str, request: Any, metadata: Metadata, *, timeout: float = 30) -> Any:
        """The answer to a request; a list if it is a stream. Raises grpc.RpcError. Internal ones call as a service."""
        method = RPCS[rpc]
        _, side, room, *_ = rpc.split(".")
        channel = self.deployment.channel(room) if side == "api" else self.deployment.internal_channel(room)
        if side == "internal":
            metadata = (*metadata, *vouched(self.deployment.service_key, room, knows_callers=True))
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
        callable_ = getattr(channel, kind)(
            rpc,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        sent = iter(request) if isinstance(request, Sequence) else request
        answer = callable_(sent, timeout=timeout, metadata=metadata)
        return list(answer) if method.server_streaming else answer

    def ask(self, rpc: str, request: Any, metadata: Metadata | None = None) -> Any:
        """The answer of an rpc of `modelry.api`, by default to the administrator."""
        return self.call(f"/modelry.api.{rpc}", request, self.admin.metadata if metadata is None else metadata)

    def workspace(self) -> str:
        """A new workspace."""
        name = f"w-{secrets.token_hex(6)}"
        self.ask("access.v1.WorkspaceService/CreateWorkspace", access.CreateWorkspaceRequest(name=name))
        return name

    def somebody(self, role: str = "", place: access.Place | None = None, **token: Any) -> Who:
        """A new person, with a token and perhaps a role at a place: by default for the whole installation."""
        name = f"{role or 'somebody'}-{secrets.token_hex(6)}"
        request = access.CreatePrincipalRequest(kind=access.PRINCIPAL_KIND_SERVICE_ACCOUNT, name=name)
        made = self.ask("access.v1.PrincipalService/CreatePrincipal", request).principal
        if role:
            self.bind(made.principal_id, role, place)
        return self.token_of(made.principal_id, name, **token)

    def token_of(self, principal_id: str, name: str = "", **fields: Any) -> Who:
        """A new token of somebody."""
        request = access.CreateTokenRequest(principal_id=principal_id, **fields)
        token = self.ask("access.v1.TokenService/CreateToken", request)
        return Who(principal_id, name, token.token.token_id, token.secret)

    def bind(self, principal_id: str, role: str, place: access.Place | None = None) -> str:
        """Gives somebody a role; the id of the binding."""
        where = place or access.Place(everywhere=True)
        request = access.CreateRoleBindingRequest(role=role, principal_id=principal_id, place=where)
        return str(self.ask("access.v1.RoleService/CreateRoleBinding", request).role_binding.binding_id)

    def disable(self, who: Who) -> None:
        """Disables somebody."""
        given = access.Principal(principal_id=who.principal_id, disabled=True)
        request = access.UpdatePrincipalRequest(principal=given)
        request.update_mask.paths.append("disabled")
        self.ask("access.v1.PrincipalService/UpdatePrincipal", request)

    def revoke(self, who: Who) -> None:
        """Revokes the token of somebody."""
        self.ask("access.v1.TokenService/RevokeToken", access.RevokeTokenRequest(token_id=who.token_id))


@contextmanager
def locked(name: str, folder: Path, settings: Mapping[str, str] | None = None, **options: Any) -> Iterator[Locked]:
    """A platform that knows its callers: `all` or `split`."""
    given = {"server.authentication": "required", **(settings or {})}
    with running(name, folder, settings=given, **options) as deployment:
        yield Locked(deployment)


def code_of(error: grpc.RpcError) -> str:
    """The name of the status code of an error."""
    return str(error.code().name)
