"""The tables of access, and nothing but tables."""

import sqlalchemy as sa

from modelry_server.kernel.sql.tables import bytewise, requests_table, secrets_table

metadata = sa.MetaData()

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("name", bytewise(63), primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

requests = requests_table(metadata, "access")
secrets = secrets_table(metadata, "access")
