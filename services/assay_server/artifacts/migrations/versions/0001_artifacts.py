"""Artifacts, the content that they refer to, and snapshots.

Release: 0.1.0
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

bytewise = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "blobs",
        sa.Column("blob_key", bytewise, primary_key=True),
        sa.Column("sha256", bytewise, unique=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("idle_time", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    idle = sa.text("idle_time IS NOT NULL")
    op.create_index("blobs_idle", "blobs", ["idle_time"], postgresql_where=idle, sqlite_where=idle)
    op.create_table(
        "artifacts",
        sa.Column("owner", bytewise, primary_key=True),
        sa.Column("path", bytewise, primary_key=True),
        sa.Column("parent", bytewise),
        sa.Column("sha256", bytewise, sa.ForeignKey("blobs.sha256")),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("file_count", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("artifacts_by_parent", "artifacts", ["owner", "parent", "path"])
    is_file = sa.text("sha256 IS NOT NULL")
    op.create_index("artifacts_by_sha256", "artifacts", ["sha256"], postgresql_where=is_file, sqlite_where=is_file)
    op.create_table(
        "snapshots",
        sa.Column("owner", bytewise, primary_key=True),
        sa.Column("source_owner", bytewise, nullable=False),
        sa.Column("source_path", bytewise, nullable=False),
        sa.Column("manifest_sha256", sa.Text, nullable=False),
        sa.Column("file_count", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "artifacts_secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
