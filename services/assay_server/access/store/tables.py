"""The tables of access, and nothing but tables."""

import sqlalchemy as sa

from assay_server.kernel import db

metadata = sa.MetaData()

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("name", db.bytewise(63), primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

requests = db.requests_table(metadata, "access")
secrets = db.secrets_table(metadata, "access")
