from __future__ import annotations

import pytest

from modelry_server.artifacts.entities import Owner, Stored
from modelry_server.artifacts.store import usage as store
from modelry_server.kernel import caller
from modelry_server.kernel.access import Place, WorkspaceNotFound
from modelry_server.kernel.errors import FieldInvalid, PermissionMissing
from tests.parts.explained import explained
from tests.parts.judge import calling
from tests.server.artifacts.conftest import Files


def test_what_is_written_replaced_frozen_and_deleted_is_what_counts(files: Files, run: Owner) -> None:
    def stored() -> Stored:
        return files.usage.get("default")

    run = files.new_run("default")
    files.write(run, {"a/x": bytes(100), "b": bytes(5)})
    files.write(files.new_run("another"), {"x": bytes(7)})
    steps = [stored()]
    files.write(run, {"b": bytes(50)})
    steps.append(stored())
    files.freeze(files.new_version(), run, "a", workspace="default")
    steps.append(stored())
    files.delete(run, "a")
    steps.append(stored())

    assert steps == [Stored(105, 2), Stored(150, 2), Stored(250, 3), Stored(150, 2)]


def test_usage_is_asked_for_of_a_workspace_that_the_caller_reads(files: Files) -> None:
    with pytest.raises(FieldInvalid):
        files.usage.get("")
    with caller.using(calling("ann", "artifacts", "GetUsage")):
        with pytest.raises(WorkspaceNotFound):
            files.usage.get("default")
        files.judge.give("ann", "reader", at=Place("default", "7"))
        with pytest.raises(PermissionMissing):
            files.usage.get("default")
        files.judge.give("ann", "reader", at=Place("default"))
        assert files.usage.get("default") == Stored(0, 0)


def test_files_are_added_up_by_indexes(files: Files) -> None:
    plan = explained(files.db, store.FILES, {"workspace": "default"})

    assert "owners_by_workspace" in plan
    assert "SCAN" not in plan  # as SQLite says
    assert "Seq Scan" not in plan  # as PostgreSQL says
