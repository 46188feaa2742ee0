"""How many runs workspaces have."""

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking.store.tables import experiments, runs

RUNS = (
    sa.select(sa.func.count())
    .select_from(runs)
    .where(
        runs.c.experiment_id.in_(
            sa.select(experiments.c.experiment_id).where(experiments.c.workspace == sa.bindparam("workspace"))
        )
    )
)


def run_count(tx: Transaction, workspace: str) -> int:
    """How many runs a workspace has, deleted ones among them."""
    return int(tx.execute(RUNS, {"workspace": workspace}).scalar_one())
