"""What the files of workspaces take: the sum of the roots of their owners, which have the sums of their files."""

import sqlalchemy as sa

from modelry_server.artifacts.store.tables import artifacts, owners
from modelry_server.kernel.sql.statements import Transaction

FILES = (
    sa.select(
        sa.func.coalesce(sa.func.sum(artifacts.c.size_bytes), 0),
        sa.func.coalesce(sa.func.sum(artifacts.c.file_count), 0),
    )
    .select_from(owners.join(artifacts, artifacts.c.owner == owners.c.owner))
    .where(owners.c.workspace == sa.bindparam("workspace"), artifacts.c.path == "")
)


def stored(tx: Transaction, workspace: str) -> tuple[int, int]:
    """The bytes and the number of all files, each counted for each run and version that has it."""
    size_bytes, file_count = tx.execute(FILES, {"workspace": workspace}).one()
    return int(size_bytes), int(file_count)
