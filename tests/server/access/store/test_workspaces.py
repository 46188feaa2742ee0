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


def test_only_the_revision_that_was_read_is_changed(db: Database) -> None:
    with db.write() as tx:
        store.add(tx, RISK)
        assert store.describe(tx, "risk", "Better.", 3000, RISK.revision)
        assert not store.describe(tx, "risk", "Late.", 4000, RISK.revision)

    with db.read() as tx:
        assert store.find(tx, "risk") == Workspace("risk", "Better.", 1000, 3000, RISK.revision + 1)
