"""Principals, groups, tokens, roles and their bindings, the changes of these, audit records, quotas of workspaces.

Release: 0.1.0
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _bytewise(length: int | None = None) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_ID, _NAME, _DIGEST, _KEY = _bytewise(32), _bytewise(250), _bytewise(64), _bytewise()
_TEXTS = ("before", "after", "reason", "peer")


def upgrade() -> None:
    """Creates the tables, and the one row of the state."""
    for name in ("most_runs", "most_versions", "most_bytes"):
        op.add_column("workspaces", sa.Column(name, sa.BigInteger, nullable=True))
    _create_principals()
    _create_groups()
    _create_tokens()
    _create_roles()
    _create_records()


def _create_principals() -> None:
    op.create_table(
        "principals",
        sa.Column("principal_id", _ID, primary_key=True),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("name", _NAME, nullable=False, unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("issuer", _KEY, nullable=False),
        sa.Column("external_id", _KEY, nullable=False),
        sa.Column("owner_id", _ID, nullable=False, index=True),
        sa.Column("is_disabled", sa.Boolean, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
    )
    given = sa.text("issuer <> ''")
    op.create_index(
        "principals_by_external_id",
        "principals",
        ["issuer", "external_id"],
        unique=True,
        sqlite_where=given,
        postgresql_where=given,
    )


def _create_groups() -> None:
    op.create_table(
        "groups",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "group_members",
        sa.Column("group_name", _NAME, sa.ForeignKey("groups.name"), primary_key=True),
        sa.Column("is_group", sa.Boolean, primary_key=True),
        sa.Column("member", _NAME, primary_key=True),
        sa.Index("group_members_by_member", "member", "is_group"),
    )


def _create_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("token_id", _ID, primary_key=True),
        sa.Column("digest", _DIGEST, nullable=False, unique=True),
        sa.Column("former_digest", _DIGEST, nullable=True, unique=True),
        sa.Column("former_until", sa.BigInteger, nullable=False),
        sa.Column("principal_id", _ID, sa.ForeignKey("principals.principal_id"), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("role_cap", _NAME, nullable=False),
        sa.Column("workspaces", sa.Text, nullable=False),
        sa.Column("creator_id", _ID, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.Column("lifetime_ms", sa.BigInteger, nullable=False),
        sa.Column("last_use_time", sa.BigInteger, nullable=True),
        sa.Column("revoke_time", sa.BigInteger, nullable=True),
        sa.Column("is_invitation", sa.Boolean, nullable=False),
        sa.Index("tokens_by_principal", "principal_id", "create_time", "token_id"),
    )


def _create_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("permissions", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "role_bindings",
        sa.Column("binding_id", _ID, primary_key=True),
        sa.Column("role", _NAME, nullable=False),
        sa.Column("is_group", sa.Boolean, nullable=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("workspace", _NAME, nullable=False),
        sa.Column("experiment_id", _NAME, nullable=False),
        sa.Column("model_id", _NAME, nullable=False),
        sa.Column("creator_id", _ID, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("subject", "is_group", "role", "workspace", "experiment_id", "model_id"),
        sa.Index("role_bindings_by_role", "role", "binding_id"),
        sa.Index("role_bindings_by_place", "workspace", "experiment_id", "model_id", "binding_id"),
    )


def _create_records() -> None:
    op.create_table(
        "access_changes",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("principal_id", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("credential_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
    )
    state = op.create_table(
        "access_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("audit_sequence", sa.BigInteger, nullable=False),
        sa.Column("audit_digest", sa.Text, nullable=False),
        sa.Column("bootstrap_digest", sa.Text, nullable=False),
    )
    op.bulk_insert(state, [{"id": 1, "revision": 0, "audit_sequence": 0, "audit_digest": "", "bootstrap_digest": ""}])
    op.create_table(
        "used_bootstrap_tokens",
        sa.Column("digest", _DIGEST, primary_key=True),
        sa.Column("use_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "access_audit_records",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("resource_type", _NAME, nullable=False),
        sa.Column("resource_id", _NAME, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("digest_version", sa.Integer, nullable=False),
        sa.Column("previous_digest", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for text in _TEXTS for name in (text, f"{text}_salt")),
        sa.Index("access_audit_records_by_resource", "resource_type", "resource_id", "sequence"),
    )
