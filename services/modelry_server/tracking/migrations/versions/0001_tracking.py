"""Experiments, runs, params, tags, metrics and datasets, with the experiment `0`.

Release: 0.1.0
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _bytewise(length: int | None = None) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_ID, _KEY = _bytewise(32), _bytewise()


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "dataset_inputs",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("dataset_id", _ID, primary_key=True),
        sa.Column("context", _KEY, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "datasets",
        sa.Column("dataset_id", _ID, primary_key=True),
        sa.Column("workspace", _bytewise(63), nullable=False),
        sa.Column("name", _KEY, nullable=False),
        sa.Column("digest", _bytewise(128), nullable=False),
        sa.Column("source_type", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("workspace", "name", "digest", name="datasets_by_content"),
    )
    op.create_table(
        "experiment_tags",
        sa.Column("experiment_id", sa.BigInteger, primary_key=True),
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "experiments",
        sa.Column("experiment_id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("workspace", _bytewise(63), nullable=False),
        sa.Column("name", _KEY, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("delete_time", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.UniqueConstraint("workspace", "name", name="experiments_by_name"),
    )
    op.create_table(
        "heartbeats",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("last_time", sa.BigInteger, nullable=False),
        sa.Column("wait", sa.BigInteger, nullable=False),
        sa.Column("due_time", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_index("heartbeats_by_due", "heartbeats", ["due_time"])
    op.create_table(
        "metric_chunks",
        sa.Column("chunk_id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("point_count", sa.Integer, nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("first_time", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("last_time", sa.BigInteger, nullable=False),
        sa.Column("columns", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("metric_chunks_by_series", "metric_chunks", ["run_id", "key", "chunk_id"])
    op.create_table(
        "metric_summaries",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("experiment_id", sa.BigInteger, nullable=False),
        sa.Column("point_count", sa.BigInteger, nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("first_time", sa.BigInteger, nullable=False),
        sa.Column("first_bits", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("last_time", sa.BigInteger, nullable=False),
        sa.Column("last_bits", sa.BigInteger, nullable=False),
        sa.Column("last_value", sa.Double),
        sa.Column("min_bits", sa.BigInteger),
        sa.Column("min_step", sa.BigInteger),
        sa.Column("max_bits", sa.BigInteger),
        sa.Column("max_step", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_index("metric_summaries_by_value", "metric_summaries", ["experiment_id", "key", "last_value", "run_id"])
    op.create_table(
        "metric_writers",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("writer_id", _bytewise(64), primary_key=True),
        sa.Column("batch_number", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "params",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("number", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "participants",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("name", _KEY, primary_key=True),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("experiment_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("parent_run_id", _ID, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("claimed_user", sa.Text, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("delete_time", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("runs_by_start", "runs", ["experiment_id", "start_time", "run_id"])
    op.create_table(
        "tags",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tracking_requests",
        sa.Column("subject", _KEY, primary_key=True),
        sa.Column("rpc", _KEY, primary_key=True),
        sa.Column("request_id", _KEY, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "tracking_secrets",
        sa.Column("name", _KEY, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    now = time.time_ns() // 1_000_000
    experiments = sa.table("experiments", *(sa.column(name) for name in _FIRST))
    op.bulk_insert(experiments, [dict(zip(_FIRST, (0, "default", "Default", now, now, 1, "modelry", ""), strict=True))])


_FIRST = ("experiment_id", "workspace", "name", "create_time", "update_time", "revision", "creator", "description")
