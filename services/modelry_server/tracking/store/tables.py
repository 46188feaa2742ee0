"""The tables of tracking, and nothing but tables.

Tables with a run's key in front are kept in key order by SQLite (no row ids) and can be distributed by run elsewhere.
"""

import sqlalchemy as sa

from modelry_server.kernel.sql.tables import bytewise, requests_table, secrets_table

metadata = sa.MetaData()

# SQLite numbers rows by itself only where the column is called INTEGER.
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_Id, _Key = bytewise(32), bytewise()

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("experiment_id", _Number, primary_key=True, autoincrement=True),
    sa.Column("workspace", bytewise(63), nullable=False),
    sa.Column("name", _Key, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("delete_time", sa.BigInteger),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("creator", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.UniqueConstraint("workspace", "name", name="experiments_by_name"),
)

experiment_tags = sa.Table(
    "experiment_tags",
    metadata,
    sa.Column("experiment_id", sa.BigInteger, primary_key=True),
    sa.Column("key", _Key, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("experiment_id", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sa.Column("parent_run_id", _Id, nullable=False),
    sa.Column("creator", sa.Text, nullable=False),
    sa.Column("claimed_user", sa.Text, nullable=False),
    sa.Column("start_time", sa.BigInteger, nullable=False),
    sa.Column("end_time", sa.BigInteger),
    sa.Column("delete_time", sa.BigInteger),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("description", sa.Text, nullable=False),  # the last one: who reads the others need not skip a long text
    sa.Index("runs_by_start", "experiment_id", "start_time", "run_id"),
    sqlite_with_rowid=False,
)

participants = sa.Table(
    "participants",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("name", _Key, primary_key=True),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The last heartbeats of runs. A run that is still running after its `due_time` is lost. Then, or if it has ended, its
# row is removed: the table has those of open runs only, and of some that have just ended. `wait` is the time in
# milliseconds from the heartbeat to `due_time`, which is null while the run is deleted.
heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("last_time", sa.BigInteger, nullable=False),
    sa.Column("wait", sa.BigInteger, nullable=False),
    sa.Column("due_time", sa.BigInteger),
    sa.Index("heartbeats_by_due", "due_time"),
    sqlite_with_rowid=False,
)

# `number` is the value as filters and orders see it where it is a number, so that both databases see the same.
params = sa.Table(
    "params",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("key", _Key, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("number", sa.Double),
    sqlite_with_rowid=False,
)

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("key", _Key, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

# `*_bits` hold the exact bits of a value, turned so that they sort as values do; `*_value` are for filters and orders,
# with NULL for NaN.
metric_summaries = sa.Table(
    "metric_summaries",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("key", _Key, primary_key=True),
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
    sa.Index("metric_summaries_by_value", "experiment_id", "key", "last_value", "run_id"),
    sqlite_with_rowid=False,
)

# `first_*` and `last_*` are of the first and the last point of a chunk in the order by (step, time).
metric_chunks = sa.Table(
    "metric_chunks",
    metadata,
    sa.Column("chunk_id", _Number, primary_key=True, autoincrement=True),
    sa.Column("run_id", _Id, nullable=False),
    sa.Column("key", _Key, nullable=False),
    sa.Column("point_count", sa.Integer, nullable=False),
    sa.Column("first_step", sa.BigInteger, nullable=False),
    sa.Column("first_time", sa.BigInteger, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("last_time", sa.BigInteger, nullable=False),
    sa.Column("columns", sa.LargeBinary, nullable=False),
    sa.Index("metric_chunks_by_series", "run_id", "key", "chunk_id"),
    sqlite_autoincrement=True,  # no id is used twice: who has listed a chunk must not read another one in its place
)

metric_writers = sa.Table(
    "metric_writers",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("writer_id", bytewise(64), primary_key=True),
    sa.Column("batch_number", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("dataset_id", _Id, primary_key=True),
    sa.Column("workspace", bytewise(63), nullable=False),
    sa.Column("name", _Key, nullable=False),
    sa.Column("digest", bytewise(128), nullable=False),
    sa.Column("source_type", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("schema", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("workspace", "name", "digest", name="datasets_by_content"),
)

dataset_inputs = sa.Table(
    "dataset_inputs",
    metadata,
    sa.Column("run_id", _Id, primary_key=True),
    sa.Column("dataset_id", _Id, primary_key=True),
    sa.Column("context", _Key, primary_key=True),
    sqlite_with_rowid=False,
)

requests = requests_table(metadata, "tracking")
secrets = secrets_table(metadata, "tracking")
