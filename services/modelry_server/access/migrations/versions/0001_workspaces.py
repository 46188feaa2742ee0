"""Workspaces, with the default one.

Release: 0.1.0
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _bytewise(length: int | None = None) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME, _KEY = _bytewise(63), _bytewise()


def upgrade() -> None:
    """Creates the first tables."""
    workspaces = op.create_table(
        "workspaces",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    now = time.time_ns() // 1_000_000
    row = {"name": "default", "description": "", "create_time": now, "update_time": now, "revision": 1}
    op.bulk_insert(workspaces, [row])
    op.create_table(
        "access_requests",
        sa.Column("subject", _KEY, primary_key=True),
        sa.Column("rpc", _KEY, primary_key=True),
        sa.Column("request_id", _KEY, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "access_secrets",
        sa.Column("name", _KEY, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
