"""The tables of the registry, and nothing but tables.

The key of everything that belongs to a model begins with the id of the model, so that rows can be distributed by model.
Names are compared by their bytes on both databases, so that one index serves both filters and pages.
"""

import sqlalchemy as sa

from modelry_server.kernel.sql.tables import bytewise, requests_table, secrets_table

metadata = sa.MetaData()

_Id, _Name = bytewise(32), bytewise()
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

models = sa.Table(
    "models",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("name", _Name, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("creator", _Name, nullable=False),
    sa.Column("last_version_number", sa.BigInteger, nullable=False),
    sa.Column("audit_sequence", sa.BigInteger, nullable=False),
    sa.Column("audit_digest", sa.Text, nullable=False),
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

# `signature` and `flavors` are JSON, empty where there is none. `source_version_id` is empty if the source is a run.
versions = sa.Table(
    "versions",
    metadata,
    sa.Column("model_id", _Id, sa.ForeignKey("models.model_id"), primary_key=True),
    sa.Column("version_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version_id", _Id, nullable=False, unique=True),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("stage", _Name, nullable=False),
    sa.Column("run_id", _Id, nullable=False, index=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("source_version_id", _Id, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("creator", _Name, nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("flavors", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.Text, nullable=False),
    sa.Column("file_count", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("versions_by_stage", "model_id", "stage", "version_number"),
    sa.Index("versions_by_time", "workspace", "create_time", "version_number", "version_id"),
)

version_tags = sa.Table(
    "version_tags",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("version_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", _Name, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("alias", _Name, primary_key=True),
    sa.Column("version_number", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
    sa.Index("aliases_by_version", "model_id", "version_number"),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("model_id", _Id, sa.ForeignKey("models.model_id"), primary_key=True),
    sa.Column("audit_sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("promotion_id", _Id, nullable=False, unique=True),
    sa.Column("version_number", sa.BigInteger, nullable=False),
    sa.Column("from_stage", _Name, nullable=False),
    sa.Column("to_stage", _Name, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("archived_version_numbers", sa.Text, nullable=False),
    sa.Column("creator", _Name, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Index("promotions_by_version", "model_id", "version_number", "audit_sequence"),
)

# `metrics` and `verdicts` are JSON.
evaluations = sa.Table(
    "evaluations",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("audit_sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("evaluation_id", _Id, nullable=False, unique=True),
    sa.Column("version_number", sa.BigInteger, nullable=False),
    sa.Column("name", _Name, nullable=False),
    sa.Column("run_id", _Id, nullable=False),
    sa.Column("artifact_path", sa.Text, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("verdicts", sa.Text, nullable=False),
    sa.Column("dataset_name", sa.Text, nullable=False),
    sa.Column("dataset_digest", sa.Text, nullable=False),
    sa.Column("creator", _Name, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
    sa.Index("evaluations_by_version", "model_id", "version_number", "name", "audit_sequence"),
)

# The numbers of the newest evaluation of each name of a version, by which versions are found.
evaluation_metrics = sa.Table(
    "evaluation_metrics",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("version_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", _Name, primary_key=True),
    sa.Column("metric", _Name, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
)

# No foreign key: the records of a model outlive it. What a record says is in its body; `workspace` and `version_number`
# stand beside it because records are found by them.
audit_records = sa.Table(
    "audit_records",
    metadata,
    sa.Column("model_id", _Id, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("version_number", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("digest_version", sa.Integer, nullable=False),
    sa.Column("previous_digest", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("before_salt", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("after_salt", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("reason_salt", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("peer_salt", sa.Text, nullable=False),
    sa.Index("audit_records_by_version", "model_id", "version_number", "sequence"),
)

# `id` is in the order of the changes of each model, as the model is locked when an event is written; `position` is
# given after the commit, see `store/events.py`.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", _Number, primary_key=True, autoincrement=True),
    sa.Column("event_id", _Id, nullable=False),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("position", sa.BigInteger),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("model_id", _Id, nullable=False),
    sa.Column("model_name", _Name, nullable=False),
    sa.Column("version_number", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("audit_sequence", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.UniqueConstraint("workspace", "position"),
    sa.Index("events_by_model", "workspace", "model_name", "position"),
)
# It begins with the column that is always NULL in it: otherwise SQLite would rather scan the index of all positions.
sa.Index(
    "events_without_position",
    events.c.position,
    events.c.workspace,
    events.c.id,
    sqlite_where=events.c.position.is_(None),
    postgresql_where=events.c.position.is_(None),
)

# The last position that was given in each workspace. Whoever gives positions holds its row.
event_positions = sa.Table(
    "event_positions",
    metadata,
    sa.Column("workspace", _Name, primary_key=True),
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
