"""What the rows of workspaces do."""

from modelry_server.access.entities import Workspace
from modelry_server.access.store import workspaces as store
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
