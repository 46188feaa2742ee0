"""Models, versions, stages, aliases, audit records and events.

Release: 0.1.0
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_id = sa.String(32)
_name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "models",
        sa.Column("model_id", _id, primary_key=True),
        sa.Column("workspace", _name, nullable=False),
        sa.Column("name", _name, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("last_version", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("workspace", "name"),
    )
    op.create_table(
        "model_tags",
        sa.Column("model_id", _id, sa.ForeignKey("models.model_id"), primary_key=True),
        sa.Column("key", _name, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("model_id", _id, sa.ForeignKey("models.model_id"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version_id", _id, nullable=False, unique=True),
        sa.Column("workspace", _name, nullable=False),
        sa.Column("stage", sa.String(10), nullable=False),
        sa.Column("run_id", _id, nullable=False, index=True),
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
    op.create_table(
        "version_tags",
        sa.Column("model_id", _id, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", _name, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"]),
    )
    op.create_table(
        "aliases",
        sa.Column("model_id", _id, primary_key=True),
        sa.Column("alias", _name, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"]),
        sa.Index("aliases_by_version", "model_id", "number"),
    )
    op.create_table(
        "promotions",
        sa.Column("model_id", _id, sa.ForeignKey("models.model_id"), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("from_stage", sa.String(10), nullable=False),
        sa.Column("to_stage", sa.String(10), nullable=False),
        sa.Column("archived_numbers", sa.JSON, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Index("promotions_by_version", "model_id", "number", "sequence"),
    )
    op.create_table(
        "audit_records",
        sa.Column("model_id", _id, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("workspace", _name, nullable=False),
        sa.Column("model", _name, nullable=False),
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
    op.create_table(
        "events",
        sa.Column("cursor", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("workspace", _name, nullable=False),
        sa.Column("model", _name, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Index("events_by_workspace", "workspace", "cursor"),
        sa.Index("events_by_model", "workspace", "model", "cursor"),
    )
    op.create_table(
        "event_cursor",
        sa.Column("room", sa.Text, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "loose_snapshots",
        sa.Column("version_id", _id, primary_key=True),
        sa.Column("discarded", sa.Boolean, nullable=False),
        sa.Column("due_time", sa.BigInteger, nullable=False, index=True),
    )
    op.bulk_insert(sa.table("event_cursor", sa.column("room"), sa.column("last")), [{"room": "registry", "last": 0}])
    op.create_table(
        "registry_requests",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("rpc", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "registry_secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
