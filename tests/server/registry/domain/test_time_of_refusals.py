"""That a model or version exists does not show in the time that its refusal takes, however much there is to read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.entities import Signature
from tests.parts.judge import HeldJudge, calling
from tests.parts.timing import ratio
from tests.server.registry.conftest import Registry

CALLS: dict[str, Callable[[Registry, str, str], object]] = {
    "GetModel": lambda r, name, version_id: r.models.get(workspace="default", model_name=name),
    "GetVersion": lambda r, name, version_id: r.versions.get(version_id=version_id),
    "GetAlias": lambda r, name, version_id: r.aliases.resolve("default", name, "champion"),
    "SetModelTags": lambda r, name, version_id: r.models.set_tags("default", name, {"a": "b"}),
}


@pytest.mark.parametrize("rpc", CALLS)
def test_a09_what_is_not_seen_takes_as_long_as_what_is_not_there(db: Database, rpc: str) -> None:
    judge = HeldJudge()
    registry = Registry(db, judge=judge)
    judge.give("bob", "writer", at=Place("default", model_id=registry.a_model("mine").model_id))
    registry.a_model("hidden", description="x" * 50_000, tags={f"t{number}": "v" for number in range(50)})
    version = registry.a_version("hidden", signature=Signature("1" * 500_000, "", ""))
    registry.aliases.point("default", "hidden", "champion", 1)
    call, absent = CALLS[rpc], new_id()

    with caller.using(calling("bob", "registry", rpc)):
        found = ratio(lambda: call(registry, "hidden", version.version_id), lambda: call(registry, "absent", absent))
    registry.close()

    assert 0.75 < found < 1.33
