"""The index by which the files of a workspace are added up.

Release: 0.1.0
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the index."""
    op.create_index("owners_by_workspace", "owners", ["workspace", "owner"])
