"""A platform that knows its callers, with somebody who attacks and what is attacked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from tests.parts.locked import Locked, Who, locked
from tests.parts.refusal import Refusal, unpacked
from tests.server.every_rpc import Things, make


@dataclass(frozen=True)
class Scene:
    """Two workspaces with one of everything, of people who know nothing of each other.

    `victim` is the administrator of the workspace of `things`, `attacker` that of the workspace of `own`.
    """

    locked: Locked
    things: Things
    own: Things
    victim: Who
    attacker: Who

    def ask(self, who: Who, rpc: str, request: Any) -> Any:
        """The answer of an rpc of `modelry.api`."""
        return self.locked.ask(rpc, request, who.metadata)

    def answer(self, who: Who, rpc: str, request: Any) -> Any:
        """The answer of an rpc of `modelry.api`, or its refusal."""
        try:
            return self.ask(who, rpc, request)
        except grpc.RpcError as error:
            return unpacked(error)

    def refusal(self, who: Who, rpc: str, request: Any) -> Refusal:
        """Why a call is refused. Fails if it is answered."""
        answer = self.answer(who, rpc, request)
        if not isinstance(answer, Refusal):
            raise AssertionError(f"{rpc} was not refused; the answer is {answer}")
        return answer

    def insider(self, role: str) -> Who:
        """A new person with a role in the workspace that is attacked."""
        return self.locked.somebody(role, access.Place(workspace=self.things.workspace))


@pytest.fixture(scope="package", params=["all", "split"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Kept for all tests: make things of your own in it where a test changes some."""
    with locked(request.param, tmp_path_factory.mktemp("attacked")) as found:
        things, own = (make(lambda rpc, message: found.call(rpc, message, found.admin.metadata)) for _ in range(2))
        victim, attacker = (found.somebody("admin", access.Place(workspace=of.workspace)) for of in (things, own))
        yield Scene(found, things, own, victim, attacker)
