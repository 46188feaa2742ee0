"""The tables of access, and nothing but tables."""

import sqlalchemy as sa

from assay_server.kernel import db

metadata = sa.MetaData()

# Sorted by its bytes on both databases.
_name = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("name", _name, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

requests = db.requests_table(metadata, "access")
secrets = db.secrets_table(metadata, "access")
