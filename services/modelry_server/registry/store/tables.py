"""The tables of the registry, and nothing but tables.

All that belongs to a model has the model's id in front of its key, so that it can be distributed by model. Names sort
by their bytes on both databases, so that the index on them serves filters and pages too.
"""

import sqlalchemy as sa

from modelry_server.kernel.sql.tables import bytewise, requests_table, secrets_table

metadata = sa.MetaData()

_Id, _Name, _Stage = bytewise(32), bytewise(), bytewise(10)

models = sa.Table(
    "models",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("name", _Name, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("last_version", sa.BigInteger, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("workspace", "name"),
)

model_tags = sa.Table(
    "model_tags",
    metadata,
    sa.Column("model_id", _Id, sa.ForeignKey("models.model_id"), primary_key=True),
    sa.Column("key", _Name, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("model_id", _Id, sa.ForeignKey("models.model_id"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version_id", _Id, nullable=False, unique=True),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("stage", _Stage, nullable=False),
    sa.Column("run_id", _Id, nullable=False, index=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.Text, nullable=False),
    sa.Column("file_count", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("versions_by_stage", "model_id", "stage", "number"),
    sa.Index("versions_by_time", "workspace", "create_time", "number", "version_id"),
)

version_tags = sa.Table(
    "version_tags",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", _Name, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"]),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("alias", _Name, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"]),
    sa.Index("aliases_by_version", "model_id", "number"),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("model_id", _Id, sa.ForeignKey("models.model_id"), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("from_stage", _Stage, nullable=False),
    sa.Column("to_stage", _Stage, nullable=False),
    sa.Column("archived_numbers", sa.JSON, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Index("promotions_by_version", "model_id", "number", "sequence"),
)

# No foreign key: the records of a model outlive it.
audit_records = sa.Table(
    "audit_records",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("model", _Name, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("previous_digest", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Index("audit_records_by_version", "model_id", "number", "sequence"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("cursor", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("model", _Name, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Index("events_by_workspace", "workspace", "cursor"),
    sa.Index("events_by_model", "workspace", "model", "cursor"),
)

event_cursor = sa.Table(
    "event_cursor",
    metadata,
    sa.Column("room", _Name, primary_key=True),
    sa.Column("last", sa.BigInteger, nullable=False),
)

loose_snapshots = sa.Table(
    "loose_snapshots",
    metadata,
    sa.Column("version_id", _Id, primary_key=True),
    sa.Column("discarded", sa.Boolean, nullable=False),
    sa.Column("due_time", sa.BigInteger, nullable=False, index=True),
)

requests = requests_table(metadata, "registry")
secrets = secrets_table(metadata, "registry")
