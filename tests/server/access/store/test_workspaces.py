"""What the rows of workspaces do."""

import shutil
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from modelry_server.access.entities import Quotas, Workspace
from modelry_server.access.store import workspaces as store
from modelry_server.databases import migrations
from modelry_server.kernel.sql.database import Database

RISK = Workspace("risk", "Words.", 1000, 2000)


def test_a_workspace_comes_back_as_it_was_written(db: Database) -> None:
    with db.write() as tx:
        assert store.add(tx, RISK)

    with db.read() as tx:
        assert store.find(tx, "risk") == RISK
        assert store.find(tx, "none") is None


def test_a_taken_name_leaves_what_is_there(db: Database) -> None:
    with db.write() as tx:
        store.add(tx, RISK)
        assert not store.add(tx, Workspace("risk", "Other.", 3000, 4000))

    with db.read() as tx:
        assert store.find(tx, "risk") == RISK


def test_a_changed_workspace_is_found_as_it_is_now(db: Database) -> None:
    changed = Workspace("risk", "Better.", 1000, 3000, RISK.revision + 1)

    with db.write() as tx:
        store.add(tx, RISK)
        found = store.find(tx, "risk", lock=True)
        store.update(tx, changed)

    with db.read() as tx:
        assert (found, store.find(tx, "risk")) == (RISK, changed)


def test_a_quota_of_0_and_none_stay_apart(db: Database) -> None:
    limited = replace(RISK, quotas=Quotas(0, None, 1 << 40))
    lifted = replace(RISK, quotas=Quotas(None, 0, 0))

    with db.write() as tx:
        store.add(tx, limited)
        found = store.find(tx, "risk")
        store.update(tx, lifted)

    with db.read() as tx:
        assert (found, store.find(tx, "risk")) == (limited, lifted)


def test_workspaces_that_are_older_than_quotas_have_no_limit(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(migrations("access"), folder, ignore=shutil.ignore_patterns("0002_*", "__pycache__"))
    row = "INSERT INTO workspaces (name, description, create_time, update_time, revision) VALUES ('risk', '', 1, 1, 1)"
    old = Database(database_url, room="access", migrations=folder)
    assert old.upgrade() == (None, "0001")
    with old.write() as tx:
        tx.execute(sa.text(row))
    old.close()

    db = Database(database_url, room="access", migrations=migrations("access"))
    assert db.upgrade()[0] == "0001"

    with db.read() as tx:
        assert store.find(tx, "risk") == Workspace("risk", "", 1, 1)
        assert [each.quotas for each in store.page(tx, "", 9)] == [Quotas(), Quotas()]
    db.close()
