"""Models, versions, stages, aliases, audit records and events.

Release: 0.1.0
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _bytewise(length: int | None = None) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_ID, _NAME = _bytewise(32), _bytewise()
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Creates the first tables."""
    op.create_table(
        "models",
        sa.Column("model_id", _ID, primary_key=True),
        sa.Column("workspace", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("creator", _NAME, nullable=False),
        sa.Column("last_version_number", sa.BigInteger, nullable=False),
        sa.Column("audit_sequence", sa.BigInteger, nullable=False),
        sa.Column("audit_digest", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("workspace", "name"),
    )
    op.create_table(
        "model_tags",
        sa.Column("model_id", _ID, sa.ForeignKey("models.model_id"), primary_key=True),
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("model_id", _ID, sa.ForeignKey("models.model_id"), primary_key=True),
        sa.Column("version_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version_id", _ID, nullable=False, unique=True),
        sa.Column("workspace", _NAME, nullable=False),
        sa.Column("stage", _NAME, nullable=False),
        sa.Column("run_id", _ID, nullable=False, index=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_version_id", _ID, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("creator", _NAME, nullable=False),
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
    op.create_table(
        "version_tags",
        sa.Column("model_id", _ID, primary_key=True),
        sa.Column("version_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
    )
    op.create_table(
        "aliases",
        sa.Column("model_id", _ID, primary_key=True),
        sa.Column("alias", _NAME, primary_key=True),
        sa.Column("version_number", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
        sa.Index("aliases_by_version", "model_id", "version_number"),
    )
    op.create_table(
        "promotions",
        sa.Column("model_id", _ID, sa.ForeignKey("models.model_id"), primary_key=True),
        sa.Column("audit_sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("promotion_id", _ID, nullable=False, unique=True),
        sa.Column("version_number", sa.BigInteger, nullable=False),
        sa.Column("from_stage", _NAME, nullable=False),
        sa.Column("to_stage", _NAME, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("archived_version_numbers", sa.Text, nullable=False),
        sa.Column("creator", _NAME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Index("promotions_by_version", "model_id", "version_number", "audit_sequence"),
    )
    op.create_table(
        "evaluations",
        sa.Column("model_id", _ID, primary_key=True),
        sa.Column("audit_sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("evaluation_id", _ID, nullable=False, unique=True),
        sa.Column("version_number", sa.BigInteger, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("artifact_path", sa.Text, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("verdicts", sa.Text, nullable=False),
        sa.Column("dataset_name", sa.Text, nullable=False),
        sa.Column("dataset_digest", sa.Text, nullable=False),
        sa.Column("creator", _NAME, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
        sa.Index("evaluations_by_version", "model_id", "version_number", "name", "audit_sequence"),
    )
    op.create_table(
        "evaluation_metrics",
        sa.Column("model_id", _ID, primary_key=True),
        sa.Column("version_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("metric", _NAME, primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "version_number"], ["versions.model_id", "versions.version_number"]),
    )
    op.create_table(
        "audit_records",
        sa.Column("model_id", _ID, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("workspace", _NAME, nullable=False),
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
    op.create_table(
        "events",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("event_id", _ID, nullable=False),
        sa.Column("workspace", _NAME, nullable=False),
        sa.Column("position", sa.BigInteger),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("model_id", _ID, nullable=False),
        sa.Column("model_name", _NAME, nullable=False),
        sa.Column("version_number", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("audit_sequence", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.UniqueConstraint("workspace", "position"),
        sa.Index("events_by_model", "workspace", "model_name", "position"),
    )
    op.create_index(
        "events_without_position",
        "events",
        ["position", "workspace", "id"],
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.create_table(
        "event_positions",
        sa.Column("workspace", _NAME, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "loose_snapshots",
        sa.Column("version_id", _ID, primary_key=True),
        sa.Column("discarded", sa.Boolean, nullable=False),
        sa.Column("due_time", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "registry_requests",
        sa.Column("subject", _NAME, primary_key=True),
        sa.Column("rpc", _NAME, primary_key=True),
        sa.Column("request_id", _NAME, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "registry_secrets",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
