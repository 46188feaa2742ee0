"""The tables of access, and nothing but tables."""

import sqlalchemy as sa

from modelry_server.kernel.audit import ERASABLE
from modelry_server.kernel.sql.tables import bytewise, requests_table, secrets_table

metadata = sa.MetaData()

_Id, _Name, _Digest = bytewise(32), bytewise(250), bytewise(64)

# Where `most_...` is NULL there is no limit.
workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("name", bytewise(63), primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("most_runs", sa.BigInteger, nullable=True),
    sa.Column("most_versions", sa.BigInteger, nullable=True),
    sa.Column("most_bytes", sa.BigInteger, nullable=True),
)

# `issuer` and `external_id` are empty for a principal that has API tokens only. `not_before` is when the credentials of
# an issuer must have been issued at the earliest. `groups` is JSON: those that tokens said, with the ends of these.
principals = sa.Table(
    "principals",
    metadata,
    sa.Column("principal_id", _Id, primary_key=True),
    sa.Column("kind", sa.Integer, nullable=False),
    sa.Column("name", _Name, nullable=False, unique=True),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("issuer", bytewise(), nullable=False),
    sa.Column("external_id", bytewise(), nullable=False),
    sa.Column("owner_id", _Id, nullable=False, index=True),
    sa.Column("is_disabled", sa.Boolean, nullable=False),
    sa.Column("not_before", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("groups", sa.Text, nullable=False),
    sa.Index(
        "principals_by_external_id",
        "issuer",
        "external_id",
        unique=True,
        sqlite_where=sa.text("issuer <> ''"),
        postgresql_where=sa.text("issuer <> ''"),
    ),
)

groups = sa.Table(
    "groups",
    metadata,
    sa.Column("name", _Name, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

# `member` is the name of a group or the id of a principal.
group_members = sa.Table(
    "group_members",
    metadata,
    sa.Column("group_name", _Name, sa.ForeignKey("groups.name"), primary_key=True),
    sa.Column("is_group", sa.Boolean, primary_key=True),
    sa.Column("member", _Name, primary_key=True),
    sa.Index("group_members_by_member", "member", "is_group"),
)

# `digest` is the SHA-256 of the text. `former_digest` is that of the text before the last rotation, which is accepted
# until `former_until`. `lifetime_ms` is how long a rotation by means of the token itself may let it live, from then on.
# `workspaces` is JSON. `is_invitation` says that another one made it for a person, who has not exchanged it yet.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("token_id", _Id, primary_key=True),
    sa.Column("digest", _Digest, nullable=False, unique=True),
    sa.Column("former_digest", _Digest, nullable=True, unique=True),
    sa.Column("former_until", sa.BigInteger, nullable=False),
    sa.Column("principal_id", _Id, sa.ForeignKey("principals.principal_id"), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("role_cap", _Name, nullable=False),
    sa.Column("workspaces", sa.Text, nullable=False),
    sa.Column("creator_id", _Id, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("expire_time", sa.BigInteger, nullable=False),
    sa.Column("lifetime_ms", sa.BigInteger, nullable=False),
    sa.Column("last_use_time", sa.BigInteger, nullable=True),
    sa.Column("revoke_time", sa.BigInteger, nullable=True),
    sa.Column("is_invitation", sa.Boolean, nullable=False),
    sa.Index("tokens_by_principal", "principal_id", "create_time", "token_id"),
)

# Those that are no part of Modelry. `permissions` is JSON.
roles = sa.Table(
    "roles",
    metadata,
    sa.Column("name", _Name, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("permissions", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

# `subject` is the name of a group or the id of a principal. The place is empty for the whole installation. `binding_id`
# is a UUIDv7, so the ids are in the order of time.
role_bindings = sa.Table(
    "role_bindings",
    metadata,
    sa.Column("binding_id", _Id, primary_key=True),
    sa.Column("role", _Name, nullable=False),
    sa.Column("is_group", sa.Boolean, nullable=False),
    sa.Column("subject", _Name, nullable=False),
    sa.Column("workspace", _Name, nullable=False),
    sa.Column("experiment_id", _Name, nullable=False),
    sa.Column("model_id", _Name, nullable=False),
    sa.Column("creator_id", _Id, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("subject", "is_group", "role", "workspace", "experiment_id", "model_id"),
    sa.Index("role_bindings_by_role", "role", "binding_id"),
    sa.Index("role_bindings_by_place", "workspace", "experiment_id", "model_id", "binding_id"),
)

# What other processes must forget, in the order of `revision`. Old rows are removed.
changes = sa.Table(
    "access_changes",
    metadata,
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("principal_id", sa.Text, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("credential_id", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
)

# One row: the last revision, the end of the chain of audit records, and the digest of the bootstrap token, which is
# empty once it has been used. Who locks it has all changes of access after another.
state = sa.Table(
    "access_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("audit_sequence", sa.BigInteger, nullable=False),
    sa.Column("audit_digest", sa.Text, nullable=False),
    sa.Column("bootstrap_digest", sa.Text, nullable=False),
)

# The bootstrap tokens that were used, so that the settings revive none.
used_bootstrap_tokens = sa.Table(
    "used_bootstrap_tokens",
    metadata,
    sa.Column("digest", _Digest, primary_key=True),
    sa.Column("use_time", sa.BigInteger, nullable=False),
)

# A row is only added, never changed. The texts can be erased with their salts.
audit_records = sa.Table(
    "access_audit_records",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("resource_type", _Name, nullable=False),
    sa.Column("resource_id", _Name, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("digest_version", sa.Integer, nullable=False),
    sa.Column("previous_digest", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for text in ERASABLE for name in (text, f"{text}_salt")),
    sa.Index("access_audit_records_by_resource", "resource_type", "resource_id", "sequence"),
)

requests = requests_table(metadata, "access")
secrets = secrets_table(metadata, "access")
