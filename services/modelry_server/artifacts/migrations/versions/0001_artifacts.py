"""Owners, their artifacts, the content that these refer to, and snapshots.

Release: 0.1.0
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BYTEWISE = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "blobs",
        sa.Column("blob_key", _BYTEWISE, primary_key=True),
        sa.Column("sha256", _BYTEWISE, unique=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("release_time", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    released = sa.text("release_time IS NOT NULL")
    op.create_index("blobs_released", "blobs", ["release_time"], postgresql_where=released, sqlite_where=released)
    op.create_table(
        "owners",
        sa.Column("owner", _BYTEWISE, primary_key=True),
        sa.Column("workspace", _BYTEWISE, nullable=False),
        sa.Column("experiment_id", sa.Text, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "artifacts",
        sa.Column("owner", _BYTEWISE, sa.ForeignKey("owners.owner"), primary_key=True),
        sa.Column("path", _BYTEWISE, primary_key=True),
        sa.Column("parent", _BYTEWISE),
        sa.Column("sha256", _BYTEWISE, sa.ForeignKey("blobs.sha256")),
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
        sa.Column("version_id", _BYTEWISE, primary_key=True),
        sa.Column("workspace", _BYTEWISE, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("source_owner", _BYTEWISE, nullable=False),
        sa.Column("source_path", _BYTEWISE, nullable=False),
        sa.Column("manifest_sha256", sa.Text, nullable=False),
        sa.Column("file_count", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "artifacts_secrets",
        sa.Column("name", _BYTEWISE, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
