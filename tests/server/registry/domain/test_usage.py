from __future__ import annotations

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Place, WorkspaceNotFound
from modelry_server.kernel.errors import FieldInvalid, PermissionMissing
from modelry_server.registry.store import usage as store
from tests.parts.explained import explained
from tests.parts.judge import HeldJudge, calling
from tests.server.registry.conftest import Registry


def test_the_versions_of_all_models_of_a_workspace_count(registry: Registry) -> None:
    for name in ("fraud", "churn"):
        registry.a_model(name)
        registry.a_version(name)
    deleted = registry.a_version("churn")

    before = registry.usage.get("default")
    registry.versions.delete("default", "churn", deleted.version_number)

    assert (before, registry.usage.get("default")) == (3, 2)


def test_usage_is_asked_for_of_a_workspace_that_the_caller_reads(registry: Registry) -> None:
    judge = HeldJudge()
    judged = Registry(registry.db, judge=judge)

    with pytest.raises(FieldInvalid):
        judged.usage.get("")
    with caller.using(calling("ann", "registry", "GetUsage")):
        with pytest.raises(WorkspaceNotFound):
            judged.usage.get("default")
        judge.give("ann", "reader", at=Place("default", model_id="7"))
        with pytest.raises(PermissionMissing):
            judged.usage.get("default")
        judge.give("ann", "reader", at=Place("default"))
        assert judged.usage.get("default") == 0
    judged.close()


def test_versions_are_counted_in_an_index(registry: Registry) -> None:
    plan = explained(registry.db, store.VERSIONS, {"workspace": "default"})

    assert "versions_by_time" in plan
    assert "Seq Scan" not in plan  # as PostgreSQL says
